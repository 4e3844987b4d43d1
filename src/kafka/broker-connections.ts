// The connections to a cluster's brokers: one to each that is asked, made when it is, and again when it has broken.
import { MillraceError } from '../errors.ts'
import type { Address } from './address.ts'
import { formatAddress } from './address.ts'
import { Connection } from './connection.ts'
import type { Security } from './security.ts'

const CLIENT_ID = 'millrace'

export class BrokerConnections implements Disposable {
  readonly #security: Security
  readonly #connections = new Map<string, Promise<Connection>>()
  /** The addresses that did not answer when they were asked last, the longest ago first. */
  readonly #unanswering = new Set<string>()

  constructor(security: Security) {
    this.#security = security
  }

  /**
   * Asks one broker after the other until one answers. Those that did not answer last come last: one that is frozen, or whose
   * packets are dropped, costs its timeout once. Throws what the last one threw.
   */
  async askAny<T>(addresses: Iterable<Address>, ask: (connection: Connection) => T | Promise<T>): Promise<T> {
    const known = new Map([...addresses].map(address => [formatAddress(address), address]))
    const first = [...known.keys()].filter(place => !this.#unanswering.has(place))
    const last = [...this.#unanswering].filter(place => known.has(place))
    let failure: unknown = new MillraceError('BROKER_UNREACHABLE', 'no broker address is known')
    for (const place of [...first, ...last]) {
      try {
        const answer = await ask(await this.to(known.get(place)!))
        this.#unanswering.delete(place)
        return answer
      } catch (error) {
        this.#unanswering.delete(place)
        this.#unanswering.add(place) // behind those that failed before
        failure = error
      }
    }
    throw failure
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
