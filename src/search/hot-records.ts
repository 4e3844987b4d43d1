// The records of a frame of the WAL, as a search sees them.
import { isMillraceError, MillraceError } from '../errors.ts'
import type { BatchHeader } from '../kafka/batch.ts'
import { readRecords } from '../kafka/read-records.ts'
import type { KafkaRecord } from '../kafka/records.ts'
import type { Match } from '../segment/search-index.ts'
import { WalRecord } from '../wal/frame.ts'
import type { Selection } from './selection.ts'

export interface HotRecords {
  /** What users wrote: nothing for a control batch. Null where it cannot be read. */
  readonly records: Iterable<KafkaRecord> | null
  /** Null for a single record, and for what is damaged. */
  readonly header: BatchHeader | null
}

export function isSelected({ offset, timestamp }: Match, selection: Selection): boolean {
  const { fromOffset, toOffset, fromTime = timestamp, toTime = Number.POSITIVE_INFINITY } = selection
  return offset >= fromOffset && offset < toOffset && timestamp >= fromTime && timestamp < toTime
}

/** Reads a frame. What is damaged cannot be read; all else that `read` throws is thrown. */
export function hotRecords(read: () => WalRecord, maxDecompressedBytes: number | undefined): HotRecords {
  let frame: WalRecord
  try {
    frame = read()
  } catch (error) {
    if (isMillraceError(error, 'WAL_CORRUPT')) return { records: null, header: null }
    throw error
  }
  if (frame.version === 1) return { records: [frame], header: null }
  const batch = WalRecord.toCanonical(frame)
  const { header } = batch
  const records = header.isControl ? [] : readRecords(batch, maxDecompressedBytes)
  return { records: records instanceof MillraceError ? null : records, header }
}
