// The responses that a client is owed, in the order of its requests: a response goes out when all earlier ones have.
import type net from 'node:net'
import type { ProduceRequest } from 'millrace/kafka'
import type { Budget } from './budget.ts'

/** A request whose response the client is owed. */
export interface Exchange {
  readonly key: number
  readonly version: number
  readonly correlationId: number
  readonly produce: ProduceRequest | null
  /** When its first byte went on, by `performance.now()`. */
  readonly sentAt: number
  /** Bytes of the budget that the request holds until its response has gone. */
  readonly reserved: number
}

/** While a client reads slowly or a response is held, this much of later responses is kept before the broker has to wait. */
const MAX_BUFFERED = 8 * 1024 * 1024

interface Owed {
  readonly exchange: Exchange
  ready: Buffer[]
  complete: boolean
}

export class Outbox {
  readonly #client: net.Socket
  readonly #budget: Budget
  readonly #owed: Owed[] = []
  #buffered = 0

  constructor(client: net.Socket, budget: Budget) {
    this.#client = client
    this.#budget = budget
  }

  get isEmpty(): boolean {
    return this.#owed.length === 0
  }

  /** More than this should not be taken from the broker now. */
  get isCongested(): boolean {
    return this.#client.writableNeedDrain || this.#buffered > MAX_BUFFERED
  }

  owe(exchange: Exchange): void {
    this.#owed.push({ exchange, ready: [], complete: false })
  }

  /** Adds bytes to an owed response and sends what may go. A response that was dropped meanwhile is ignored. */
  add(exchange: Exchange, chunks: readonly Buffer[], { complete }: { complete: boolean }): void {
    const owed = this.#owed.find(one => one.exchange === exchange)
    if (owed === undefined) return
    owed.ready.push(...chunks)
    owed.complete = complete
    for (const chunk of chunks) this.#buffered += chunk.length
    this.#flush()
  }

  /** Drops a response that will never come. */
  forget(exchange: Exchange): void {
    const at = this.#owed.findIndex(one => one.exchange === exchange)
    if (at < 0) return
    this.#owed.splice(at, 1)
    this.#budget.give(exchange.reserved)
  }

  /** Drops everything. */
  clear(): void {
    const held = this.#owed.splice(0).reduce((sum, { exchange }) => sum + exchange.reserved, 0)
    this.#budget.give(held)
  }

  #flush(): void {
    this.#client.cork()
    for (let first = this.#owed[0]; first !== undefined; first = this.#owed[0]) {
      for (const chunk of first.ready.splice(0)) {
        this.#buffered -= chunk.length
        if (this.#client.writable) this.#client.write(chunk)
      }
      if (!first.complete) break
      this.#owed.shift()
      this.#budget.give(first.exchange.reserved)
    }
    this.#client.uncork()
  }
}
