// Records of one partition that only the WAL has: indexed on the way, in slices of bounded size, by the very index that
// segments carry, so that they match as they will when they are archived.

import { isMillraceError, MillraceError } from '../errors.ts'
import type { BatchHeader } from '../kafka/batch.ts'
import { readRecords } from '../kafka/read-records.ts'
import type { KafkaRecord } from '../kafka/records.ts'
import type { Match } from '../segment/search-index.ts'
import { SearchIndexBuilder } from '../segment/search-index.ts'
import { WalRecord } from '../wal/frame.ts'
import type { WalEntry, WalReader } from '../wal/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { FoundRecord } from './record-json.ts'
import type { RecordSource } from './record-source.ts'
import { foundRecord } from './record-source.ts'
import type { Selection } from './selection.ts'

/** Bytes of keys, values and headers that are indexed at a time. */
const SLICE_BYTES = 32 * 1024 * 1024

/** What a partition's records are read from. */
export interface HotBatches {
  readonly wal: WalReader
  /** They ascend and do not overlap. */
  readonly entries: readonly WalEntry[]
  readonly maxDecompressedBytes: number | undefined
}

/** The records of an entry, and whose time theirs is; null where they cannot be read. */
interface HotRecords {
  readonly records: Iterable<KafkaRecord> | null
  readonly timestampType: BatchHeader['timestampType']
}

export class HotSource implements RecordSource {
  readonly stream: StreamKey
  notSearched = 0
  readonly #batches: HotBatches

  constructor(stream: StreamKey, batches: HotBatches) {
    this.stream = stream
    this.#batches = batches
  }

  async *match(expression: string, selection: Selection): AsyncGenerator<Match> {
    const { fromOffset, toOffset } = selection
    this.notSearched = 0
    const inside = this.#batches.entries.filter(row => row.baseOffset < toOffset && row.lastOffset >= fromOffset)
    for (let next = 0; next < inside.length; ) {
      const builder = new SearchIndexBuilder(':memory:')
      for (let bytes = 0; next < inside.length && bytes < SLICE_BYTES; next++) {
        const records = this.#readable(inside[next]!)
        if (records === null) this.notSearched++
        for (const record of records ?? []) {
          if (!isSelected(record, selection)) continue
          builder.add(record)
          bytes += sizeOf(record)
        }
      }
      using index = builder.search()
      yield* index.match(expression)
    }
  }

  async *read(offsets: readonly number[]): AsyncGenerator<FoundRecord> {
    const wanted = new Set(offsets)
    let next = 0
    for (const entry of this.#batches.entries) {
      while (offsets[next]! < entry.baseOffset) next++
      if (next === offsets.length) return
      if (offsets[next]! > entry.lastOffset) continue
      const { records, timestampType } = this.#records(entry)
      for (const record of records ?? []) {
        if (wanted.has(record.offset)) yield foundRecord(this.stream, timestampType, record, 'hot')
      }
    }
  }

  /** The records of an entry; null where they cannot be read, also when the WAL's file is damaged there. */
  #readable(entry: WalEntry): HotRecords['records'] {
    try {
      return this.#records(entry).records
    } catch (error) {
      if (isMillraceError(error, 'WAL_CORRUPT')) return null
      throw error
    }
  }

  /** What users wrote in an entry: nothing for a control batch. */
  #records(entry: WalEntry): HotRecords {
    const { wal, maxDecompressedBytes } = this.#batches
    const frame = wal.read(entry)
    if (frame.version === 1) return { records: [frame], timestampType: 'CreateTime' }
    const batch = WalRecord.toCanonical(frame)
    const { isControl, timestampType } = batch.header
    const read = isControl ? [] : readRecords(batch, maxDecompressedBytes)
    return { records: read instanceof MillraceError ? null : read, timestampType }
  }
}

function isSelected({ offset, timestamp }: KafkaRecord, selection: Selection): boolean {
  const { fromOffset, toOffset, fromTime = timestamp, toTime = Number.POSITIVE_INFINITY } = selection
  return offset >= fromOffset && offset < toOffset && timestamp >= fromTime && timestamp < toTime
}

function sizeOf({ key, value, headers }: KafkaRecord): number {
  const ofHeaders = headers.reduce((sum, [name, content]) => sum + name.length + (content?.length ?? 0), 0)
  return (key?.length ?? 0) + (value?.length ?? 0) + ofHeaders
}
