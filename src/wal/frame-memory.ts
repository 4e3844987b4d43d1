// Memory that both threads see, in which appends are laid out for the WAL thread. It comes in slabs that both sides know by
// their numbers and that are used again and again: V8 does not count shared memory, so nothing of it may wait for a collection.

/** A slab's size, or a power of two above it for an append that takes more. */
const SLAB_BYTES = 2 * 1024 * 1024

interface Slab {
  readonly number: number
  readonly memory: SharedArrayBuffer
  /** Where the next region begins. */
  end: number
  /** Regions that somebody uses. */
  regions: number
}

/** Part of a slab. */
export interface Region {
  readonly slab: number
  readonly memory: SharedArrayBuffer
  readonly start: number
}

/** Nothing is ever let go of: what appends took at their peak stays, in slabs that may be partly empty. */
export class FrameMemory {
  readonly #slabs: Slab[] = []
  /** Those of which nothing is used, the latest last: that one is most likely still in a processor's cache. */
  readonly #idle: Slab[] = []
  #current: Slab | undefined
  #told = 0

  /** A region of `bytes`, whatever is in it. */
  take(bytes: number): Region {
    const slab = this.#withRoom(bytes)
    const start = slab.end
    slab.end += bytes
    slab.regions += 1
    return { slab: slab.number, memory: slab.memory, start }
  }

  /** Takes back a region that nobody uses any more. A slab is used again when all its regions are back. */
  give({ slab: number }: Region): void {
    const slab = this.#slabs[number]!
    slab.regions -= 1
    if (slab.regions > 0) return
    slab.end = 0
    if (slab !== this.#current) this.#idle.push(slab)
  }

  /** The slabs that the other thread has not been told of, by their numbers. */
  takeNew(): SharedArrayBuffer[] {
    const fresh = this.#slabs.slice(this.#told).map(({ memory }) => memory)
    this.#told = this.#slabs.length
    return fresh
  }

  #withRoom(bytes: number): Slab {
    const before = this.#current
    if (before !== undefined && before.end + bytes <= before.memory.byteLength) return before
    const size = Math.max(SLAB_BYTES, 2 ** Math.ceil(Math.log2(bytes)))
    // A large one is left to what needs it: going through all of it would go through all of the cache.
    const fits = ({ byteLength }: SharedArrayBuffer) => byteLength === size || (byteLength > size && size > SLAB_BYTES)
    const idle = this.#idle.findLastIndex(({ memory }) => fits(memory))
    const [next = this.#make(size)] = idle < 0 ? [] : this.#idle.splice(idle, 1)
    if (before?.regions === 0) this.#idle.push(before)
    this.#current = next
    return next
  }

  #make(size: number): Slab {
    const memory = new SharedArrayBuffer(size)
    const slab = { number: this.#slabs.length, memory, end: 0, regions: 0 }
    this.#slabs.push(slab)
    return slab
  }
}
