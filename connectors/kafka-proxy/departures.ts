// Which brokers have left the cluster: those that its metadata has not named for a while. One that restarts is missing too.

export class Departures {
  readonly #afterMs: number
  readonly #missingSince = new Map<number, number>()

  /** `node.removed.after.ms`. */
  constructor(afterMs: number) {
    this.#afterMs = afterMs
  }

  /**
   * Of the brokers that are known those that have left, given each metadata answer as it comes: none of them has named one for so
   * long. While no answers come nobody leaves.
   */
  see(known: Iterable<number>, named: ReadonlyMap<number, unknown>, now = performance.now()): number[] {
    const left: number[] = []
    for (const nodeId of known) {
      const since = this.#missingSince.get(nodeId)
      if (named.has(nodeId)) this.#missingSince.delete(nodeId)
      else if (since === undefined) this.#missingSince.set(nodeId, now)
      else if (now - since >= this.#afterMs) {
        this.#missingSince.delete(nodeId)
        left.push(nodeId)
      }
    }
    return left
  }
}
