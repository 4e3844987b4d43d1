// The answers that a client is owed, in the order of its requests: an answer goes out when all earlier ones have.
import type net from 'node:net'
import type { ProduceRequest } from 'millrace/kafka'
import type { Share } from './budget.ts'
import type { AnswerKind, ProxyFigures } from './metrics.ts'

/** A request whose response the client is owed. */
export interface Exchange {
  readonly key: number
  readonly version: number
  readonly correlationId: number
  readonly produce: ProduceRequest | null
  /** Of a Produce request, the memory that it lies in and nothing else does. */
  readonly memory: readonly ArrayBuffer[]
  /** When its first byte went on, by `performance.now()`. */
  readonly sentAt: number
  /** Bytes of the budget that the request holds until its response has gone. */
  readonly reserved: number
}

/** While a client reads slowly or a response is held, this much of later responses is kept before the broker has to wait. */
const MAX_BUFFERED = 8 * 1024 * 1024

/** A client that is owed so many answers is not read. More than clients have in flight: a choice, not a measurement. */
const MAX_OWED = 10_000

interface Owed {
  readonly exchange: Exchange
  ready: Buffer[]
  complete: boolean
  /** When all of it had come from the broker, by `performance.now()`, and what became of it here. */
  came: { readonly at: number; readonly kind: AnswerKind } | null
}

export class Outbox {
  readonly #client: net.Socket
  readonly #budget: Share
  readonly #figures: ProxyFigures
  readonly #owed: Owed[] = []
  /** Those that the broker still has to begin answering. */
  readonly #unanswered: Exchange[] = []
  #buffered = 0

  constructor(client: net.Socket, { budget, figures }: { readonly budget: Share; readonly figures: ProxyFigures }) {
    this.#client = client
    this.#budget = budget
    this.#figures = figures
  }

  get isEmpty(): boolean {
    return this.#owed.length === 0
  }

  /** More than this should not be taken from the broker now, unless all that is kept waits for the broker itself. */
  get isCongested(): boolean {
    return isBehind(this.#client) || (this.#buffered > MAX_BUFFERED && this.#owed[0]?.came !== null)
  }

  /** More than this should not be asked by the client now. */
  get isFull(): boolean {
    return isBehind(this.#client) || this.#buffered > MAX_BUFFERED || this.#owed.length >= MAX_OWED
  }

  /** A request that the proxy answers itself. */
  owe(exchange: Exchange): void {
    this.#owed.push({ exchange, ready: [], complete: false, came: null })
  }

  /** A request that the broker answers. */
  expect(exchange: Exchange): void {
    this.owe(exchange)
    this.#unanswered.push(exchange)
  }

  /** The request that the broker begins to answer; undefined when it was asked for nothing more. */
  answered(): Exchange | undefined {
    return this.#unanswered.shift()
  }

  /** All of an answer has come. */
  came(exchange: Exchange, kind: AnswerKind): void {
    const owed = this.#find(exchange)
    if (owed) owed.came = { at: performance.now(), kind }
  }

  /** Adds bytes to an owed response and sends what may go. A response that was dropped meanwhile is ignored. */
  add(exchange: Exchange, chunks: readonly Buffer[], { complete }: { complete: boolean }): void {
    const owed = this.#find(exchange)
    if (owed === undefined) return
    owed.ready.push(...chunks)
    owed.complete = complete
    for (const chunk of chunks) this.#buffered += chunk.length
    this.#flush()
  }

  /** Drops the responses that the broker has not begun, which will never come, and with them all that were to follow. */
  forgetUnanswered(): void {
    const [first] = this.#unanswered.splice(0)
    const at = this.#owed.findIndex(({ exchange }) => exchange === first)
    if (at < 0) return
    for (const { exchange } of this.#owed.splice(at)) this.#budget.give(exchange.reserved)
  }

  /** Drops everything. */
  clear(): void {
    const held = this.#owed.splice(0).reduce((sum, { exchange }) => sum + exchange.reserved, 0)
    this.#budget.give(held)
  }

  /** The broker answers the first of those that it owes, and the proxy the last of all. */
  #find(exchange: Exchange): Owed | undefined {
    const last = this.#owed.at(-1)
    return last?.exchange === exchange ? last : this.#owed.find(one => one.exchange === exchange)
  }

  #flush(): void {
    const { bytes, delayed } = this.#figures
    this.#client.cork()
    for (let first = this.#owed[0]; first !== undefined; first = this.#owed[0]) {
      for (const chunk of first.ready.splice(0)) {
        this.#buffered -= chunk.length
        if (!this.#client.writable) continue
        bytes.proxy_to_client += chunk.length
        this.#client.write(chunk)
      }
      if (!first.complete) break
      this.#owed.shift()
      this.#budget.give(first.exchange.reserved)
      if (first.came) delayed[first.came.kind]((performance.now() - first.came.at) / 1000)
    }
    this.#client.uncork()
  }
}

/**
 * Whether a socket has more to send than it should have, and will emit 'drain'. Node says so of each large write until the next
 * turn, even where the system has taken all of it at once; what is corked, the system has not been given yet.
 */
export function isBehind({ writableNeedDrain, writableLength, writableCorked }: net.Socket): boolean {
  return writableNeedDrain && writableLength > 0 && writableCorked === 0
}
