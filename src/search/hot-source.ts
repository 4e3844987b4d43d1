// Records of one partition that only the WAL has: indexed on the way, in slices of bounded size, by the very index that
// segments carry, so that they match as they will when they are archived.

import type { BatchHeader } from '../kafka/batch.ts'
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

export class HotSource implements RecordSource {
  readonly stream: StreamKey
  readonly #wal: WalReader
  readonly #entries: readonly WalEntry[]

  /** The entries ascend and do not overlap. */
  constructor(stream: StreamKey, wal: WalReader, entries: readonly WalEntry[]) {
    this.stream = stream
    this.#wal = wal
    this.#entries = entries
  }

  async *match(expression: string, selection: Selection): AsyncGenerator<Match> {
    const { fromOffset, toOffset } = selection
    const inside = this.#entries.filter(row => row.baseOffset < toOffset && row.lastOffset >= fromOffset)
    for (let next = 0; next < inside.length; ) {
      const builder = new SearchIndexBuilder(':memory:')
      for (let bytes = 0; next < inside.length && bytes < SLICE_BYTES; next++) {
        for (const record of this.#records(inside[next]!).records) {
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
    for (const entry of this.#entries) {
      while (offsets[next]! < entry.baseOffset) next++
      if (next === offsets.length) return
      if (offsets[next]! > entry.lastOffset) continue
      const { records, timestampType } = this.#records(entry)
      for (const record of records) {
        if (wanted.has(record.offset)) yield foundRecord(this.stream, timestampType, record, 'hot')
      }
    }
  }

  /** What users wrote in an entry: nothing for a control batch. */
  #records(entry: WalEntry): { records: Iterable<KafkaRecord>; timestampType: BatchHeader['timestampType'] } {
    const frame = this.#wal.read(entry)
    if (frame.version === 1) return { records: [frame], timestampType: 'CreateTime' }
    const batch = WalRecord.toCanonical(frame)
    const { isControl, timestampType } = batch.header
    return { records: isControl ? [] : batch.records(), timestampType }
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
