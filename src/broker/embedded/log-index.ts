// Where the batches of one log begin and which times they reach, in memory: 16 bytes a batch.

export class LogIndex {
  readonly #bases: number[] = []
  readonly #maxTimestamps: number[] = []

  /** Adds the next batch. */
  add(baseOffset: number, maxTimestamp: number): void {
    this.#bases.push(baseOffset)
    this.#maxTimestamps.push(maxTimestamp)
  }

  /** Forgets the batches that begin below an offset. */
  dropBelow(offset: number): void {
    const count = this.#countBelow(offset)
    this.#bases.splice(0, count)
    this.#maxTimestamps.splice(0, count)
  }

  /** Where the first batch above an offset begins. */
  baseAbove(offset: number): number | undefined {
    return this.#bases[this.#countBelow(offset + 1)]
  }

  /** Where the first batch begins that reaches a time. */
  baseAtTime(timestamp: number): number | undefined {
    return this.#bases[this.#maxTimestamps.findIndex(max => max >= timestamp)]
  }

  /** Where the first batch begins that reaches the highest time of all. */
  baseOfMaxTimestamp(): number | undefined {
    let highest = 0
    this.#maxTimestamps.forEach((max, i) => {
      if (max > this.#maxTimestamps[highest]!) highest = i
    })
    return this.#bases[highest]
  }

  #countBelow(offset: number): number {
    let [low, high] = [0, this.#bases.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#bases[middle]! < offset) low = middle + 1
      else high = middle
    }
    return low
  }
}
