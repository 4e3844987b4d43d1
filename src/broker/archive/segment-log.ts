// The log of one archived segment, read piece by piece through a cache, and ahead of whoever reads on.

import type { Link } from '../../archive/archive.ts'
import type { SegmentPlaces } from '../../archive/segment-source.ts'
import { segmentSource } from '../../archive/segment-source.ts'
import type { CanonicalBatch } from '../../kafka/batch.ts'
import { BATCH_HEADER_BYTES } from '../../kafka/batch.ts'
import { offsetForTime, positionFor } from '../../segment/offset-index.ts'
import { SegmentReader } from '../../segment/reader.ts'
import type { Piece } from '../../segment/tar-view.ts'
import type { TimedOffset } from '../log-store.ts'
import type { ByteCache } from './byte-cache.ts'
import type { Taken } from './taken.ts'
import { firstSince } from './taken.ts'

/** Pieces that are fetched in one request: a MiB of log, as much as a consumer asks for at a time by default. */
const RUN = 4

/** What an open segment takes: table of contents and manifest, and the indexes, with 20 bytes for each 4 KiB of the log. */
const OPEN_BYTES = 64 * 1024
const LOG_BYTES_PER_OPEN_BYTE = 200

export class SegmentLog {
  readonly #reader: SegmentReader
  readonly #cache: ByteCache
  /** Also the keys under which they are cached. */
  readonly #pieces: readonly Piece[]
  readonly #end: number

  private constructor(reader: SegmentReader, cache: ByteCache) {
    this.#reader = reader
    this.#cache = cache
    this.#pieces = reader.logPieces()
    this.#end = this.#pieces.at(-1)?.end ?? 0
  }

  /** The segment, opened once while the cache keeps it. Throws SEGMENT_CORRUPT, OBJECT_MISSING and what the store throws. */
  static open(link: Link, places: SegmentPlaces, cache: ByteCache): Promise<SegmentLog> {
    const open = async (): Promise<SegmentLog> => {
      const { source } = segmentSource(places, link)
      return new SegmentLog(await SegmentReader.open(source, link.manifest), cache)
    }
    const bytes = OPEN_BYTES + Math.ceil(link.manifest.logBytes / LOG_BYTES_PER_OPEN_BYTE)
    return cache.get<SegmentLog>(link.key) ?? cache.put(link.key, bytes, open())
  }

  /** Takes batches from where `taken` wants to go on. Gives the bytes of the log that are left. Throws as `open` does. */
  async read(taken: Taken): Promise<number> {
    let position = await this.#positionOf(taken.next)
    while (position < this.#end) {
      const batch = await this.#batchAt(position)
      if (!taken.take(batch)) break
      position += batch.header.sizeInBytes
    }
    this.readAhead(position)
    return this.#end - position
  }

  /** The first record whose timestamp is not below `timestamp`. Throws as `open` does. */
  async firstSince(timestamp: number): Promise<TimedOffset | null> {
    const { timeindex } = await this.#reader.indexes()
    let position = await this.#positionOf(offsetForTime(timeindex, this.#reader.baseOffset, timestamp))
    while (position < this.#end) {
      const batch = await this.#batchAt(position)
      position += batch.header.sizeInBytes
      const found = batch.header.maxTimestamp >= timestamp ? firstSince(batch, timestamp) : null
      if (found !== null) return found
    }
    return null
  }

  /** Fetches what comes next, while what was read is on its way to the client. */
  readAhead(position = 0): void {
    if (!this.#cache.mayReadAhead) return
    const first = this.#pieceAt(position)
    const missing = this.#pieces.findIndex((piece, i) => i >= first && i < first + RUN && !this.#cache.has(piece))
    if (missing >= 0) this.#fetch(missing, true)
  }

  async #positionOf(offset: number): Promise<number> {
    const { baseOffset } = this.#reader
    if (offset <= baseOffset) return 0
    const { index } = await this.#reader.indexes()
    return positionFor(index, baseOffset, offset)
  }

  async #batchAt(position: number): Promise<CanonicalBatch> {
    const head = await this.#bytes(position, Math.min(position + BATCH_HEADER_BYTES, this.#end))
    const size = this.#reader.sizeAt(position, head)
    return this.#reader.parse(await this.#bytes(position, position + size), position)
  }

  /** A stretch of the log: a view into the one piece that has it, or a copy. */
  async #bytes(from: number, to: number): Promise<Buffer> {
    const parts: Buffer[] = []
    for (let i = this.#pieceAt(from); this.#pieces[i] !== undefined && this.#pieces[i]!.start < to; i++) {
      const { start } = this.#pieces[i]!
      const piece = await this.#piece(i)
      parts.push(piece.subarray(Math.max(0, from - start), to - start))
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  }

  #piece(i: number): Promise<Buffer> {
    return this.#cache.get<Buffer>(this.#pieces[i]) ?? this.#fetch(i, false)
  }

  /** Fetches a run of pieces; those behind the first are read ahead. */
  #fetch(first: number, isAhead: boolean): Promise<Buffer> {
    let end = first + 1
    while (end < first + RUN && end < this.#pieces.length && !this.#cache.has(this.#pieces[end])) end++
    const read = this.#reader.readLogPieces(first, end)
    read.forEach((bytes, i) => {
      const piece = this.#pieces[first + i]!
      this.#cache.put(piece, piece.end - piece.start, bytes, isAhead || i > 0)
    })
    return read[0]!
  }

  /** The number of the piece that holds a position. */
  #pieceAt(position: number): number {
    let low = 0
    let high = this.#pieces.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#pieces[middle]!.end <= position) low = middle + 1
      else high = middle
    }
    return low
  }
}
