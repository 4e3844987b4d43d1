// One WAL file, open for reading: its bytes by position, and a scan over its frames that goes on behind whatever is damaged.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { MillraceError } from '../errors.ts'
import { walPath } from './files.ts'
import { FRAME_HEADER_BYTES, FRAME_MAGIC, frameSize, HEAD_BYTES, WalRecord } from './frame.ts'
import type { FileHeader, Mark } from './layout.ts'
import {
  decodeFileHeader,
  decodeMark,
  FILE_HEADER_BYTES,
  MARK_MAGIC,
  MARK_START_BYTES,
  markBytes,
  markSize
} from './layout.ts'

/** A frame where it lies; nothing is known yet of whether its bytes are sound. */
export interface FramePlace {
  readonly id: number
  readonly position: number
  readonly length: number
  readonly appendedMs: number
}

/** From where a scan goes on. */
export interface ScanPoint {
  readonly position: number
  readonly nextId: number
}

export const SCAN_START: ScanPoint = { position: FILE_HEADER_BYTES, nextId: 1 }

export type Found =
  | { readonly kind: 'frame'; readonly place: FramePlace }
  /** Bytes that belong to no frame any more. */
  | { readonly kind: 'damage'; readonly position: number; readonly end: number }
  /** A commit that was never finished: the file ends within it. */
  | { readonly kind: 'torn'; readonly position: number; readonly end: number }

const FRAME_MAGIC_BYTES = Buffer.from([FRAME_MAGIC >> 8, FRAME_MAGIC & 0xff])

/** How much is read at once where marks or frames are looked for. */
const SEARCH_BYTES = 1024 * 1024

export class WalFile implements Disposable {
  readonly file: number
  readonly path: string
  /** Undefined when it is damaged, and the error that says so. */
  readonly header: FileHeader | undefined
  readonly headerError: MillraceError | undefined
  readonly #fd: number
  /** The last bytes that were read: frames are looked at one after the other. */
  #window: { readonly start: number; readonly bytes: Buffer } = { start: 0, bytes: Buffer.alloc(0) }

  /** Throws WAL_CORRUPT for a file of another version, and what the system says, as ENOENT. */
  constructor(directory: string, file: number) {
    this.file = file
    this.path = walPath(directory, file)
    this.#fd = openSync(this.path, 'r')
    try {
      const header = decodeFileHeader(this.#readUpTo(0, FILE_HEADER_BYTES), file, this.path)
      if (header instanceof MillraceError) this.headerError = header
      else this.header = header
    } catch (error) {
      this.close()
      throw error
    }
  }

  get size(): number {
    return fstatSync(this.#fd).size
  }

  /** The frame that begins at `position`, whole; nothing but its length is checked. Throws WAL_CORRUPT when the file is too short. */
  frameAt(position: number): Buffer {
    return this.read(position, frameSize(this.read(position, FRAME_HEADER_BYTES)))
  }

  /** Throws WAL_CORRUPT when the file is too short. */
  read(position: number, length: number): Buffer {
    const bytes = this.#readUpTo(position, length)
    if (bytes.length === length) return bytes
    throw new MillraceError(
      'WAL_CORRUPT',
      `${this.path} ends at ${position + bytes.length}, within the ${length} bytes at ${position}`
    )
  }

  /**
   * As `read`, for one look after the other: reads `ahead` bytes at once, if they are more and there are so many. What it
   * gives is good until the next call.
   */
  peek(position: number, length: number, ahead: number): Buffer {
    const { start, bytes } = this.#window
    if (position >= start && position + length <= start + bytes.length) {
      return bytes.subarray(position - start, position - start + length)
    }
    this.#window = { start: position, bytes: this.#readUpTo(position, Math.max(length, ahead)) }
    if (this.#window.bytes.length >= length) return this.#window.bytes.subarray(0, length)
    return this.read(position, length) // which throws
  }

  #readUpTo(position: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length)
    let done = 0
    while (done < length) {
      const count = readSync(this.#fd, bytes, done, length - done, position + done)
      if (count === 0) break
      done += count
    }
    return bytes.subarray(0, done)
  }

  /**
   * Every frame from a point on, up to `end`, and what is no frame; returns the point from which a later scan goes on. Where
   * a mark is damaged, frames are found by their own magic and CRC, up to the next sound mark.
   */
  *scan({ position, nextId }: ScanPoint, end: number): Generator<Found, ScanPoint> {
    this.#window = { start: 0, bytes: Buffer.alloc(0) } // the file may have grown where it was looked at before
    let appendedMs = 0
    for (;;) {
      const mark = this.#markAt(position, end)
      if (mark !== undefined) {
        const groupEnd = endOf(mark)
        if (groupEnd > end) break
        appendedMs = mark.appendedMs
        yield* framesOf(mark)
        position = groupEnd
        nextId = mark.firstId + mark.lengths.length
        continue
      }
      const next = this.#nextMark(position + 1, end)
      const salvaged = this.#salvage(position, next?.position ?? end)
      if (next === undefined && salvaged.length === 0) break
      for (const [i, { start, length }] of salvaged.entries()) {
        if (start > position) yield { kind: 'damage', position, end: start }
        const id = nextId + i
        if (next === undefined || id < next.firstId) {
          yield { kind: 'frame', place: { id, position: start, length, appendedMs: next?.appendedMs ?? appendedMs } }
        }
        position = start + length
      }
      nextId += salvaged.length
      const sound = next?.position ?? end
      if (position < sound) yield { kind: 'damage', position, end: sound }
      position = sound
    }
    if (position < end) yield { kind: 'torn', position, end }
    return { position, nextId }
  }

  #markAt(position: number, end: number): Mark | undefined {
    if (position + MARK_START_BYTES > end) return undefined
    const size = markSize(this.peek(position, MARK_START_BYTES, HEAD_BYTES))
    if (size === undefined || position + size > end) return undefined
    return decodeMark(this.peek(position, size, size), this.file, position)
  }

  /** The first sound mark of this file from `position` on. */
  #nextMark(position: number, end: number): Mark | undefined {
    for (const found of this.#find(MARK_MAGIC, position, end)) {
      const mark = this.#markAt(found, end)
      if (mark !== undefined) return mark
    }
    return undefined
  }

  /** The sound frames that lie between two positions. */
  #salvage(position: number, end: number): { start: number; length: number }[] {
    const frames: { start: number; length: number }[] = []
    let after = position
    for (const start of this.#find(FRAME_MAGIC_BYTES, position, end)) {
      if (start < after || start + FRAME_HEADER_BYTES > end) continue
      const length = frameSize(this.read(start, FRAME_HEADER_BYTES))
      if (start + length > end || !WalRecord.verifyChecksum(this.read(start, length))) continue
      frames.push({ start, length })
      after = start + length
    }
    return frames
  }

  /** Every place from `position` on where some bytes begin that lie wholly before `end`. */
  *#find(bytes: Buffer, position: number, end: number): Generator<number> {
    for (let start = position; start + bytes.length <= end; start += SEARCH_BYTES) {
      const chunk = this.#readUpTo(start, Math.min(SEARCH_BYTES + bytes.length - 1, end - start))
      for (let at = chunk.indexOf(bytes); at >= 0; at = chunk.indexOf(bytes, at + 1)) yield start + at
    }
  }

  close(): void {
    closeSync(this.#fd)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function endOf({ position, lengths }: Mark): number {
  return lengths.reduce((sum, length) => sum + length, position + markBytes(lengths.length))
}

function* framesOf({ position, firstId, appendedMs, lengths }: Mark): Generator<Found> {
  let start = position + markBytes(lengths.length)
  for (const [i, length] of lengths.entries()) {
    yield { kind: 'frame', place: { id: firstId + i, position: start, length, appendedMs } }
    start += length
  }
}
