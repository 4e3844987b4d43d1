// Opens a segment, from a file or a store alike, and reads manifest, batches, records and search index by ranges. One range for
// the table of contents, one for the two indexes and one of the log are enough to get to any offset or time.
import { isMillraceError, MillraceError } from '../errors.ts'
import { BATCH_HEADER_BYTES, CanonicalBatch } from '../kafka/batch.ts'
import { readRecords } from '../kafka/read-records.ts'
import type { KafkaRecord } from '../kafka/records.ts'
import type { SegmentManifest } from './manifest.ts'
import { parseManifest } from './manifest.ts'
import { endFor, offsetForTime, offsetReaching, positionFor } from './offset-index.ts'
import { once } from './once.ts'
import type { RangeSource } from './range-source.ts'
import { SearchIndex } from './search-index.ts'
import type { Piece } from './tar-view.ts'
import { TarView } from './tar-view.ts'
import { TermFilter } from './term-filter.ts'
import type { Predecessor, SegmentFault } from './verify.ts'
import { verifySegment } from './verify.ts'
import { memberNames } from './writer.ts'

export type { RangeSource } from './range-source.ts'
export { fileSource } from './range-source.ts'
export { readManifest } from './read-manifest.ts'
export type { Predecessor, SegmentFault } from './verify.ts'

/** Offsets from `from` up to, not including, `to`. */
export interface OffsetWindow {
  readonly from?: number | undefined
  readonly to?: number | undefined
}

/** Also times, in milliseconds since the epoch, from `fromTime` up to, not including, `toTime`. */
export interface RecordWindow extends OffsetWindow {
  readonly fromTime?: number | undefined
  readonly toTime?: number | undefined
}

/** Kafka's indexes of the log. */
export interface LogIndexes {
  readonly index: Buffer
  readonly timeindex: Buffer
}

/** Log bytes that are read at a time. */
const READ_BYTES = 1024 * 1024
/** The most that is read at first, to get to a batch in one read. */
const FIRST_READ_BYTES = 16 * 1024 * 1024

export class SegmentReader {
  readonly baseOffset: number
  /** What the segment says of itself; read when first asked for, unless it was known. Throws SEGMENT_CORRUPT. */
  readonly manifest: () => Promise<SegmentManifest>
  /** Both indexes, in one read when first asked for. Throws SEGMENT_CORRUPT. */
  readonly indexes: () => Promise<LogIndexes>
  readonly #tar: TarView
  readonly #names: ReturnType<typeof memberNames>

  private constructor(tar: TarView, known: SegmentManifest | undefined) {
    this.#tar = tar
    this.baseOffset = Number(/^(\d{20})\.log$/.exec(tar.names[1] ?? '')?.[1])
    if (!Number.isSafeInteger(this.baseOffset)) throw this.#corrupt('there is no log behind its first file')
    this.#names = memberNames(this.baseOffset)
    if (known !== undefined) this.#checkBase(known)
    this.manifest = known === undefined ? once(() => this.#readManifest()) : async () => known
    this.indexes = once(async () => {
      const [index, timeindex] = await tar.readTogether(this.#names.index, this.#names.timeindex)
      return { index, timeindex }
    })
  }

  /** Reads the table of contents, and nothing else. Throws SEGMENT_CORRUPT, or what the source throws. */
  static async open(source: RangeSource, known?: SegmentManifest): Promise<SegmentReader> {
    return new SegmentReader(await TarView.open(source), known)
  }

  get name(): string {
    return this.#tar.name
  }

  /** A file of the segment, by its kind, whole. */
  file(kind: keyof ReturnType<typeof memberNames>): Promise<Buffer> {
    return this.#tar.read(this.#names[kind])
  }

  /** The batches that hold an offset of the window, verbatim, each with its CRC checked. Throws SEGMENT_CORRUPT. */
  batches({ from = 0, to = Number.MAX_SAFE_INTEGER }: OffsetWindow = {}): AsyncGenerator<CanonicalBatch> {
    return this.#batches(from, to)
  }

  /** As `batches`; the first read reaches `reach`, if the caller knows by where the first batch that it wants will come. */
  async *#batches(from: number, to: number, reach?: number): AsyncGenerator<CanonicalBatch> {
    const isAll = from <= this.baseOffset && to === Number.MAX_SAFE_INTEGER && reach === undefined
    const stretch: LogStretch = isAll ? {} : await this.#stretch(from, to, reach ?? from)
    for await (const { bytes, position } of this.rawBatches(stretch)) {
      const batch = this.parse(bytes, position)
      const { baseOffset, lastOffset } = batch.header
      if (position > 0 && position === stretch.start && lastOffset > from) {
        throw this.#corruptLog(position, `its index leads here for offset ${from}, and here is ${baseOffset}`)
      }
      if (baseOffset >= to) return
      if (lastOffset >= from) yield batch
      if (lastOffset >= to - 1) return
    }
  }

  /** Where the log has a window, by its index: an end that is wrong only makes for other reads. */
  async #stretch(from: number, to: number, reach: number): Promise<LogStretch> {
    const { index } = await this.indexes()
    const start = positionFor(index, this.baseOffset, from)
    const size = this.#tar.sizeOf(this.#names.log)
    if (start < 0 || (start > 0 && start >= size)) throw this.#corruptLog(start, `its index leads out of ${size} bytes`)
    const first = Math.min(endFor(index, this.baseOffset, reach), start + FIRST_READ_BYTES)
    return { start, first, end: endFor(index, this.baseOffset, to - 1) }
  }

  /**
   * The records of the window, in offset order, read while they are asked for; without those of control batches, and of
   * batches that cannot be read and are listed as not indexed. Throws SEGMENT_CORRUPT.
   */
  async *records(window: RecordWindow = {}): AsyncGenerator<KafkaRecord> {
    const { from = 0, to = Number.MAX_SAFE_INTEGER, fromTime = -Infinity, toTime = Infinity } = window
    let start = from
    let reach: number | undefined
    if (fromTime > -Infinity) {
      const { timeindex } = await this.indexes()
      const reaching = offsetReaching(timeindex, this.baseOffset, fromTime)
      if (reaching === null && fromTime >= 0) return
      start = Math.max(from, offsetForTime(timeindex, this.baseOffset, fromTime))
      reach = Math.max(from, reaching ?? from)
    }
    // Nothing tells that no earlier time follows, so that only offsets end it.
    for await (const batch of this.#batches(start, to, reach)) {
      if (batch.header.isControl || batch.header.maxTimestamp < fromTime) continue
      for (const record of await this.#recordsOf(batch)) {
        const { offset, timestamp } = record
        if (offset >= from && offset < to && timestamp >= fromTime && timestamp < toTime) yield record
      }
    }
  }

  /** The bytes of each batch of a stretch of the log, and of what follows it, by nothing but its length field. Throws SEGMENT_CORRUPT. */
  async *rawBatches(stretch: LogStretch = {}): AsyncGenerator<{ bytes: Buffer; position: number }> {
    const { start = 0, first = 0, end = Infinity } = stretch
    const logEnd = this.#tar.sizeOf(this.#names.log)
    let window: Buffer = Buffer.alloc(0)
    let position = start
    let fetched = start
    while (position < logEnd) {
      const size = this.sizeAt(position, window)
      if (window.length >= BATCH_HEADER_BYTES && window.length >= size) {
        yield { bytes: window.subarray(0, size), position }
        window = window.subarray(size)
        position += size
        continue
      }
      const next = Math.max(first, fetched + READ_BYTES)
      const upTo = Math.min(logEnd, Math.max(fetched < end ? Math.min(next, end) : next, position + size))
      window = Buffer.concat([window, await this.#tar.read(this.#names.log, fetched, upTo)])
      fetched = upTo
    }
  }

  /** The batch that `bytes` are, which lie at a position of the log, with its CRC checked. Throws SEGMENT_CORRUPT. */
  parse(bytes: Buffer, position: number): CanonicalBatch {
    try {
      return CanonicalBatch.fromWire(bytes).batch
    } catch (cause) {
      if (!isMillraceError(cause)) throw cause
      throw this.#corruptLog(position, cause.message, cause)
    }
  }

  /**
   * The size of the batch at a position of the log, from its first bytes; at least what a batch's header needs, where fewer
   * are there. Throws SEGMENT_CORRUPT when the log ends before the batch does.
   */
  sizeAt(position: number, bytes: Buffer): number {
    const end = this.#tar.sizeOf(this.#names.log)
    const size = bytes.length >= BATCH_HEADER_BYTES ? bytes.readInt32BE(8) + 12 : BATCH_HEADER_BYTES
    if (size >= BATCH_HEADER_BYTES && position + size <= end) return size
    throw this.#corruptLog(position, `a batch of ${size} bytes does not fit the log of ${end}`)
  }

  /** The stretches in which the log is stored. */
  logPieces(): Piece[] {
    return this.#tar.pieces(this.#names.log)
  }

  /** Some of these stretches by their numbers, `to` exclusive: see `TarView.readPieces`. */
  readLogPieces(from: number, to: number): Promise<Buffer>[] {
    return this.#tar.readPieces(this.#names.log, from, to)
  }

  /** The search index of the whole segment. The caller disposes of it. Throws SEGMENT_CORRUPT. */
  async searchIndex(): Promise<SearchIndex> {
    return SearchIndex.open(await this.file('search'), this.name)
  }

  /** What tells of a word that no record has it; null in format version 1. Throws SEGMENT_CORRUPT. */
  async filter(): Promise<TermFilter | null> {
    if (!this.#tar.names.includes(this.#names.filter)) return null
    return TermFilter.from(await this.file('filter'), this.name)
  }

  /** Re-reads everything and compares it with what the manifest says; see `verifySegment`. */
  verify(predecessor?: Predecessor): Promise<SegmentFault[]> {
    return verifySegment(this, predecessor)
  }

  /** Checks the tar around the files. Throws SEGMENT_CORRUPT. */
  checkTar(): Promise<void> {
    return this.#tar.checkTar()
  }

  async #recordsOf(batch: CanonicalBatch): Promise<Iterable<KafkaRecord>> {
    const read = readRecords(batch)
    if (!(read instanceof MillraceError)) return read
    const { baseOffset } = batch.header
    const { notIndexed = [] } = await this.manifest()
    if (notIndexed.some(listed => listed.baseOffset === baseOffset)) return []
    throw this.#corrupt(`the batch at offset ${baseOffset}: ${read.message}`, read)
  }

  async #readManifest(): Promise<SegmentManifest> {
    const manifest = parseManifest((await this.#tar.read(this.#names.manifest)).toString('utf8'), this.name)
    this.#checkBase(manifest)
    return manifest
  }

  #checkBase({ baseOffset }: SegmentManifest): void {
    if (baseOffset === this.baseOffset) return
    throw this.#corrupt(
      `segment.json says that it begins at ${baseOffset}, its files that it does at ${this.baseOffset}`
    )
  }

  #corruptLog(position: number, reason: string, cause?: unknown): MillraceError {
    return this.#corrupt(`log position ${position}: ${reason}`, cause)
  }

  #corrupt(reason: string, cause?: unknown): MillraceError {
    return new MillraceError('SEGMENT_CORRUPT', `${this.name}: ${reason}`, { cause })
  }
}

/** Positions of the log: from where to read, how far at once, and where to stop before the next read. */
interface LogStretch {
  readonly start?: number
  readonly first?: number
  readonly end?: number
}
