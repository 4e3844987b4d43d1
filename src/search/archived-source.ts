// Records of one archived segment, read from its local copy where there is one.
import type { Link } from '../archive/archive.ts'
import type { SegmentPlaces } from '../archive/segment-source.ts'
import { segmentSource } from '../archive/segment-source.ts'
import { MillraceError } from '../errors.ts'
import type { SegmentManifest } from '../segment/manifest.ts'
import { notIndexedIn } from '../segment/manifest.ts'
import { SegmentReader } from '../segment/reader.ts'
import type { Match } from '../segment/search-index.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { FoundRecord } from './record-json.ts'
import type { RecordSource } from './record-source.ts'
import { foundRecord } from './record-source.ts'
import type { Selection } from './selection.ts'

/** Over fewer bytes than these a read goes on, as the segment reader fetches the log by the MiB anyway. */
const SEEK_BYTES = 2 * 1024 * 1024

export class ArchivedSource implements RecordSource {
  readonly stream: StreamKey
  notSearched = 0
  readonly #link: Link
  readonly #places: SegmentPlaces

  constructor(stream: StreamKey, link: Link, places: SegmentPlaces) {
    this.stream = stream
    this.#link = link
    this.#places = places
  }

  /** False where no record of the segment lies in a selection, not even one that cannot be read. */
  static mayHold({ manifest }: Link, selection: Selection): boolean {
    return mayMatch(manifest, selection) || unread(manifest, selection) > 0
  }

  async *match(expression: string, selection: Selection): AsyncGenerator<Match> {
    this.notSearched = unread(this.#link.manifest, selection)
    if (!mayMatch(this.#link.manifest, selection)) return
    const { reader } = await this.#open()
    using index = await reader.searchIndex()
    yield* index.match(expression, selection)
  }

  async *read(offsets: readonly number[]): AsyncGenerator<FoundRecord> {
    const { reader, tier } = await this.#open()
    for (const run of runs(offsets, reader.manifest)) {
      let next = 0
      for await (const batch of reader.batches({ from: run[0]!, to: run.at(-1)! + 1 })) {
        const { lastOffset, timestampType } = batch.header
        if (lastOffset < run[next]!) continue
        for (const record of batch.records()) {
          if (record.offset !== run[next]) continue
          yield foundRecord(this.stream, timestampType, record, tier)
          next++
        }
      }
      if (next < run.length) {
        throw new MillraceError('SEGMENT_CORRUPT', `${reader.name}: its log has no record ${run[next]}, its index has`)
      }
    }
  }

  async #open(): Promise<{ reader: SegmentReader; tier: 'warm' | 'cold' }> {
    const { source, tier } = segmentSource(this.#places, this.#link)
    return { reader: await SegmentReader.open(source), tier }
  }
}

/** False where no record that is indexed lies in a selection. */
function mayMatch(manifest: SegmentManifest, { fromOffset, toOffset, fromTime, toTime }: Selection): boolean {
  const { baseOffset, nextOffset, minTimestamp, maxTimestamp } = manifest
  return (
    minTimestamp !== null &&
    maxTimestamp !== null &&
    baseOffset < toOffset &&
    nextOffset > fromOffset &&
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
