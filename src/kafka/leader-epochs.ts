// The leader epochs that were heard of, of whom, and when. Epochs only grow and brokers may tell an old one but never a future
// one: so what was heard of a leader before a batch was sent to it is the least epoch in which it can have been appended. One that
// is no leader any more, and has not heard so, still appends in its old epoch.

interface Heard {
  readonly epoch: number
  /** The leader's node id. */
  readonly leader: number
  /** By `performance.now()`. */
  readonly since: number
  readonly before: Heard | undefined
}

export class LeaderEpochs {
  /** By topic id and partition: the highest epoch, and the one before it. */
  readonly #heard = new Map<string, Heard>()

  hear(topicId: string, partition: number, epoch: number, leader: number): void {
    const key = `${topicId}/${partition}`
    const before = this.#heard.get(key)
    if (before !== undefined && before.epoch >= epoch) return
    this.#heard.set(key, {
      epoch,
      leader,
      since: performance.now(),
      before: before && { ...before, before: undefined }
    })
  }

  /** The highest epoch that was heard of; -1 for none. */
  newest(topicId: string, partition: number): number {
    return this.#heard.get(`${topicId}/${partition}`)?.epoch ?? -1
  }

  /**
   * The highest epoch that was heard of before a time of `performance.now()`; -1 for none that is remembered, and where another
   * node than this one was said to lead it.
   */
  before(topicId: string, partition: number, time: number, node: number): number {
    let heard = this.#heard.get(`${topicId}/${partition}`)
    while (heard !== undefined && heard.since >= time) heard = heard.before
    // No leader is said to be -1, and so is a node that is not known.
    return node >= 0 && heard?.leader === node ? heard.epoch : -1
  }
}
