// Splits a byte stream into Kafka frames without copying or waiting for their ends: what has arrived can go on at once.
import { MillraceError } from '../errors.ts'

/** Kafka's own default limit (socket.request.max.bytes): of what the size field tells, which does not count itself. */
export const MAX_FRAME_BYTES = 100 * 1024 * 1024

/** Bytes of a request that tell what it is: size, api key, api version, correlation id. */
export const REQUEST_HEAD_BYTES = 12
/** Bytes of a response that tell what it is: size, correlation id. */
export const RESPONSE_HEAD_BYTES = 8

export interface FrameHandler {
  /**
   * A frame begins. `head` is its first bytes, from the size field on; `size` counts the whole frame with that field.
   * False stops the stream before this frame; it is offered again at the next push.
   */
  begin(head: Buffer, size: number): boolean
  /** The next bytes of the frame, from the size field on, as they lie in the socket's buffer. */
  data(chunk: Buffer): void
  /** The frame is complete. */
  end(): void
}

export interface FrameLimits {
  /** The largest size field. */
  readonly maxBytes?: number | undefined
  /** What to do about a peer that speaks TLS. */
  readonly tlsHint?: string
}

/** Feeds one direction of one connection to a handler. */
export class FrameSplitter {
  readonly #handler: FrameHandler
  readonly #headBytes: number
  readonly #maxBytes: number
  readonly #tlsHint: string
  #head: Buffer | null = null
  #left = 0

  constructor(handler: FrameHandler, headBytes: number, limits: FrameLimits = {}) {
    this.#handler = handler
    this.#headBytes = headBytes
    this.#maxBytes = limits.maxBytes ?? MAX_FRAME_BYTES
    this.#tlsHint = limits.tlsHint ?? 'the peer speaks TLS, this port does not.'
  }

  /** True when the stream stands between two frames. */
  get idle(): boolean {
    return this.#left === 0 && this.#head === null
  }

  /**
   * Takes the next bytes; gives back those that the handler did not want yet, to be pushed again later, or null.
   * Throws WIRE_CORRUPT for a frame size that cannot be: the stream is not Kafka's, or it is lost.
   */
  push(data: Buffer): Buffer | null {
    for (let at = 0; at < data.length; ) {
      if (this.#left > 0) {
        at += this.#take(data.subarray(at, at + this.#left))
      } else if (this.#head === null && data.length - at >= this.#headBytes) {
        if (!this.#begin(data.subarray(at, at + this.#headBytes))) return data.subarray(at)
      } else {
        // The head comes in pieces: it is put together and goes on as a chunk of its own.
        const known = this.#head ?? Buffer.alloc(0)
        const piece = data.subarray(at, at + this.#headBytes - known.length)
        const head = Buffer.concat([known, piece])
        if (head.length === this.#headBytes && !this.#begin(head)) return data.subarray(at)
        at += piece.length
        this.#head = head.length < this.#headBytes ? head : null
        if (this.#head === null) this.#take(head)
      }
    }
    return null
  }

  #begin(head: Buffer): boolean {
    const size = head.readInt32BE(0) + 4
    if (size < this.#headBytes || size - 4 > this.#maxBytes) {
      // A TLS handshake record starts with 0x16 0x03, an alert with 0x15 0x03: read as sizes, 369 and 352 MB.
      const tls = (head[0] === 0x16 || head[0] === 0x15) && head[1] === 0x03
      throw new MillraceError('WIRE_CORRUPT', `a frame of ${size - 4} bytes (limit ${this.#maxBytes})`, {
        hint: tls ? `These look like TLS bytes: ${this.#tlsHint}` : undefined
      })
    }
    if (!this.#handler.begin(head, size)) return false
    this.#left = size
    return true
  }

  #take(chunk: Buffer): number {
    this.#left -= chunk.length
    this.#handler.data(chunk)
    if (this.#left === 0) this.#handler.end()
    return chunk.length
  }
}

/** Collects whole frames, size field included. For the side that wants messages rather than a stream. */
export function collectFrames(onFrame: (frame: Buffer) => void, headBytes: number): FrameSplitter {
  let chunks: Buffer[] = []
  return new FrameSplitter(
    {
      begin() {
        chunks = []
        return true
      },
      data(chunk) {
        chunks.push(chunk)
      },
      end() {
        onFrame(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks))
      }
    },
    headBytes
  )
}
