// The latest batches of all partitions, in memory within one budget: consumers that keep up never wait for the disk.

interface RecentBatch {
  readonly baseOffset: number
  readonly lastOffset: number
  readonly wire: Buffer
}

/** The batches that are in memory, of all partitions. */
export class Tail {
  readonly #maxBytes: number
  readonly #logs = new Queue<LogTail>()
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Keeps a log's next batch, and lets go of the oldest ones of any log. */
  add(log: LogTail, batch: RecentBatch): void {
    log.batches.push(batch)
    this.#logs.push(log)
    this.#bytes += batch.wire.length
    // Each log's batches stand here in their order, so the oldest of all is the oldest of its log.
    while (this.#bytes > this.#maxBytes) this.#bytes -= this.#logs.shift()!.batches.shift()!.wire.length
  }
}

/** One log's part of it: always the end of the log. */
export class LogTail {
  readonly batches = new Queue<RecentBatch>()

  /** Whether all that lies at or above an offset is here. */
  reachesBackTo(offset: number): boolean {
    const first = this.batches.at(0)
    return first !== undefined && first.baseOffset <= offset
  }

  /** The batches from the one on that holds an offset, or comes next to it. */
  *from(offset: number): Generator<RecentBatch> {
    let low = 0
    for (let high = this.batches.length; low < high; ) {
      const middle = (low + high) >>> 1
      if (this.batches.at(middle)!.lastOffset < offset) low = middle + 1
      else high = middle
    }
    for (let i = low; i < this.batches.length; i++) yield this.batches.at(i)!
  }
}

/** An array whose front is taken off now and then, not at every shift. */
class Queue<T> {
  #items: (T | undefined)[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  at(index: number): T | undefined {
    return this.#items[this.#head + index]
  }

  push(item: T): void {
    this.#items.push(item)
  }

  shift(): T | undefined {
    const item = this.#items[this.#head]
    if (item === undefined) return undefined
    this.#items[this.#head++] = undefined
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }
}
