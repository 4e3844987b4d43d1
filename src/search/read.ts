// One partition read in offset order, from the archive and what the WAL has behind it, and what is missing on the way.
import { segmentSource } from '../archive/segment-source.ts'
import { MillraceError } from '../errors.ts'
import type { CanonicalBatch } from '../kafka/batch.ts'
import { readRecords } from '../kafka/read-records.ts'
import type { Gap } from '../segment/manifest.ts'
import { SegmentReader } from '../segment/reader.ts'
import { WalRecord } from '../wal/frame.ts'
import { visibilityOf } from './isolation.ts'
import type { Partition, Places } from './partitions.ts'
import type { FoundRecord, Tier } from './record-json.ts'
import { foundRecord } from './record-source.ts'
import type { Isolation } from './selection.ts'

/** What stands at the next offsets: a record; a range that is gone; or a batch whose records cannot be read, and why. */
export type Step =
  | { readonly record: FoundRecord }
  | { readonly gap: Gap }
  | { readonly unreadable: { readonly from: number; readonly to: number; readonly reason: string } }

export interface ReadOptions {
  readonly from: number
  /** As consumers have it: `read_committed` gives nothing of aborted transactions, and nothing from the first open one on. */
  readonly isolation: Isolation
}

/** Records of control batches are not users' records and are left out. Throws SEGMENT_CORRUPT, WAL_CORRUPT, what the store throws. */
export async function* readPartition(
  places: Places,
  partition: Partition,
  { from, isolation }: ReadOptions
): AsyncGenerator<Step> {
  const { isVisible, end } = visibilityOf(places, partition, isolation)
  for await (const step of batches(places, partition, from)) {
    if ('gap' in step) {
      if (step.gap.from >= end) return
      yield step
      continue
    }
    const { batch, tier } = step
    const { baseOffset, lastOffset, isControl, timestampType } = batch.header
    if (baseOffset >= end) return
    if (isControl || !isVisible(batch.header)) continue
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
