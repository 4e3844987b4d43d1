// One WAL file, open for reading: its bytes by position, and a scan over its frames that goes on behind whatever is damaged.
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { MillraceError } from '../errors.ts'
import { walPath } from './files.ts'
import { FRAME_HEADER_BYTES, frameSize } from './frame.ts'
import { HEAD_BYTES } from './frame-head.ts'
import type { FileHeader, Mark } from './layout.ts'
import {
  decodeFileHeader,
  decodeMark,
  decodeMarkStart,
  FILE_HEADER_BYTES,
  MARK_START_BYTES,
  markBytes
} from './layout.ts'
import type { TakeMemory } from './reused-memory.ts'

/** A frame where it lies; nothing is known yet of whether its bytes are sound. */
export interface FramePlace {
  readonly id: number
  readonly position: number
  readonly length: number
  readonly appendedMs: number
}

/** Where a scan of a whole file begins. */
export const SCAN_START = FILE_HEADER_BYTES

export type Found =
  | { readonly kind: 'frame'; readonly place: FramePlace }
  /** Bytes that belong to no frame any more. */
  | { readonly kind: 'damage'; readonly position: number; readonly end: number }
  /** A commit that was never finished: the file ends within it. */
  | { readonly kind: 'torn'; readonly position: number; readonly end: number }

/** What both kinds of marks begin with. */
const MARK_PREFIX = Buffer.from('MR')
/** A disk fails to read so many bytes at once. */
const BLOCK_BYTES = 4096

/** How much is read at once where marks or frames are looked for. */
const SEARCH_BYTES = 1024 * 1024

export class WalFile implements Disposable {
  readonly file: number
  readonly path: string
  /** Undefined when it is damaged, and the error that says so. */
  readonly header: FileHeader | undefined
  readonly headerError: MillraceError | undefined
  readonly #fd: number
  /** The header's, or where that is damaged, that of the first sound mark. */
  #salt: bigint | undefined
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
      else [this.header, this.#salt] = [header, header.salt]
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** Another file has its name by now: the folder was emptied, and numbers began anew. */
  get isReplaced(): boolean {
    return statSync(this.path, { throwIfNoEntry: false })?.ino !== fstatSync(this.#fd).ino
  }

  get size(): number {
    return fstatSync(this.#fd).size
  }

  /** The frame that begins at `position`, whole; nothing but its length is checked. Throws WAL_CORRUPT when the file is too short. */
  frameAt(position: number, memory?: TakeMemory): Buffer {
    return this.read(position, frameSize(this.read(position, FRAME_HEADER_BYTES)), memory)
  }

  /** Throws WAL_CORRUPT when the file is too short. */
  read(position: number, length: number, memory?: TakeMemory): Buffer {
    const bytes = this.#readUpTo(position, length, memory)
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

  #readUpTo(position: number, length: number, memory: TakeMemory = Buffer.allocUnsafe): Buffer {
    const bytes = memory(length)
    let done = 0
    while (done < length) {
      const count = this.#readOrZeros(bytes, done, position + done)
      if (count === 0) break
      done += count
    }
    return bytes.subarray(0, done)
  }

  /** What the disk cannot read becomes zeros, which no CRC fits: one bad block must not keep a worker from all else. */
  #readOrZeros(bytes: Buffer, done: number, position: number): number {
    try {
      return readSync(this.#fd, bytes, done, bytes.length - done, position)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error
      const count = Math.min(bytes.length - done, BLOCK_BYTES - (position % BLOCK_BYTES))
      bytes.fill(0, done, done + count)
      return count
    }
  }

  /**
   * Every frame from a point on, up to `end`, and what is no frame; returns the point from which a later scan goes on. A
   * group is known by either of its marks, so one damaged place hides no frame that it does not touch.
   */
  *scan(position: number, end: number, isSettled: boolean): Generator<Found, number> {
    this.#window = { start: 0, bytes: Buffer.alloc(0) } // the file may have grown where it was looked at before
    for (;;) {
      const mark = this.#markAt(position, end) ?? this.#nextMark(position + 1, end)
      if (mark === undefined) break
      const size = markBytes(mark.lengths.length)
      const groupEnd = endOf(mark)
      // Where the mark behind the group tells of it, the one before it is damaged, and whatever is before that.
      const sound = mark.atEnd ? mark.position + size : mark.position
      if (position < sound) yield { kind: 'damage', position, end: sound }
      position = sound
      if (groupEnd > end && !isSettled) break
      position = mark.position + size
      for (const [i, length] of mark.lengths.entries()) {
        if (position + length > end) break // the file was cut: what is whole of it counts
        yield { kind: 'frame', place: { id: mark.firstId + i, position, length, appendedMs: mark.appendedMs } }
        position += length
      }
      if (groupEnd > end) break
      if (!mark.atEnd && this.#markAt(position, end) === undefined) {
        yield { kind: 'damage', position, end: groupEnd }
      }
      position = groupEnd
    }
    if (position === end) return position
    const isTorn = this.#isBegun(position, end)
    yield { kind: isTorn ? 'torn' : 'damage', position, end }
    return isTorn ? position : end
  }

  /** Whether a commit may have left this, of which not all got to the disk: a group that goes on behind the end, or nothing yet. */
  #isBegun(position: number, end: number): boolean {
    if (position + MARK_START_BYTES > end) return true
    const start = decodeMarkStart(this.peek(position, MARK_START_BYTES, MARK_START_BYTES), this.file, this.#salt)
    if (start?.position !== position) return this.#isZero(position, end)
    const mark = this.#markAt(position, end)
    return mark === undefined ? position + start.size > end : endOf(mark) > end
  }

  #isZero(position: number, end: number): boolean {
    for (let start = position; start < end; start += SEARCH_BYTES) {
      if (this.#readUpTo(start, Math.min(SEARCH_BYTES, end - start)).some(byte => byte !== 0)) return false
    }
    return true
  }

  /** The sound mark that begins there; what it says of its group must fit its place. */
  #markAt(at: number, end: number): (Mark & { readonly atEnd: boolean }) | undefined {
    if (at + MARK_START_BYTES > end) return undefined
    const start = decodeMarkStart(this.peek(at, MARK_START_BYTES, HEAD_BYTES), this.file, this.#salt)
    if (start === undefined || at + start.size > end) return undefined
    if (start.atEnd ? start.position < FILE_HEADER_BYTES || start.position >= at : start.position !== at)
      return undefined
    const mark = decodeMark(this.peek(at, start.size, start.size))
    if (mark === undefined || (start.atEnd && endOf(mark) !== at + start.size)) return undefined
    this.#salt ??= mark.salt
    return { ...mark, atEnd: start.atEnd }
  }

  /** The next sound mark of this file from `position` on, of either kind. */
  #nextMark(position: number, end: number): (Mark & { readonly atEnd: boolean }) | undefined {
    for (const found of this.#find(MARK_PREFIX, position, end)) {
      const mark = this.#markAt(found, end)
      if (mark !== undefined) return mark
    }
    return undefined
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
  return lengths.reduce((sum, length) => sum + length, position + 2 * markBytes(lengths.length))
}
