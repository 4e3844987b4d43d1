// Records of one partition that only the WAL has: what the hot index has not is indexed on the way, in slices of bounded size, by
// the very index that segments carry, so that they match as they will when they are archived.
import type { Match, SearchIndex } from '../segment/search-index.ts'
import { SearchIndexBuilder } from '../segment/search-index.ts'
import type { WalEntry, WalReader } from '../wal/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { HotIndexes } from './hot-index.ts'
import type { HotRecords } from './hot-records.ts'
import { hotRecords, isSelected } from './hot-records.ts'
import { IndexedEntries } from './indexed-entries.ts'
import type { Visibility } from './isolation.ts'
import type { FoundRecord } from './record-json.ts'
import type { OpenSource, RecordSource, Span } from './record-source.ts'
import { foundRecord } from './record-source.ts'
import type { Selection } from './selection.ts'

/** Bytes of batches that are indexed at a time; decompressed they may be several times as many. */
const SLICE_BYTES = 8 * 1024 * 1024

/** What a partition's records are read from. */
export interface HotBatches {
  readonly wal: WalReader
  /** Null where there is no hot index. */
  readonly hotIndexes: HotIndexes | null
  /** They ascend and do not overlap. */
  readonly entries: readonly WalEntry[]
  readonly maxDecompressedBytes: number | undefined
}

export class HotSource implements RecordSource {
  readonly stream: StreamKey
  readonly extent: Span
  readonly visibility: Visibility
  readonly hasKeyHashes = true
  readonly #batches: HotBatches
  readonly #selection: Selection
  readonly #unreadable = new Set<WalEntry>()

  constructor(stream: StreamKey, batches: HotBatches, selection: Selection, visibility: Visibility) {
    const { fromOffset, toOffset } = selection
    const entries = batches.entries.filter(row => row.baseOffset < toOffset && row.lastOffset >= fromOffset)
    this.stream = stream
    this.extent = spanOf(entries)
    this.#batches = { ...batches, entries }
    this.#selection = selection
    this.visibility = visibility
  }

  get notSearched(): number {
    return this.#unreadable.size
  }

  async mayMatch(): Promise<boolean> {
    return this.#batches.entries.length > 0
  }

  async open(): Promise<OpenSource> {
    const { wal, hotIndexes, entries } = this.#batches
    const onTheWay = (runs: readonly (readonly WalEntry[])[]): OpenSource =>
      new HotSlices(runs.flatMap(slices), slice => this.#index(slice))
    if (hotIndexes === null) return onTheWay([entries])
    return new IndexedEntries({ wal, hotIndexes, entries, selection: this.#selection, onTheWay })
  }

  async *read(offsets: readonly number[]): AsyncGenerator<FoundRecord> {
    const wanted = new Set(offsets)
    let next = 0
    for (const entry of this.#batches.entries) {
      while (offsets[next]! < entry.baseOffset) next++
      if (next === offsets.length) return
      if (offsets[next]! > entry.lastOffset) continue
      const { records, header } = this.#records(entry)
      if (header !== null && !this.visibility.isVisible(header)) continue
      for (const record of records ?? []) {
        if (!wanted.has(record.offset)) continue
        yield foundRecord(this.stream, header?.timestampType ?? 'CreateTime', record, 'hot')
      }
    }
  }

  /** An index of what is selected of a slice. */
  #index(slice: readonly WalEntry[]): SearchIndex {
    const builder = new SearchIndexBuilder(':memory:')
    for (const entry of slice) {
      for (const record of this.#records(entry).records ?? [])
        if (isSelected(record, this.#selection)) builder.add(record)
    }
    return builder.search()
  }

  /** Takes note of an entry whose records cannot be read, also when the WAL's file is damaged there. */
  #records(entry: WalEntry): HotRecords {
    const { wal, maxDecompressedBytes } = this.#batches
    const read = hotRecords(() => wal.read(entry), maxDecompressedBytes)
    if (read.records === null) this.#unreadable.add(entry)
    return read
  }
}

/** Of several slices only one is in memory. */
class HotSlices implements OpenSource {
  readonly spans: readonly Span[]
  readonly #slices: readonly (readonly WalEntry[])[]
  readonly #build: (slice: readonly WalEntry[]) => SearchIndex
  #built: { readonly slice: readonly WalEntry[]; readonly index: SearchIndex } | null = null

  constructor(slices: readonly (readonly WalEntry[])[], build: (slice: readonly WalEntry[]) => SearchIndex) {
    this.#slices = slices
    this.spans = slices.map(spanOf)
    this.#build = build
  }

  *match(expression: string | null, fromOffset: number, toOffset: number): Generator<Match> {
    for (const [i, slice] of this.#slices.entries()) {
      const { from, to } = this.spans[i]!
      if (from >= toOffset || to <= fromOffset) continue
      yield* this.#indexOf(slice).match(expression, { fromOffset, toOffset })
    }
  }

  count(expressions: readonly (string | null)[]): number[] {
    const counts = expressions.map(() => 0)
    for (const slice of this.#slices) {
      const index = this.#indexOf(slice)
      for (const [i, expression] of expressions.entries()) counts[i]! += index.count(expression)
    }
    return counts
  }

  #indexOf(slice: readonly WalEntry[]): SearchIndex {
    if (this.#built?.slice !== slice) {
      this[Symbol.dispose]()
      this.#built = { slice, index: this.#build(slice) }
    }
    return this.#built.index
  }

  [Symbol.dispose](): void {
    this.#built?.index[Symbol.dispose]()
    this.#built = null
  }
}

function slices(entries: readonly WalEntry[]): WalEntry[][] {
  const found: WalEntry[][] = []
  let bytes = SLICE_BYTES
  for (const entry of entries) {
    if (bytes >= SLICE_BYTES) {
      found.push([])
      bytes = 0
    }
    found.at(-1)!.push(entry)
    bytes += entry.bytes
  }
  return found
}

/** Entries do not say what times their records have. */
function spanOf(entries: readonly WalEntry[]): Span {
  const [from, to] = [entries[0]?.baseOffset ?? 0, (entries.at(-1)?.lastOffset ?? -1) + 1]
  return { from, to, minTimestamp: Number.NEGATIVE_INFINITY, maxTimestamp: Number.POSITIVE_INFINITY }
}
