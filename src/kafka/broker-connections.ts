// The connections to a cluster's brokers: one to each that is asked, made when it is, and again when it has broken.
import { MillraceError } from '../errors.ts'
import type { Address } from './address.ts'
import { formatAddress } from './address.ts'
import { Connection } from './connection.ts'
import type { Security } from './security.ts'

const CLIENT_ID = 'millrace'
/** More than an answer takes that any broker gives from its memory. */
const SILENT_MS = 1_000

export class BrokerConnections implements Disposable {
  readonly #security: Security
  readonly #connections = new Map<string, Promise<Connection>>()
  /** The addresses that did not answer when they were asked last, the longest ago first. */
  readonly #unanswering = new Set<string>()

  constructor(security: Security) {
    this.#security = security
  }

  /**
   * Asks one broker after the other until one answers, the next when one fails or is silent for a second: it may be frozen, or its
   * packets dropped, and clients wait for what is asked here. Those come last from then on. Throws what the last one threw.
   */
  async askAny<T>(addresses: Iterable<Address>, ask: (connection: Connection) => T | Promise<T>): Promise<T> {
    const known = new Map([...addresses].map(address => [formatAddress(address), address]))
    const first = [...known.keys()].filter(place => !this.#unanswering.has(place))
    const last = [...this.#unanswering].filter(place => known.has(place))
    const asked: Promise<T>[] = []
    for (const place of [...first, ...last]) {
      asked.push(this.#ask(place, known.get(place)!, ask))
      const answered = Promise.any(asked).then(() => true)
      const settled = await within(SILENT_MS, answered).catch(() => undefined) // all have failed
      if (settled === true) break
      if (settled === 'late') this.#putLast(place)
    }
    return await Promise.any(asked).catch((failures: AggregateError) => {
      throw failures.errors.at(-1) ?? new MillraceError('BROKER_UNREACHABLE', 'no broker address is known')
    })
  }

  async #ask<T>(place: string, address: Address, ask: (connection: Connection) => T | Promise<T>): Promise<T> {
    try {
      const answer = await ask(await this.to(address))
      this.#unanswering.delete(place)
      return answer
    } catch (error) {
      this.#putLast(place)
      throw error
    }
  }

  /** Behind those that did not answer before. */
  #putLast(place: string): void {
    this.#unanswering.delete(place)
    this.#unanswering.add(place)
  }

  /** The connection to a broker. Throws BROKER_UNREACHABLE. */
  async to(address: Address): Promise<Connection> {
    const place = formatAddress(address)
    const existing = this.#connections.get(place)
    if (existing) {
      const connection = await existing
      if (!connection.closed) return connection
      if (this.#connections.get(place) === existing) this.#connections.delete(place)
      return this.to(address)
    }
    const opening = Connection.open(address, CLIENT_ID, this.#security)
    this.#connections.set(place, opening)
    opening.catch(() => this.#connections.delete(place))
    return opening
  }

  [Symbol.dispose](): void {
    for (const opening of this.#connections.values()) {
      opening.then(
        connection => connection[Symbol.dispose](),
        () => {}
      )
    }
    this.#connections.clear()
  }
}

/** What a promise comes to, or that it has not after so many milliseconds. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | 'late'> {
  const timer = Promise.withResolvers<'late'>()
  const timeout = setTimeout(() => timer.resolve('late'), ms)
  try {
    return await Promise.race([promise, timer.promise])
  } finally {
    clearTimeout(timeout)
  }
}
