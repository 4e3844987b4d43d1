// Opens a segment, from a file or a store alike, and reads manifest, batches, records and search index by ranges.
import { isMillraceError, MillraceError, messageOf } from '../errors.ts'
import { BATCH_HEADER_BYTES, CanonicalBatch } from '../kafka/batch.ts'
import type { KafkaRecord } from '../kafka/records.ts'
import { leadingMember } from './gzip-member.ts'
import type { SegmentManifest } from './manifest.ts'
import { parseManifest } from './manifest.ts'
import { positionFor } from './offset-index.ts'
import type { RangeSource } from './range-source.ts'
import { SearchIndex } from './search-index.ts'
import { TAR_BLOCK, tarHeader } from './tar-format.ts'
import type { Piece } from './tar-view.ts'
import { TarView } from './tar-view.ts'
import type { Predecessor, SegmentFault } from './verify.ts'
import { verifySegment } from './verify.ts'
import { memberNames } from './writer.ts'

export type { RangeSource } from './range-source.ts'
export { fileSource } from './range-source.ts'
export type { Predecessor, SegmentFault } from './verify.ts'

/** Offsets from `from` up to, not including, `to`. */
export interface OffsetWindow {
  readonly from?: number | undefined
  readonly to?: number | undefined
}

/** Log bytes that are read at a time. */
const READ_BYTES = 1024 * 1024

export class SegmentReader {
  readonly manifest: SegmentManifest
  readonly #tar: TarView
  readonly #names: ReturnType<typeof memberNames>

  private constructor(tar: TarView, manifest: SegmentManifest) {
    this.#tar = tar
    this.manifest = manifest
    this.#names = memberNames(manifest.baseOffset)
  }

  /** Reads table of contents and manifest, unless that is known. Throws SEGMENT_CORRUPT, or what the source throws. */
  static async open(source: RangeSource, known?: SegmentManifest): Promise<SegmentReader> {
    const tar = await TarView.open(source)
    const manifest = known ?? parseManifest((await tar.read('segment.json')).toString('utf8'), source.name)
    return new SegmentReader(tar, manifest)
  }

  get name(): string {
    return this.#tar.name
  }

  /** A file of the segment, by its kind, whole. */
  file(kind: keyof ReturnType<typeof memberNames>): Promise<Buffer> {
    return this.#tar.read(this.#names[kind])
  }

  /** The batches that hold an offset of the window, verbatim, each with its CRC checked. Throws SEGMENT_CORRUPT. */
  async *batches({ from = 0, to = Number.MAX_SAFE_INTEGER }: OffsetWindow = {}): AsyncGenerator<CanonicalBatch> {
    const { baseOffset } = this.manifest
    const start = from > baseOffset ? positionFor(await this.file('index'), baseOffset, from) : 0
    for await (const { bytes, position } of this.rawBatches(start)) {
      const batch = this.parse(bytes, position)
      if (batch.header.baseOffset >= to) return
      if (batch.header.lastOffset >= from) yield batch
    }
  }

  /** The records of the window, without those of control batches and of batches that are not indexed. Throws SEGMENT_CORRUPT. */
  async *records(window: OffsetWindow = {}): AsyncGenerator<KafkaRecord> {
    const { from = 0, to = Number.MAX_SAFE_INTEGER } = window
    const notIndexed = new Set(this.manifest.notIndexed?.map(({ baseOffset }) => baseOffset))
    for await (const batch of this.batches(window)) {
      if (batch.header.isControl || notIndexed.has(batch.header.baseOffset)) continue
      for (const record of this.#decode(batch)) if (record.offset >= from && record.offset < to) yield record
    }
  }

  /** The bytes of each batch from a position of the log on, by nothing but its length field. Throws SEGMENT_CORRUPT. */
  async *rawBatches(start = 0): AsyncGenerator<{ bytes: Buffer; position: number }> {
    const end = this.#tar.sizeOf(this.#names.log)
    let window: Buffer = Buffer.alloc(0)
    let position = start
    let fetched = start
    while (position < end) {
      const size = this.sizeAt(position, window)
      if (window.length >= BATCH_HEADER_BYTES && window.length >= size) {
        yield { bytes: window.subarray(0, size), position }
        window = window.subarray(size)
        position += size
        continue
      }
      const upTo = Math.min(end, Math.max(fetched + READ_BYTES, position + size))
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
      throw this.#corrupt(position, cause.message, cause)
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
    throw this.#corrupt(position, `a batch of ${size} bytes does not fit the log of ${end}`)
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

  /** Re-reads everything and compares it with what the manifest says; see `verifySegment`. */
  verify(predecessor?: Predecessor): Promise<SegmentFault[]> {
    return verifySegment(this, predecessor)
  }

  /** Checks the tar around the files. Throws SEGMENT_CORRUPT. */
  checkTar(): Promise<void> {
    return this.#tar.checkTar()
  }

  *#decode(batch: CanonicalBatch): Generator<KafkaRecord> {
    try {
      yield* batch.records()
    } catch (cause) {
      const where = `${this.name}: the batch at offset ${batch.header.baseOffset}`
      throw new MillraceError('SEGMENT_CORRUPT', `${where}: ${messageOf(cause)}`, { cause })
    }
  }

  #corrupt(position: number, reason: string, cause?: unknown): MillraceError {
    return new MillraceError('SEGMENT_CORRUPT', `${this.name}: log position ${position}: ${reason}`, { cause })
  }
}

/** What most manifests need, compressed, with room to spare. */
const MANIFEST_READ_BYTES = 16 * 1024
const MAX_MANIFEST_READ_BYTES = 64 * 1024 * 1024
/** Where the size stands in a tar header: eleven octal digits. */
const TAR_SIZE = { start: 124, end: 135 } as const

/**
 * Reads only the manifest, which is the first file of the tar and alone in its gzip members: one request for most.
 * Throws SEGMENT_CORRUPT, or what the source throws.
 */
export async function readManifest(source: RangeSource): Promise<SegmentManifest> {
  const corrupt = (reason: string, cause?: unknown): MillraceError =>
    new MillraceError('SEGMENT_CORRUPT', `${source.name}: segment.json at its start: ${reason}`, {
      cause,
      hint: 'It is cut off or damaged, or it is not a segment of Millrace.'
    })
  for (let bytes = MANIFEST_READ_BYTES; bytes <= MAX_MANIFEST_READ_BYTES; bytes *= 16) {
    const head = await source.get(0, bytes)
    let json: string | undefined
    try {
      json = firstFile(head, 'segment.json')
    } catch (cause) {
      throw corrupt(messageOf(cause), cause)
    }
    if (json !== undefined) return parseManifest(json, source.name)
    if (head.length < bytes) throw corrupt('it is cut off')
  }
  throw corrupt(`it takes more than ${MAX_MANIFEST_READ_BYTES} bytes`)
}

/** The contents of the first file of a tar.gz; undefined where `head` does not reach to its end. Throws RangeError. */
function firstFile(head: Buffer, name: string): string | undefined {
  const parts: Buffer[] = []
  let size: number | undefined
  for (let at = 0, inflated = 0; size === undefined || inflated < TAR_BLOCK + size; ) {
    const member = leadingMember(head.subarray(at), MAX_MANIFEST_READ_BYTES)
    if (member === undefined) return undefined
    parts.push(member.contents)
    at += member.bytes
    inflated += member.contents.length
    size ??= sizeIn(member.contents, name)
  }
  return Buffer.concat(parts).toString('utf8', TAR_BLOCK, TAR_BLOCK + size)
}

/** The size that a tar header states, which must be the header of this file. */
function sizeIn(tar: Buffer, name: string): number {
  const size = Number.parseInt(tar.toString('latin1', TAR_SIZE.start, TAR_SIZE.end), 8)
  if (!(size <= MAX_MANIFEST_READ_BYTES) || !tar.subarray(0, TAR_BLOCK).equals(tarHeader(name, size))) {
    throw new RangeError('there is another file, or none')
  }
  return size
}
