// One partition read in offset order, from the archive and what the WAL has behind it, and what is missing on the way.
import { segmentSource } from '../archive/segment-source.ts'
import { MillraceError } from '../errors.ts'
import type { CanonicalBatch } from '../kafka/batch.ts'
import { readRecords } from '../kafka/read-records.ts'
import type { Gap } from '../segment/manifest.ts'
import { SegmentReader } from '../segment/reader.ts'
import { TransactionTracker } from '../segment/txn-index.ts'
import { WalRecord } from '../wal/frame.ts'
import type { Partition, Places } from './partitions.ts'
import type { FoundRecord, Tier } from './record-json.ts'
import { foundRecord } from './record-source.ts'

/** What stands at the next offsets: a record; a range that is gone; or a batch whose records cannot be read, and why. */
export type Step =
  | { readonly record: FoundRecord }
  | { readonly gap: Gap }
  | { readonly unreadable: { readonly from: number; readonly to: number; readonly reason: string } }

export interface ReadOptions {
  readonly from: number
  /** `committed`: nothing of aborted transactions, and nothing from the first open one on, as consumers with read_committed. */
  readonly isolation: 'uncommitted' | 'committed'
}

/** Records of control batches are not users' records and are left out. Throws SEGMENT_CORRUPT, WAL_CORRUPT, what the store throws. */
export async function* readPartition(
  places: Places,
  partition: Partition,
  { from, isolation }: ReadOptions
): AsyncGenerator<Step> {
  const { isVisible, end } =
    isolation === 'committed' ? committed(places, partition) : { isVisible: () => true, end: Number.MAX_SAFE_INTEGER }
  for await (const step of batches(places, partition, from)) {
    if ('gap' in step) {
      if (step.gap.from >= end) return
      yield step
      continue
    }
    const { batch, tier } = step
    const { baseOffset, lastOffset, isControl, timestampType } = batch.header
    if (baseOffset >= end) return
    if (isControl || !isVisible(batch)) continue
    const records = readRecords(batch, places.maxDecompressedBytes)
    if (records instanceof MillraceError) {
      yield { unreadable: { from: baseOffset, to: lastOffset + 1, reason: records.message } }
      continue
    }
    for (const record of records) {
      if (record.offset >= from) yield { record: foundRecord(partition.stream, timestampType, record, tier) }
    }
  }
}

/** The offset behind the last that is there. */
export function endOf({ chain, hot }: Partition): number {
  return Math.max(chain.end, (hot.at(-1)?.lastOffset ?? -1) + 1)
}

async function* batches(
  places: Places,
  { chain, hot }: Partition,
  from: number
): AsyncGenerator<{ batch: CanonicalBatch; tier: Tier } | { gap: Gap }> {
  for (const link of chain.links) {
    if (link.manifest.nextOffset <= from) continue
    const gaps = link.manifest.gaps.filter(gap => gap.to > from)
    const { source, tier } = segmentSource(places, link)
    const reader = await SegmentReader.open(source, link.manifest)
    for await (const batch of reader.batches({ from })) {
      while (gaps[0] !== undefined && gaps[0].from < batch.header.baseOffset) yield { gap: gaps.shift()! }
      yield { batch, tier }
    }
    for (const gap of gaps) yield { gap }
  }
  for (const entry of hot) {
    if (entry.lastOffset < from) continue
    const batch = WalRecord.toCanonical(places.wal!.read(entry))
    if (batch !== null) yield { batch, tier: 'hot' }
  }
}

/** What is committed: markers stand in the archive only, so that a transaction in the WAL is still open. */
function committed(
  { wal }: Places,
  { chain, hot }: Partition
): { isVisible(batch: CanonicalBatch): boolean; end: number } {
  const aborted = Map.groupBy(
    chain.links.flatMap(({ manifest }) => manifest.abortedTransactions),
    ({ producerId }) => producerId
  )
  const transactions = new TransactionTracker(chain.links.at(-1)?.manifest.openTransactions ?? [])
  for (const entry of hot) {
    const batch = WalRecord.toCanonical(wal!.read(entry))
    if (batch !== null) transactions.add(batch)
  }
  return {
    isVisible: ({ header: { isTransactional, producerId, baseOffset } }) =>
      !isTransactional ||
      !aborted
        .get(producerId)
        ?.some(({ firstOffset, lastOffset }) => baseOffset >= firstOffset && baseOffset < lastOffset),
    end: Math.min(...transactions.open.map(({ firstOffset }) => firstOffset), Number.MAX_SAFE_INTEGER)
  }
}
