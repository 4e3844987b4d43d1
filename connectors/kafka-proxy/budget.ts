// One budget for the whole process: how many Produce bytes may be in flight before clients have to wait.

export class Budget {
  readonly limit: number
  #used = 0
  readonly #waiting = new Set<() => void>()

  constructor(limit: number) {
    this.limit = limit
  }

  /** Bytes that are taken. */
  get used(): number {
    return this.#used
  }

  /**
   * Takes `bytes` for a frame by its declared length, before any of it goes on. False when they are not to be had: then
   * `retry` is called once when something was given back. A frame larger than the whole budget gets through alone.
   */
  take(bytes: number, retry: () => void): boolean {
    if (this.#used > 0 && this.#used + bytes > this.limit) {
      this.#waiting.add(retry)
      return false
    }
    this.#used += bytes
    return true
  }

  give(bytes: number): void {
    this.#used -= bytes
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const retry of waiting) retry()
  }

  /** Stops waiting. */
  forget(retry: () => void): void {
    this.#waiting.delete(retry)
  }
}
