// A topic that is deleted and made anew under its name has another id. Produce requests up to version 12 name the topic alone: a
// client that has not asked for metadata since may get a batch into the new one, which is captured under the old id.
import type { CanonicalBatch } from '../kafka/batch.ts'
import { batchesOf } from '../kafka/batch.ts'
import type { Cluster } from '../kafka/cluster.ts'
import { EARLIEST, LATEST } from '../kafka/cluster.ts'
import type { WalEntry } from '../wal/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import { inOrder, isFetched } from './settle.ts'

/** Captures that belong to another stream, and their batches as that one's log has them. */
export interface Misfiled {
  readonly stream: StreamKey
  readonly rows: readonly WalEntry[]
  readonly batches: readonly CanonicalBatch[]
}

/**
 * Those captures of a topic that is gone which went to the topic that has its name now: that one's log has the same bytes at the
 * same offset. Null where there are none. Throws BROKER_ERROR, BROKER_UNREACHABLE.
 */
export async function misfiled(
  cluster: Pick<Cluster, 'refresh' | 'listOffset' | 'fetchLog'>,
  gone: StreamKey,
  rows: readonly WalEntry[]
): Promise<Misfiled | null> {
  const captured = inOrder(rows.filter(row => !isFetched(row)))
  if (captured.length === 0) return null
  const [found] = await cluster.refresh([gone.topic])
  if (found === undefined || found.topicId === gone.topicId || !found.leaders.has(gone.partition)) return null
  const stream = { ...gone, topicId: found.topicId }
  const [start, end] = [await cluster.listOffset(stream, EARLIEST), await cluster.listOffset(stream, LATEST)]
  const there = new Map<number, CanonicalBatch>()
  let reached = start
  for (const { baseOffset } of captured) {
    if (baseOffset < reached || baseOffset >= end) continue
    const { records } = await cluster.fetchLog(stream, baseOffset)
    for (const batch of batchesOf(records, () => {})) {
      there.set(batch.header.baseOffset, batch)
      reached = batch.header.lastOffset + 1
    }
  }
  const same = captured.filter(({ baseOffset, crc }) => there.get(baseOffset)?.header.crc === crc)
  if (same.length === 0) return null
  return { stream, rows: same, batches: same.map(({ baseOffset }) => there.get(baseOffset)!) }
}
