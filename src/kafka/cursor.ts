// Where wire types read from and write to: one buffer forward, or one that grows.
import { MillraceError } from '../errors.ts'

/** Reads forward through one buffer. Frames come from the network: every read is bounded by what is there. */
export class Cursor {
  readonly buffer: Buffer
  position: number

  constructor(buffer: Buffer, position = 0) {
    this.buffer = buffer
    this.position = position
  }

  get remaining(): number {
    return this.buffer.length - this.position
  }

  /** Moves past `length` bytes and returns where they start. Throws WIRE_CORRUPT when the buffer is too short. */
  advance(length: number): number {
    if (length < 0 || length > this.remaining) {
      throw new MillraceError('WIRE_CORRUPT', `cannot read ${length} bytes at ${this.position}: ${this.remaining} left`)
    }
    const start = this.position
    this.position += length
    return start
  }

  take(length: number): Buffer {
    const start = this.advance(length)
    return this.buffer.subarray(start, start + length)
  }

  uvarint(): number {
    for (let value = 0, shift = 0; shift < 35; shift += 7) {
      const byte = this.buffer[this.advance(1)]!
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new MillraceError('WIRE_CORRUPT', `malformed varint before ${this.position}`)
  }
}

/** From this size on, what is appended is kept as it is rather than copied: record batches are large, everything else is not. */
const KEPT_BYTES = 16 * 1024

/** Collects what is written; grows as needed. */
export class Sink {
  /** What is complete; what is being written follows in #buffer. */
  readonly #chunks: Buffer[] = []
  #buffer = Buffer.allocUnsafe(1024)
  #length = 0

  /** Makes room for `length` bytes and hands the writer the buffer with the place to write at. */
  reserve(length: number): [Buffer, number] {
    if (this.#length + length > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + length))
      this.#buffer.copy(grown, 0, 0, this.#length)
      this.#buffer = grown
    }
    this.#length += length
    return [this.#buffer, this.#length - length]
  }

  /** Appends bytes, which must not change until they are read from here. */
  append(data: Uint8Array): void {
    if (data.length >= KEPT_BYTES) {
      this.#cut()
      this.#chunks.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength))
      return
    }
    const [buffer, start] = this.reserve(data.length)
    buffer.set(data, start)
  }

  uvarint(value: number): void {
    for (; value > 0x7f; value = Math.floor(value / 128)) {
      const [buffer, start] = this.reserve(1)
      buffer[start] = (value & 0x7f) | 0x80
    }
    const [buffer, start] = this.reserve(1)
    buffer[start] = value
  }

  /** All that was written, in pieces, with large appended ones as they came: do not write to those. */
  chunks(): Buffer[] {
    this.#cut()
    return this.#chunks
  }

  /** All that was written, in one buffer of its own. */
  finish(): Buffer {
    if (this.#chunks.length === 0) return this.#buffer.subarray(0, this.#length)
    return Buffer.concat(this.chunks())
  }

  #cut(): void {
    if (this.#length === 0) return
    this.#chunks.push(this.#buffer.subarray(0, this.#length))
    this.#buffer = Buffer.allocUnsafe(1024)
    this.#length = 0
  }
}

/** Reads a signed 64-bit integer as a number. Throws WIRE_CORRUPT beyond ±2^53: no offset, time or producer id gets there. */
export function readInt64(buffer: Buffer, at: number): number {
  const value = buffer.readInt32BE(at) * 2 ** 32 + buffer.readUInt32BE(at + 4)
  if (!Number.isSafeInteger(value)) throw new MillraceError('WIRE_CORRUPT', `a 64-bit integer at ${at} is beyond 2^53`)
  return value
}

export function writeInt64(buffer: Buffer, value: number, at: number): void {
  buffer.writeInt32BE(Math.floor(value / 2 ** 32), at)
  buffer.writeUInt32BE(value - Math.floor(value / 2 ** 32) * 2 ** 32, at + 4)
}
