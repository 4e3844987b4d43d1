// Records of one archived segment: its index and filter from the cache, its log from its local copy where there is one.
import type { Link } from '../archive/archive.ts'
import type { IndexCache, IndexLease } from '../archive/index-cache.ts'
import type { SegmentPlaces } from '../archive/segment-source.ts'
import { segmentSource } from '../archive/segment-source.ts'
import { readingTailAhead } from '../archive/tail-ahead.ts'
import { mapAtOnce } from '../at-once.ts'
import { MillraceError } from '../errors.ts'
import type { SegmentManifest } from '../segment/manifest.ts'
import { notIndexedIn } from '../segment/manifest.ts'
import type { SegmentReader } from '../segment/reader.ts'
import type { Match } from '../segment/search-index.ts'
import { MAX_TOC_BYTES } from '../segment/toc.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { Visibility } from './isolation.ts'
import type { Query } from './query.ts'
import type { FoundRecord, Tier } from './record-json.ts'
import type { OpenSource, RecordSource, Span } from './record-source.ts'
import { foundRecord } from './record-source.ts'
import type { Selection } from './selection.ts'

/** The filter, the last of a segment's files, is read with the table of contents: it has 12 bits for each word that is new. */
const FILTER_BYTES_PER_RECORD = 8
const MAX_AHEAD_BYTES = 2 * 1024 * 1024

/** Over fewer bytes than these a read goes on, as the segment reader fetches the log by the MiB anyway. */
const SEEK_BYTES = 2 * 1024 * 1024

/** How many stretches of a log are read at a time: from a store each costs a round trip. */
const READS_AT_ONCE = 4

/** Where segments and their indexes are. */
export interface IndexedPlaces extends SegmentPlaces {
  readonly indexes: IndexCache
}

interface OpenedSegment {
  readonly reader: SegmentReader
  readonly tier: Tier
}

export class ArchivedSource implements RecordSource {
  readonly stream: StreamKey
  readonly extent: Span
  readonly notSearched: number
  readonly visibility: Visibility
  readonly hasKeyHashes: boolean
  readonly #link: Link
  readonly #places: IndexedPlaces
  readonly #selection: Selection
  #opened: Promise<OpenedSegment> | null = null

  constructor(stream: StreamKey, link: Link, places: IndexedPlaces, selection: Selection, visibility: Visibility) {
    const { baseOffset, nextOffset, minTimestamp, maxTimestamp } = link.manifest
    this.stream = stream
    this.extent = { from: baseOffset, to: nextOffset, minTimestamp: minTimestamp ?? 0, maxTimestamp: maxTimestamp ?? 0 }
    this.notSearched = unread(link.manifest, selection)
    this.visibility = visibility
    this.hasKeyHashes = link.manifest.formatVersion >= 2
    this.#link = link
    this.#places = places
    this.#selection = selection
  }

  /** False where no record of the segment lies in a selection, not even one that cannot be read. */
  static mayHold({ manifest }: Link, selection: Selection): boolean {
    return holdsIndexed(manifest, selection) || unread(manifest, selection) > 0
  }

  async mayMatch(query: Query): Promise<boolean> {
    if (!holdsIndexed(this.#link.manifest, this.#selection)) return false
    if (query.candidates === null) return true
    const filter = await this.#places.indexes.filter(this.#link, () => this.#openSegment(filterAhead(this.#link)))
    return filter === null || query.mayMatch(word => filter.mayContain(word))
  }

  async open(): Promise<OpenSource> {
    if (!holdsIndexed(this.#link.manifest, this.#selection)) return nothing
    return new ArchivedIndex(await this.#places.indexes.index(this.#link, () => this.#openSegment()), this.#selection)
  }

  async *read(offsets: readonly number[]): AsyncGenerator<FoundRecord> {
    const segment = await this.#open()
    const stretches = [...runs(offsets, this.#link.manifest)]
    for (const records of await mapAtOnce(stretches, READS_AT_ONCE, run => this.#readRun(segment, run))) yield* records
  }

  async #readRun({ reader, tier }: OpenedSegment, run: readonly number[]): Promise<FoundRecord[]> {
    const found: FoundRecord[] = []
    let next = 0
    for await (const batch of reader.batches({ from: run[0]!, to: run.at(-1)! + 1 })) {
      const { lastOffset, timestampType } = batch.header
      if (lastOffset < run[next]!) continue
      if (!this.visibility.isVisible(batch.header)) {
        while (next < run.length && run[next]! <= lastOffset) next++
        continue
      }
      for (const record of batch.records()) {
        if (record.offset !== run[next]) continue
        found.push(foundRecord(this.stream, timestampType, record, tier))
        next++
      }
    }
    if (next === run.length) return found
    throw new MillraceError('SEGMENT_CORRUPT', `${reader.name}: its log has no record ${run[next]}, its index has`)
  }

  async #openSegment(ahead = 0): Promise<SegmentReader> {
    return (await this.#open(ahead)).reader
  }

  /** Opened only where something of it is needed that is not cached. */
  #open(ahead = 0): Promise<OpenedSegment> {
    this.#opened ??= this.#read(ahead)
    return this.#opened
  }

  async #read(ahead: number): Promise<OpenedSegment> {
    const { source: whole, tier } = segmentSource(this.#places, this.#link)
    const source = ahead > 0 && tier === 'cold' ? readingTailAhead(whole, ahead) : whole
    return { reader: await this.#places.indexes.reader(this.#link, source), tier }
  }
}

class ArchivedIndex implements OpenSource {
  readonly spans: readonly Span[]
  readonly #lease: IndexLease
  readonly #selection: Selection

  constructor(lease: IndexLease, selection: Selection) {
    this.#lease = lease
    this.#selection = selection
    this.spans = lease.spans.filter(span => mayHold(span, selection))
  }

  match(expression: string | null, from: number, to: number): Iterable<Match> {
    const { fromOffset, toOffset, fromTime, toTime } = this.#selection
    const window = { fromOffset: Math.max(from, fromOffset), toOffset: Math.min(to, toOffset), fromTime, toTime }
    return this.#lease.index.match(expression, window)
  }

  count(expressions: readonly (string | null)[]): number[] {
    return expressions.map(expression => this.#lease.index.count(expression, this.#selection))
  }

  [Symbol.dispose](): void {
    this.#lease[Symbol.dispose]()
  }
}

const nothing: OpenSource = {
  spans: [],
  match: () => [],
  count: expressions => expressions.map(() => 0),
  [Symbol.dispose]: () => {}
}

function filterAhead({ manifest }: Link): number {
  return Math.min(MAX_AHEAD_BYTES, MAX_TOC_BYTES + FILTER_BYTES_PER_RECORD * manifest.records)
}

/** False where no record that is indexed lies in a selection. */
function holdsIndexed(manifest: SegmentManifest, selection: Selection): boolean {
  const { baseOffset: from, nextOffset: to, minTimestamp, maxTimestamp } = manifest
  return minTimestamp !== null && maxTimestamp !== null && mayHold({ from, to, minTimestamp, maxTimestamp }, selection)
}

function mayHold({ from, to, minTimestamp, maxTimestamp }: Span, selection: Selection): boolean {
  const { fromOffset, toOffset, fromTime, toTime } = selection
  return (
    from < toOffset &&
    to > fromOffset &&
    (toTime === undefined || minTimestamp < toTime) &&
    (fromTime === undefined || maxTimestamp >= fromTime)
  )
}

/** By offsets alone: nobody knows the times in a batch that cannot be read. */
function unread(manifest: SegmentManifest, { fromOffset, toOffset }: Selection): number {
  return notIndexedIn(manifest, fromOffset, toOffset).length
}

/** Offsets in groups: what lies close together is read in one go, what lies far apart is sought. */
function* runs(offsets: readonly number[], manifest: SegmentManifest): Generator<readonly number[]> {
  const bytesPerOffset = manifest.logBytes / (manifest.nextOffset - manifest.baseOffset)
  let start = 0
  for (let i = 1; i <= offsets.length; i++) {
    if (i < offsets.length && (offsets[i]! - offsets[i - 1]!) * bytesPerOffset < SEEK_BYTES) continue
    yield offsets.slice(start, i)
    start = i
  }
}
