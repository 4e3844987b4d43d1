// A timer that is set again and again: only the last setting counts.

export class Deadline {
  #timer: NodeJS.Timeout | undefined

  /** Calls `passed` in `ms` milliseconds, unless it is set again or cancelled before. */
  set(ms: number, passed: () => void): void {
    this.cancel()
    this.#timer = setTimeout(passed, ms)
  }

  cancel(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
