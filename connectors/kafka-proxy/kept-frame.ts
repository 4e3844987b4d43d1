// A Produce request's bytes, kept until its batches are copied: as they came, unless that is in pieces that are too small.

/** Less is found soon enough: V8 looks at what is young whenever some MB of objects have come. */
const LEAST_GIVEN_BACK = 4096

/**
 * On average, pieces have to be as large as this: each takes some hundred bytes beside its own, and a client may put each byte into
 * a TLS record, or a packet, of its own. While a frame comes it may have a few more, so that joining them does not cost much. A
 * choice, not a measurement.
 */
const LEAST_PIECE_BYTES = 1024
const FEW_PIECES = 64

export class KeptFrame {
  #chunks: Buffer[] = []
  #bytes = 0
  #memory: ArrayBuffer[] = []

  /** Takes the next bytes; `read` is what was read with them, where nothing else is known to lie in its memory. */
  push(chunk: Buffer, read: Buffer | null): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (isAllThatWasRead(chunk, read)) this.#memory.push(chunk.buffer)
    this.#join(FEW_PIECES)
  }

  /** The whole frame in order, and the memory that it lies in and nothing else does. */
  finish(): { readonly chunks: readonly Buffer[]; readonly memory: readonly ArrayBuffer[] } {
    this.#join(1)
    return { chunks: this.#chunks, memory: this.#memory }
  }

  #join(few: number): void {
    if (this.#chunks.length <= few + this.#bytes / LEAST_PIECE_BYTES) return
    this.#chunks = [Buffer.concat(this.#chunks)]
    this.#memory = []
  }
}

/**
 * Whether nothing else lies in the memory of a chunk, and it is worth giving back. Node cuts what TLS decrypts, and small
 * buffers, from pieces of memory that others have a part of; none of them takes more than half of one.
 */
function isAllThatWasRead(chunk: Buffer, read: Buffer | null): chunk is Buffer<ArrayBuffer> {
  if (read === null || chunk.length < LEAST_GIVEN_BACK) return false
  return chunk.buffer === read.buffer && chunk.length === read.length && 2 * read.length > read.buffer.byteLength
}
