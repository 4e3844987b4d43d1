// The connections to a cluster's brokers: one to each that is asked, made when it is, and again when it has broken.
import { MillraceError } from '../errors.ts'
import type { Address } from './address.ts'
import { formatAddress } from './address.ts'
import { Connection } from './connection.ts'
import type { Security } from './security.ts'
import { isSilence } from './socket.ts'

const CLIENT_ID = 'millrace'
/** More than an answer takes that any broker gives from its memory. */
const SILENT_MS = 1_000

/** A broker that was waited for in vain has not answered since. */
export class Unanswering extends MillraceError {
  constructor(place: string) {
    const hint = 'It may be frozen, or its packets dropped. What it leads waits until it answers.'
    super('BROKER_UNREACHABLE', `broker ${place} does not answer`, { hint })
  }
}

interface Opening {
  readonly connection: Promise<Connection>
  /** By `performance.now()`. */
  readonly since: number
}

export class BrokerConnections implements Disposable {
  readonly #security: Security
  readonly #openings = new Map<string, Opening>()
  /** The addresses of which a request or a connection was waited for in vain, and that have taken no connection since. */
  readonly #silent = new Set<string>()
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

  /**
   * The connection to a broker. One that was waited for in vain is not waited for again, for whatever of all that it leads: the
   * connection is made meanwhile, and whoever asks before it stands is told at once. Throws BROKER_UNREACHABLE, as Unanswering then.
   */
  async to(address: Address): Promise<Connection> {
    const place = formatAddress(address)
    const opening = this.#openings.get(place) ?? this.#open(place, address)
    const patience = Math.max(0, opening.since + SILENT_MS - performance.now())
    const connection = await (this.#silent.has(place) ? within(patience, opening.connection) : opening.connection)
    if (connection === 'late') throw new Unanswering(place)
    if (!connection.closed) return connection
    if (this.#openings.get(place) === opening) this.#lose(place, connection.failure)
    return this.to(address)
  }

  #open(place: string, address: Address): Opening {
    const opening = { connection: Connection.open(address, CLIENT_ID, this.#security), since: performance.now() }
    this.#openings.set(place, opening)
    opening.connection.then(
      () => this.#silent.delete(place),
      error => this.#lose(place, error)
    )
    return opening
  }

  #lose(place: string, error: unknown): void {
    this.#openings.delete(place)
    if (isSilence(error)) this.#silent.add(place)
    else this.#silent.delete(place)
  }

  [Symbol.dispose](): void {
    for (const { connection } of this.#openings.values()) {
      connection.then(
        opened => opened[Symbol.dispose](),
        () => {}
      )
    }
    this.#openings.clear()
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
