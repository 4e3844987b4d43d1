// Asks the cluster every few seconds whether it is there, so that those who want to know need not wait for its answer.
import { setTimeout as delay } from 'node:timers/promises'
import { messageOf } from '../errors.ts'
import type { Cluster } from '../kafka/cluster.ts'

export interface WatchOptions {
  readonly everyMs: number
  /** Without an answer for so long the cluster counts as not reached, although nothing has failed. */
  readonly silentMs: number
}

/** One bootstrap address that swallows packets costs its connect timeout of 10 s before the next one is asked. */
const DEFAULTS: WatchOptions = { everyMs: 2_000, silentMs: 15_000 }

export class UpstreamWatch implements Disposable {
  readonly #cluster: Pick<Cluster, 'refresh'>
  readonly #options: WatchOptions
  readonly #stopping = new AbortController()
  #fault: string | null = null
  #answeredAt = performance.now()

  private constructor(cluster: Pick<Cluster, 'refresh'>, options: WatchOptions) {
    this.#cluster = cluster
    this.#options = options
  }

  /** Resolves after the first look, whatever it saw. */
  static async start(cluster: Pick<Cluster, 'refresh'>, options: WatchOptions = DEFAULTS): Promise<UpstreamWatch> {
    const watch = new UpstreamWatch(cluster, options)
    await watch.#look()
    void watch.#run()
    return watch
  }

  /** Why the cluster is not reached; null while it is. */
  get fault(): string | null {
    const silent = performance.now() - this.#answeredAt
    if (this.#fault !== null || silent <= this.#options.silentMs) return this.#fault
    return `the cluster has not answered for ${Math.round(silent / 1000)} s`
  }

  [Symbol.dispose](): void {
    this.#stopping.abort()
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    for (;;) {
      await delay(this.#options.everyMs, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      await this.#look()
    }
  }

  async #look(): Promise<void> {
    try {
      await this.#ask()
      this.#fault = null
      this.#answeredAt = performance.now()
    } catch (error) {
      this.#fault = messageOf(error)
    }
  }

  /** Metadata of no topic is the cheapest that a broker can be asked. */
  async #ask(): Promise<void> {
    try {
      await this.#cluster.refresh([])
    } catch (error) {
      if (this.#stopping.signal.aborted) throw error
      // The broker that was asked last may just have stopped while others are there: only the second failure counts.
      await this.#cluster.refresh([])
    }
  }
}
