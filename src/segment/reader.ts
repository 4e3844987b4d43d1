// Opens a segment, from a file or a store alike, and reads manifest, batches, records and search index by ranges.
import { constants, gunzipSync } from 'node:zlib'
import { isMillraceError, MillraceError } from '../errors.ts'
import { BATCH_HEADER_BYTES, CanonicalBatch } from '../kafka/batch.ts'
import type { KafkaRecord } from '../kafka/records.ts'
import type { SegmentManifest } from './manifest.ts'
import { parseManifest } from './manifest.ts'
import { positionFor } from './offset-index.ts'
import type { RangeSource } from './range-source.ts'
import { SearchIndex } from './search-index.ts'
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

  /** Reads table of contents and manifest. Throws SEGMENT_CORRUPT, or what the source throws. */
  static async open(source: RangeSource): Promise<SegmentReader> {
    const tar = await TarView.open(source)
    const json = await tar.read('segment.json')
    return new SegmentReader(tar, parseManifest(json.toString('utf8'), source.name))
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
      const batch = this.#parse(bytes, position)
      if (batch.header.baseOffset >= to) return
      if (batch.header.lastOffset >= from) yield batch
    }
  }

  /** The records of the window, without those of control batches. Throws SEGMENT_CORRUPT. */
  async *records(window: OffsetWindow = {}): AsyncGenerator<KafkaRecord> {
    const { from = 0, to = Number.MAX_SAFE_INTEGER } = window
    for await (const batch of this.batches(window)) {
      if (batch.header.isControl) continue
      for (const record of batch.records()) if (record.offset >= from && record.offset < to) yield record
    }
  }

  /** The bytes of each batch from a position of the log on, by nothing but its length field. Throws SEGMENT_CORRUPT. */
  async *rawBatches(start = 0): AsyncGenerator<{ bytes: Buffer; position: number }> {
    const end = this.#tar.sizeOf(this.#names.log)
    let window: Buffer = Buffer.alloc(0)
    let position = start
    let fetched = start
    while (position < end) {
      const size = window.length >= BATCH_HEADER_BYTES ? window.readInt32BE(8) + 12 : BATCH_HEADER_BYTES
      if (size < BATCH_HEADER_BYTES || position + size > end) {
        throw this.#corrupt(position, `a batch of ${size} bytes does not fit the log of ${end}`)
      }
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

  /** The search index of the whole segment. The caller disposes of it. Throws SEGMENT_CORRUPT. */
  async searchIndex(): Promise<SearchIndex> {
    return SearchIndex.open(await this.file('search'), this.name)
  }

  /** Re-reads everything and compares it with what the manifest says; see `verifySegment`. */
  verify(predecessor?: Predecessor): Promise<SegmentFault[]> {
    return verifySegment(this, predecessor)
  }

  #parse(bytes: Buffer, position: number): CanonicalBatch {
    try {
      return CanonicalBatch.fromWire(bytes).batch
    } catch (cause) {
      if (!isMillraceError(cause)) throw cause
      throw this.#corrupt(position, cause.message, cause)
    }
  }

  #corrupt(position: number, reason: string, cause?: unknown): MillraceError {
    return new MillraceError('SEGMENT_CORRUPT', `${this.name}: log position ${position}: ${reason}`, { cause })
  }
}

/** What most manifests need, compressed, with room to spare. */
const MANIFEST_READ_BYTES = 16 * 1024
const MAX_MANIFEST_READ_BYTES = 64 * 1024 * 1024
const TAR_BLOCK = 512

/**
 * Reads only the manifest, which is the first file of the tar and alone in its gzip member: one request for most.
 * Throws SEGMENT_CORRUPT, or what the source throws.
 */
export async function readManifest(source: RangeSource): Promise<SegmentManifest> {
  for (let bytes = MANIFEST_READ_BYTES; bytes <= MAX_MANIFEST_READ_BYTES; bytes *= 16) {
    const head = await source.get(0, bytes)
    const tar = inflateStart(head)
    if (tar.length >= TAR_BLOCK && tar.toString('latin1', 0, 12) === 'segment.json') {
      const size = Number.parseInt(tar.toString('latin1', 124, 136), 8)
      if (tar.length >= TAR_BLOCK + size) {
        return parseManifest(tar.toString('utf8', TAR_BLOCK, TAR_BLOCK + size), source.name)
      }
    }
    if (head.length < bytes) break
  }
  throw new MillraceError('SEGMENT_CORRUPT', `${source.name}: does not begin with segment.json`, {
    hint: 'It is cut off or damaged, or it is not a segment of Millrace.'
  })
}

/** As much of a gzip file's start as can be inflated. */
function inflateStart(head: Buffer): Buffer {
  try {
    return gunzipSync(head, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: MAX_MANIFEST_READ_BYTES })
  } catch {
    return Buffer.alloc(0)
  }
}
