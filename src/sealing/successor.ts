// A topic that is deleted and made anew under its name has another id. Produce requests up to version 12 name the topic alone: a
// client that has not asked for metadata since may get a batch into the new one, which is captured under the old id.
import { isMillraceError, MillraceError } from '../errors.ts'
import { CanonicalBatch } from '../kafka/batch.ts'
import type { Cluster } from '../kafka/cluster.ts'
import { EARLIEST, LATEST } from '../kafka/cluster.ts'
import type { WalEntry } from '../wal/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import { soundBatchesOf } from './damaged.ts'
import type { SegmentBuilder } from './segment-builder.ts'
import { inOrder, isFetched } from './settle.ts'
import { isStored } from './stored.ts'

/** Captures that belong to another stream, and their batches as that one's log has them. */
export interface Misfiled {
  readonly stream: StreamKey
  readonly rows: readonly WalEntry[]
  readonly batches: readonly CanonicalBatch[]
}

/**
 * Those captures of a topic that is gone which went to the topic that has its name now: they were appended since the cluster last
 * named the old one, and the new one's log has them at the same offsets (`isStored`). Null where there are none. Throws BROKER_ERROR,
 * BROKER_UNREACHABLE, SEALING_FAILED.
 */
export async function misfiled(
  cluster: Pick<Cluster, 'refresh' | 'namedAt' | 'listOffset' | 'fetchLog'>,
  builder: SegmentBuilder,
  gone: StreamKey,
  rows: readonly WalEntry[]
): Promise<Misfiled | null> {
  const since = cluster.namedAt(gone.topicId)
  const captured = inOrder(rows.filter(row => !isFetched(row) && row.appendedMs >= since))
  if (captured.length === 0) return null
  const [found] = await cluster.refresh([gone.topic])
  const leader = found?.leaders.get(gone.partition)
  if (found === undefined || found.topicId === gone.topicId || leader === undefined) return null
  if (leader < 0) {
    const what = `${gone.topic}-${gone.partition}, made anew, has no leader that tells what was sent to it`
    throw new MillraceError('BROKER_ERROR', what, { retriable: true })
  }
  const stream = { ...gone, topicId: found.topicId }
  const [start, end] = [await cluster.listOffset(stream, EARLIEST), await cluster.listOffset(stream, LATEST)]
  const wanted = Map.groupBy(captured, ({ baseOffset }) => baseOffset)
  const same: { rows: WalEntry[]; batch: CanonicalBatch }[] = []
  let reached = start
  for (const baseOffset of wanted.keys()) {
    if (baseOffset < reached || baseOffset >= end) continue
    const { records } = await cluster.fetchLog(stream, baseOffset)
    // What is damaged at the broker is nobody's.
    for (const batch of soundBatchesOf(records)) {
      const { header } = batch
      reached = header.lastOffset + 1
      const its: WalEntry[] = []
      for (const row of wanted.get(header.baseOffset) ?? []) if (await isHere(builder, row, batch)) its.push(row)
      // A copy, since it is a view of all that came with it.
      if (its.length > 0) same.push({ rows: its, batch: CanonicalBatch.fromWire(Buffer.from(batch.toWire())).batch })
    }
  }
  if (same.length === 0) return null
  return { stream, rows: same.flatMap(({ rows }) => rows), batches: same.map(({ batch }) => batch) }
}

/** What cannot be read any more cannot be told to be here, nor does it keep the rest waiting. */
async function isHere(builder: SegmentBuilder, row: WalEntry, batch: CanonicalBatch): Promise<boolean> {
  const { crc, lastOffset } = batch.header
  if (row.lastOffset !== lastOffset) return false
  try {
    return await isStored(builder, row, { crc, read: async () => batch })
  } catch (error) {
    if (isMillraceError(error, 'WAL_CORRUPT')) return false
    throw error
  }
}
