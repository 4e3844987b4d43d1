// What was read of an archive and may be asked for again, under one budget of bytes: what was not used for longest goes first.

interface Entry {
  readonly value: Promise<unknown>
  readonly bytes: number
  /** It was read ahead, and nobody has asked for it yet. */
  isAhead: boolean
}

/** Of the budget, what may be read ahead: more would push out what was read ahead for others before they ask for it. */
const AHEAD_SHARE = 1 / 4

export class ByteCache {
  readonly #maxBytes: number
  /** In the order of their last use. */
  readonly #entries = new Map<unknown, Entry>()
  #bytes = 0
  #bytesAhead = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Bytes of all that is kept. */
  get bytes(): number {
    return this.#bytes
  }

  /** True while there is room for what nobody has asked for. */
  get mayReadAhead(): boolean {
    return this.#bytesAhead < this.#maxBytes * AHEAD_SHARE
  }

  has(key: unknown): boolean {
    return this.#entries.has(key)
  }

  /** What is kept under this key, which is used thereby. */
  get<T>(key: unknown): Promise<T> | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    this.#asked(entry)
    return entry.value as Promise<T>
  }

  /** Keeps a value, unless it fails. One that is larger than the budget is kept until the next one comes. */
  put<T>(key: unknown, bytes: number, value: Promise<T>, isAhead = false): Promise<T> {
    this.#remove(key)
    const entry: Entry = { value, bytes, isAhead }
    this.#entries.set(key, entry)
    this.#bytes += bytes
    if (isAhead) this.#bytesAhead += bytes
    value.catch(() => {
      if (this.#entries.get(key) === entry) this.#remove(key)
    })
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#maxBytes || oldest === key) break
      this.#remove(oldest)
    }
    return value
  }

  #asked(entry: Entry): void {
    if (entry.isAhead) this.#bytesAhead -= entry.bytes
    entry.isAhead = false
  }

  #remove(key: unknown): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#asked(entry)
    this.#bytes -= entry.bytes
    this.#entries.delete(key)
  }
}
