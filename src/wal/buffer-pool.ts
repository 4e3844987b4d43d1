// Memory that both threads see, for the frames of appends. What is given back is used again, latest first: fresh memory costs
// a page fault every 4 KiB.

/** Buffers smaller than this are not worth a size of their own. */
const LEAST_BYTES = 4096
/** Sizes between two powers of two: a batch of 64 KiB in a frame is a little more than one of them. */
const STEPS = 8
/** What is kept at most for later. */
const KEPT_BYTES = 16 * 1024 * 1024

export class BufferPool {
  /** By size. */
  readonly #free = new Map<number, SharedArrayBuffer[]>()
  #keptBytes = 0

  /** A buffer of `bytes` or more, whatever is in it. */
  take(bytes: number): SharedArrayBuffer {
    const step = Math.max(LEAST_BYTES, 2 ** Math.floor(Math.log2(bytes))) / STEPS
    const size = Math.max(LEAST_BYTES, Math.ceil(bytes / step) * step)
    const buffer = this.#free.get(size)?.pop()
    if (buffer === undefined) return new SharedArrayBuffer(size)
    this.#keptBytes -= size
    return buffer
  }

  /** Takes back a buffer that nobody uses any more. */
  give(buffer: SharedArrayBuffer): void {
    const size = buffer.byteLength
    if (this.#keptBytes + size > KEPT_BYTES) return
    this.#keptBytes += size
    const free = this.#free.get(size)
    if (free === undefined) this.#free.set(size, [buffer])
    else free.push(buffer)
  }
}
