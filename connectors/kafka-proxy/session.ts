// One client's connection and its connection to a broker. Bytes go on as they come; only Produce requests are kept beside
// that, and their answers are held until the batches are durable.
import type net from 'node:net'
import { MillraceError } from 'millrace/connect'
import type { FrameHandler, ProduceRequest } from 'millrace/kafka'
import {
  AnswerScanner,
  FrameSplitter,
  hasEndpointsAtEnd,
  KafkaError,
  messages,
  REQUEST_HEAD_BYTES,
  RESPONSE_HEAD_BYTES,
  responseFrame,
  scanProduceRequest
} from 'millrace/kafka'
import type { Budget } from './budget.ts'
import { refusal, wantsCapture } from './capture.ts'
import { relocateTail } from './endpoints.ts'
import type { Exchange } from './outbox.ts'
import { Outbox } from './outbox.ts'
import { isRewritten, rewrite } from './rewrite.ts'
import type { SettleContext } from './settle-produce.ts'
import { produceFrame, settleProduce } from './settle-produce.ts'
import { isOffered } from './versions.ts'

/** What all sessions of one proxy share. */
export interface SessionContext extends SettleContext {
  readonly budget: Budget
}

/** How long a broker may take to close its side after we have closed ours. */
const BROKER_CLOSE_TIMEOUT_MS = 10_000

export class Session {
  readonly #client: net.Socket
  readonly #broker: net.Socket
  readonly #context: SessionContext
  readonly #requests: FrameSplitter
  readonly #responses: FrameSplitter
  readonly #outbox: Outbox
  /** Requests that the broker still has to begin answering, in order. */
  readonly #unanswered: Exchange[] = []
  /** Bytes of the budget that the request holds which is coming in. */
  #arriving = 0
  #closing = false
  readonly #closed = Promise.withResolvers<void>()

  constructor(client: net.Socket, broker: net.Socket, context: SessionContext) {
    this.#client = client
    this.#broker = broker
    this.#context = context
    this.#outbox = new Outbox(client, context.budget)
    this.#requests = new FrameSplitter(this.#requestHandler(), REQUEST_HEAD_BYTES)
    this.#responses = new FrameSplitter(this.#responseHandler(), RESPONSE_HEAD_BYTES)

    client.on('data', (data: Buffer) => this.#guard(() => this.#pushRequests(data)))
    broker.on('data', (data: Buffer) => this.#guard(() => this.#pushResponses(data)))
    broker.on('drain', () => this.#resumeClient())
    client.on('drain', () => this.#resumeBroker())
    // A client that closes is owed nothing any more, but what it sent may still be accepted, and then it is captured.
    client.on('end', () => this.#finish())
    client.on('error', () => this.#finish())
    client.on('close', () => this.#finish())
    broker.on('end', () => this.#brokerGone())
    broker.on('error', error => this.#brokerGone(error))
    broker.on('close', () => this.#brokerGone())
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

  destroy(): void {
    this.#stalled = null
    this.#client.destroySoon()
    this.#broker.destroy()
    this.#context.budget.forget(this.#retry)
    this.#context.budget.give(this.#arriving)
    this.#arriving = 0
    this.#outbox.clear()
    this.#closed.resolve()
  }

  // Requests

  /** Request bytes that wait for the budget. */
  #stalled: Buffer | null = null

  #pushRequests(data: Buffer): void {
    if (this.#broker.readableEnded || this.#broker.destroyed) return // it can go nowhere
    this.#broker.cork()
    const rest = this.#requests.push(data)
    this.#broker.uncork()
    if (rest === null && this.#broker.writableNeedDrain) this.#client.pause()
    if (rest !== null) {
      this.#stalled = rest
      this.#client.pause()
    }
  }

  readonly #retry = (): void => {
    const rest = this.#stalled
    this.#stalled = null
    if (rest === null) return
    this.#guard(() => this.#pushRequests(rest))
    this.#resumeClient()
  }

  #resumeClient(): void {
    if (this.#stalled === null && !this.#broker.writableNeedDrain && !this.#closing) this.#client.resume()
  }

  #requestHandler(): FrameHandler {
    let key = 0
    let version = 0
    let correlationId = 0
    let kept: Buffer[] | null = null
    let forward = true
    let sentAt = 0
    return {
      begin: (head, size) => {
        key = head.readInt16BE(4)
        version = head.readInt16BE(6)
        correlationId = head.readInt32BE(8)
        sentAt = performance.now()
        const isProduce = key === messages.produce.key
        const tooNew = key === messages.apiVersions.key && !isOffered(key, version)
        if (!tooNew && !isOffered(key, version)) {
          throw new MillraceError('WIRE_CORRUPT', `request ${key} version ${version} is not offered`)
        }
        if (isProduce && !this.#context.budget.take(size, this.#retry)) return false
        this.#arriving = isProduce ? size : 0
        kept = isProduce || tooNew ? [] : null
        forward = !tooNew && !(isProduce && this.#context.source.captureFault() !== null)
        return true
      },
      data: chunk => {
        kept?.push(chunk)
        if (forward) this.#broker.write(chunk)
      },
      end: () => {
        const exchange = { key, version, correlationId, sentAt, reserved: this.#arriving }
        if (key === messages.apiVersions.key && !forward) this.#answerUnknownVersion({ ...exchange, produce: null })
        else if (kept === null) this.#expect({ ...exchange, produce: null })
        else {
          const produce = scanProduceRequest(kept, version)
          this.#arriving = 0
          this.#endProduce({ ...exchange, produce }, kept, forward)
        }
        kept = null
      }
    }
  }

  /** A Produce request is complete: its answer is awaited, or it is refused because nothing can be captured now. */
  #endProduce(exchange: Exchange & { produce: ProduceRequest }, frame: readonly Buffer[], forwarded: boolean): void {
    const { source, ids, selection, budget, figures } = this.#context
    const { produce } = exchange
    const fault = source.captureFault()
    // With acks=0 nothing is captured here, nor could the producer be told: such a batch is fetched from the broker later.
    const refused = fault !== null && produce.acks !== 0 && wantsCapture(produce, ids, selection)
    if (!forwarded && !refused) {
      for (const chunk of frame) this.#broker.write(chunk)
      forwarded = true
    }
    if (produce.acks === 0) {
      figures.produced.unacknowledged += 1
      budget.give(exchange.reserved) // no response is ever sent, so nothing is owed
    } else if (forwarded) {
      this.#expect(exchange)
    } else {
      figures.produced.refused += 1
      const answer = refusal(produce, `millrace: ${fault?.message}`)
      this.#outbox.owe(exchange)
      this.#send(exchange, [produceFrame(exchange.version, exchange.correlationId, answer)])
    }
  }

  /** The client asks in a version of ApiVersions that we do not know: as a broker does, say so in version 0 (KIP-511). */
  #answerUnknownVersion(exchange: Exchange): void {
    const { apiVersions } = messages
    const [minVersion, maxVersion] = apiVersions.versions
    const apiKeys = [{ apiKey: apiVersions.key, minVersion, maxVersion }]
    const body = apiVersions.response.encode({ errorCode: KafkaError.UNSUPPORTED_VERSION, apiKeys }, 0)
    this.#outbox.owe(exchange)
    this.#send(exchange, [responseFrame(apiVersions, 0, exchange.correlationId, body)])
  }

  #expect(exchange: Exchange): void {
    this.#outbox.owe(exchange)
    this.#unanswered.push(exchange)
  }

  // Responses

  #pushResponses(data: Buffer): void {
    // What comes in one piece goes out in one: the tail of a Fetch answer would be a packet of its own.
    this.#client.cork()
    this.#responses.push(data)
    this.#client.uncork()
  }

  #responseHandler(): FrameHandler {
    let exchange: Exchange | undefined
    let whole: Buffer[] | null = null
    let scanner: AnswerScanner | null = null
    return {
      begin: head => {
        exchange = this.#unanswered.shift()
        if (exchange === undefined || exchange.correlationId !== head.readInt32BE(4)) {
          throw new MillraceError('WIRE_CORRUPT', 'the broker sent a response that belongs to no request')
        }
        const { key, version, produce } = exchange
        whole = produce || isRewritten(key) ? [] : null
        scanner = hasEndpointsAtEnd(key, version) ? new AnswerScanner(key, version) : null
        return true
      },
      data: chunk => {
        const passing = scanner?.push(chunk) ?? chunk
        if (whole) whole.push(chunk)
        else if (passing.length > 0) this.#send(exchange!, [passing], { complete: false })
      },
      end: () => {
        if (scanner) return this.#endScanned(exchange!, scanner)
        if (whole === null) return this.#send(exchange!, [])
        const frame = whole.length === 1 ? whole[0]! : Buffer.concat(whole)
        this.#settle(exchange!, frame).catch(error => this.#abort(error))
      }
    }
  }

  /** All of an answer has gone out but its end, which may name brokers. */
  #endScanned(exchange: Exchange, scanner: AnswerScanner): void {
    const end = scanner.finish()
    if (end.tail.nodeEndpoints?.length) {
      relocateTail(exchange.key, exchange.version, end, this.#context.nodes).then(
        bytes => this.#send(exchange, [bytes]),
        error => this.#abort(error)
      )
    } else {
      this.#send(exchange, [end.bytes]) // at once, as nearly all do
    }
  }

  /** Makes the client's answer of the broker's; for Produce that means to hold it until the batches are durable. */
  async #settle(exchange: Exchange, frame: Buffer): Promise<void> {
    const { key, version, produce } = exchange
    const { nodes, ids } = this.#context
    const answer = produce
      ? await settleProduce({ ...exchange, produce }, frame, this.#context)
      : await rewrite(key, version, frame, { nodes, onTopics: topics => ids.learn(topics) })
    this.#send(exchange, [answer])
  }

  #send(exchange: Exchange, chunks: readonly Buffer[], { complete = true } = {}): void {
    this.#outbox.add(exchange, chunks, { complete })
    if (this.#outbox.isCongested) this.#broker.pause()
    else this.#broker.resume()
    if (this.#closing && this.#outbox.isEmpty) this.#closeQuietly()
  }

  #resumeBroker(): void {
    if (!this.#outbox.isCongested) this.#broker.resume()
  }

  // Ends

  /** No more requests will come. Closes when the last owed response has gone, or has been captured. */
  #finish(): void {
    if (this.#closing) return
    this.#closing = true
    if (this.#client.destroyed) this.#broker.resume()
    if (this.#outbox.isEmpty) this.#closeQuietly()
  }

  #closeQuietly(): void {
    this.#client.end()
    // Ending flushes what was forwarded, acks=0 requests among it; the broker then closes its side.
    this.#broker.end()
    this.#broker.setTimeout(BROKER_CLOSE_TIMEOUT_MS, () => this.destroy())
    if (this.#broker.destroyed) this.destroy()
  }

  /** The broker has closed: what it accepted is still answered, what it did not answer is not. */
  #brokerGone(error?: Error): void {
    if (error) this.#context.source.logger.debug({ err: error }, 'broker connection failed')
    for (const exchange of this.#unanswered.splice(0)) this.#outbox.forget(exchange)
    this.#closing = true
    this.#stalled = null
    this.#context.budget.forget(this.#retry)
    this.#client.resume()
    if (!this.#responses.idle) this.#client.destroy()
    if (this.#outbox.isEmpty || this.#client.destroyed) this.destroy()
  }

  #guard(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#abort(error)
    }
  }

  #abort(error: unknown): void {
    const { logger } = this.#context.source
    logger.warn({ err: error, client: this.#client.remoteAddress }, 'client connection ended')
    this.destroy()
  }
}
