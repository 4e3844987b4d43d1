// How many Produce bytes may be in flight before clients have to wait: one budget for the process, and of it a share for each
// broker, so that one that is slow does not stop the others; and two places beside it for frames that would wait too long.

/**
 * How many frames may be in flight beside the budget, each of another broker: one of a broker that has stopped stays in its place, and
 * the others still have the second.
 */
const PLACES = 2

export class Budget {
  readonly limit: number
  /** Bytes that are taken of the budget itself. */
  #used = 0
  readonly #shares = new Map<number, Share>()
  /** The one that has taken something last comes last. */
  readonly #turns = new Set<Share>()
  /** Those that have one frame in flight, beside the budget. */
  readonly #beside = new Set<Share>()
  #granting = false

  constructor(limit: number) {
    this.limit = limit
  }

  /** Bytes that are taken, with those beside the budget. */
  get used(): number {
    return this.#beside.values().reduce((sum, share) => sum + share.used, this.#used)
  }

  /** The share of a broker by its node id. */
  of(nodeId: number): Share {
    let share = this.#shares.get(nodeId)
    if (share === undefined) {
      share = new Share({
        fits: (one, bytes) => this.#fits(one, bytes) || this.#fitsBeside(one),
        take: (one, bytes) => this.#take(one, bytes),
        give: (one, bytes) => this.#give(one, bytes),
        grant: () => this.#grant()
      })
      this.#shares.set(nodeId, share)
      this.#turns.add(share)
    }
    return share
  }

  /**
   * A broker may have as much as is left then, where others have clients too: so one that has stopped takes half at most, two
   * take two thirds, and there is always something left (dynamic thresholds, Choudhury and Hahne 1998).
   */
  #fits(share: Share, bytes: number): boolean {
    if (this.#beside.has(share)) return false
    const left = this.limit - this.#used
    if (bytes > left) return false
    const isAlone = this.#shares.values().every(one => one === share || one.clients === 0)
    return isAlone || share.used + bytes <= left - bytes
  }

  /**
   * Small frames of the others may keep the budget busy for ever, so that there is never room for a large one at once, and nobody
   * can tell which of them a broker will never answer. So a frame for which there is no room waits only until those of its own
   * broker are answered and a place is free.
   */
  #fitsBeside(share: Share): boolean {
    return share.used === 0 && this.#beside.size < PLACES
  }

  #take(share: Share, bytes: number): void {
    if (this.#fits(share, bytes)) this.#used += bytes
    else this.#beside.add(share)
    this.#turns.delete(share)
    this.#turns.add(share)
  }

  #give(share: Share, bytes: number): void {
    if (!this.#beside.has(share)) this.#used -= bytes
    else if (share.used === 0) this.#beside.delete(share)
  }

  /** Lets those go on who wait and now fit, of each broker the one that has waited longest, in turn. */
  #grant(): void {
    if (this.#granting) return
    this.#granting = true
    try {
      for (let granted = true; granted; ) {
        granted = false
        for (const share of this.#turns) granted = share.grantNext() || granted
      }
    } finally {
      this.#granting = false
    }
  }
}

interface Whole {
  fits(share: Share, bytes: number): boolean
  /** Counts bytes that fit and that the share has not counted yet. */
  take(share: Share, bytes: number): void
  /** Counts bytes out that the share does not count any more. */
  give(share: Share, bytes: number): void
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
   * `retry` is called once when they are, however large the frame is.
   */
  take(bytes: number, retry: () => void): boolean {
    const isNext = this.#waiting.size === 0 || this.#isGranting
    if (!isNext || !this.#whole.fits(this, bytes)) {
      this.#waiting.set(retry, bytes)
      return false
    }
    this.#whole.take(this, bytes)
    this.#used += bytes
    return true
  }

  give(bytes: number): void {
    if (bytes === 0) return
    this.#used -= bytes
    this.#whole.give(this, bytes)
    this.#whole.grant()
  }

  /** Stops waiting. */
  forget(retry: () => void): void {
    if (this.#waiting.delete(retry)) this.#whole.grant() // who came behind may need less
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
