// How many clients are connected, over all ports and from one address: who is one too many is cut off before anything else.
import type { SourceContext } from 'millrace/connect'

/** Clients that are turned away are told of in the log no more often than this. */
const LOG_EVERY_MS = 10_000

export interface AdmissionLimits {
  readonly 'connections.max': number
  readonly 'connections.max.per.ip': number
}

export class Admission {
  readonly #limits: AdmissionLimits
  readonly #logger: SourceContext['logger']
  #connections = 0
  readonly #byHost = new Map<string, number>()
  #refused = 0
  #loggedAt = Number.NEGATIVE_INFINITY

  constructor(limits: AdmissionLimits, logger: SourceContext['logger']) {
    this.#limits = limits
    this.#logger = logger
  }

  /** Counts a connection until the function is called that it gives; null for one too many. */
  connection(host: string): (() => void) | null {
    if (this.#connections >= this.#limits['connections.max']) return this.#refuse('connections.max', host)
    this.#connections++
    return () => {
      this.#connections--
    }
  }

  /** The same for the connections from one address. */
  from(host: string): (() => void) | null {
    const count = this.#byHost.get(host) ?? 0
    if (count >= this.#limits['connections.max.per.ip']) return this.#refuse('connections.max.per.ip', host)
    this.#byHost.set(host, count + 1)
    return () => {
      const left = this.#byHost.get(host)! - 1
      if (left > 0) this.#byHost.set(host, left)
      else this.#byHost.delete(host)
    }
  }

  #refuse(limit: keyof AdmissionLimits, client: string): null {
    this.#refused++
    const now = performance.now()
    if (now - this.#loggedAt >= LOG_EVERY_MS) {
      this.#logger.warn({ client, [limit]: this.#limits[limit], refused: this.#refused }, `${limit} is reached`)
      this.#loggedAt = now
      this.#refused = 0
    }
    return null
  }
}
