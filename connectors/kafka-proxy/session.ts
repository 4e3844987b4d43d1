// One client's connection and its connection to a broker: how they are tied together, and how they end.
import type net from 'node:net'
import { isMillraceError } from 'millrace/connect'
import { Answers } from './answers.ts'
import type { Client } from './gate.ts'
import type { Link, SessionContext } from './link.ts'
import type { CutReason } from './metrics.ts'
import type { Exchange } from './outbox.ts'
import { Outbox } from './outbox.ts'
import { Requests } from './requests.ts'
import { upstreamError } from './upstream.ts'

/**
 * How long a broker may be silent that owes answers to a client that has closed. Longer than producers have it wait for replicas,
 * so that what it accepts is still captured.
 */
const ABANDONED_MS = 60_000
/** How long the other side may take to close, or to read what it was sent last, after we have closed. */
const CLOSE_TIMEOUT_MS = 10_000

export class Session {
  readonly #client: net.Socket
  readonly #broker: net.Socket
  /** The client's address, for the log. */
  readonly #address: string
  readonly #context: SessionContext
  readonly #outbox: Outbox
  readonly #requests: Requests
  readonly #answers: Answers
  #closing = false
  #destroyed = false
  readonly #closed = Promise.withResolvers<void>()

  constructor({ socket: client, address }: Client, broker: net.Socket, context: SessionContext) {
    this.#client = client
    this.#broker = broker
    this.#address = address
    this.#context = context
    this.#outbox = new Outbox(client, context)
    const link: Link = {
      client,
      broker,
      context,
      outbox: this.#outbox,
      send: (exchange, chunks, options) => this.#send(exchange, chunks, options),
      abort: (error, reason) => this.#abort(error, reason),
      proceed: work => {
        this.#guard(work)
        this.#closeWhenDone()
      }
    }
    this.#requests = new Requests(link)
    this.#answers = new Answers(link)

    client.on('data', (data: Buffer) => this.#guard(() => this.#requests.push(data), 'not_kafka'))
    broker.on('data', (data: Buffer) => this.#guard(() => this.#answers.push(data)))
    broker.on('drain', this.#requests.resume)
    client.on('drain', () => {
      this.#answers.regulate()
      this.#requests.resume()
    })
    // A client that closes is owed nothing any more, but what it sent may still be accepted, and then it is captured.
    client.on('end', () => this.#finish())
    client.on('error', () => this.#finish())
    client.on('close', () => this.#finish())
    client.on('timeout', () => this.#endIdle())
    client.setTimeout(context.limits.idleMs)
    broker.on('end', () => this.#brokerGone())
    broker.on('error', error => this.#brokerGone(error))
    broker.on('close', () => this.#brokerGone())
    broker.on('timeout', () => this.destroy())
    client.resume()
    context.budget.enter()
  }

  /** Resolves when both connections are closed. */
  get closed(): Promise<void> {
    return this.#closed.promise
  }

  /** Takes no more requests, waits for the responses that are owed, and closes. */
  drain(): Promise<void> {
    this.#client.pause()
    this.#finish()
    return this.closed
  }

  /** Ends both connections; only what has been given to the client's already is still sent. */
  destroy(): void {
    if (this.#destroyed) return
    this.#destroyed = true
    const client = this.#client
    client.setTimeout(0)
    client.destroySoon()
    if (!client.closed) {
      const deadline = setTimeout(() => client.destroy(), CLOSE_TIMEOUT_MS)
      client.once('close', () => clearTimeout(deadline))
    }
    this.#broker.destroy()
    this.#requests.clear()
    this.#outbox.clear()
    this.#context.budget.leave()
    this.#closed.resolve()
  }

  #send(exchange: Exchange, chunks: readonly Buffer[], { complete } = { complete: true }): void {
    this.#outbox.add(exchange, chunks, { complete })
    this.#answers.regulate()
    this.#requests.resume()
    this.#closeWhenDone()
  }

  /** No more requests will come. Closes when the last owed response has gone, or has been captured. */
  #finish(): void {
    if (this.#client.destroyed) this.#answers.drain() // also one that had only ended until now
    if (this.#closing) return
    this.#closing = true
    this.#broker.setTimeout(Math.min(ABANDONED_MS, this.#context.limits.idleMs))
    this.#requests.end()
    this.#closeWhenDone()
  }

  /** Nothing is owed, and nothing waits for the budget, which may be a request that wants no response. */
  #closeWhenDone(): void {
    if (this.#closing && this.#outbox.isEmpty && !this.#requests.isStalled) this.#closeQuietly()
  }

  #closeQuietly(): void {
    this.#client.end()
    // Ending flushes what was forwarded, acks=0 requests among it; the broker then closes its side.
    this.#broker.end()
    this.#broker.setTimeout(CLOSE_TIMEOUT_MS)
    if (this.#broker.destroyed) this.destroy()
  }

  /** The broker has closed: what it accepted is still answered, what it did not answer is not. */
  #brokerGone(error?: Error): void {
    if (error) this.#sayBrokerGone(error)
    this.#outbox.forgetUnanswered()
    this.#closing = true
    this.#requests.drop()
    this.#client.resume()
    if (!this.#answers.idle) this.#client.destroy()
    if (this.#outbox.isEmpty || this.#client.destroyed) this.destroy()
  }

  #sayBrokerGone(error: Error): void {
    const { logger, tls } = this.#context.source
    const { remoteAddress: host = '', remotePort: port = 0 } = this.#broker
    const err = upstreamError({ host, port }, error, tls)
    // A broker that wants a certificate says so when the handshake is over (TLS 1.3).
    const level = err.code === 'AUTHENTICATION_FAILED' ? 'warn' : 'debug'
    logger[level]({ err, client: this.#address }, 'broker connection failed')
  }

  /** Nothing has moved on the client's side for connections.max.idle.ms. */
  #endIdle(): void {
    const { idleMs } = this.#context.limits
    const waitsForOthers = this.#requests.isPaused || !this.#outbox.isEmpty
    // One that does not take what is there for it is not waiting.
    if (waitsForOthers && this.#client.writableLength === 0) return void this.#client.setTimeout(idleMs)
    this.#context.figures.cut.idle += 1
    this.#context.source.logger.debug({ client: this.#address }, `client connection idle for ${idleMs} ms`)
    this.destroy()
  }

  #guard(work: () => void, reason?: CutReason): void {
    try {
      work()
    } catch (error) {
      this.#abort(error, isMillraceError(error, 'WIRE_CORRUPT') ? reason : undefined)
    }
  }

  #abort(error: unknown, reason: CutReason = 'error'): void {
    const { source, figures } = this.#context
    figures.cut[reason] += 1
    source.logger.warn({ err: error, client: this.#address }, 'client connection ended')
    this.destroy()
  }
}
