// How many Produce bytes may be in flight before clients have to wait: one budget for the process, and of it a share for each
// broker, so that one that is slow does not stop the others.

export class Budget {
  readonly limit: number
  #used = 0
  readonly #shares = new Map<number, Share>()
  #granting = false

  constructor(limit: number) {
    this.limit = limit
  }

  /** Bytes that are taken. */
  get used(): number {
    return this.#used
  }

  /** The share of a broker by its node id. */
  of(nodeId: number): Share {
    let share = this.#shares.get(nodeId)
    if (share === undefined) {
      share = new Share({
        fits: (one, bytes) => this.#fits(one, bytes),
        changed: bytes => {
          this.#used += bytes
        },
        grant: () => this.#grant()
      })
      this.#shares.set(nodeId, share)
    }
    return share
  }

  /**
   * A broker may have as much as is left then, where others have clients too: so one that has stopped takes half at most, two
   * take two thirds, and there is always something left (dynamic thresholds, Choudhury and Hahne 1998).
   */
  #fits(share: Share, bytes: number): boolean {
    if (this.#used === 0) return true // larger than all: it gets through alone
    const left = this.limit - this.#used
    if (bytes > left) return false
    const isAlone = this.#shares.values().every(one => one === share || one.clients === 0)
    return isAlone || share.used === 0 || share.used + bytes <= left - bytes
  }

  /** Lets those go on who wait and now fit, of each broker the one that has waited longest, in turn. */
  #grant(): void {
    if (this.#granting) return
    this.#granting = true
    try {
      for (let granted = true; granted; ) {
        granted = false
        for (const share of this.#shares.values()) granted = share.grantNext() || granted
      }
    } finally {
      this.#granting = false
    }
  }
}

interface Whole {
  fits(share: Share, bytes: number): boolean
  changed(bytes: number): void
  /** Lets those go on who fit now. */
  grant(): void
}

export class Share {
  readonly #whole: Whole
  /** In the order in which they came: how to go on, and the bytes that are needed. */
  readonly #waiting = new Map<() => void, number>()
  #used = 0
  #clients = 0
  #isGranting = false

  constructor(whole: Whole) {
    this.#whole = whole
  }

  /** Bytes that the broker's clients have taken. */
  get used(): number {
    return this.#used
  }

  /** How many are connected to the broker. */
  get clients(): number {
    return this.#clients
  }

  enter(): void {
    this.#clients += 1
  }

  leave(): void {
    this.#clients -= 1
    this.#whole.grant() // a broker that is alone now may have all
  }

  /**
   * Takes `bytes` for a frame by its declared length, before any of it goes on. False when they are not to be had: then
   * `retry` is called once when they are. A frame larger than the whole budget gets through alone.
   */
  take(bytes: number, retry: () => void): boolean {
    const isNext = this.#waiting.size === 0 || this.#isGranting
    if (!isNext || !this.#whole.fits(this, bytes)) {
      this.#waiting.set(retry, bytes)
      return false
    }
    this.#used += bytes
    this.#whole.changed(bytes)
    return true
  }

  give(bytes: number): void {
    if (bytes === 0) return
    this.#used -= bytes
    this.#whole.changed(-bytes)
    this.#whole.grant()
  }

  /** Stops waiting. */
  forget(retry: () => void): void {
    this.#waiting.delete(retry)
  }

  /** Lets the one go on that has waited longest, if it fits. */
  grantNext(): boolean {
    const [next] = this.#waiting
    if (next === undefined || !this.#whole.fits(this, next[1])) return false
    const [retry] = next
    this.#waiting.delete(retry)
    this.#isGranting = true
    try {
      retry()
    } finally {
      this.#isGranting = false
    }
    return true
  }
}
