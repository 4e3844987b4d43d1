// One client's connection and its connection to a broker. Bytes go on as they come; only Produce requests are kept beside
// that, and their answers are held until the batches are durable.
import type net from 'node:net'
import type { SourceContext } from 'millrace/connect'
import { MillraceError, messageOf } from 'millrace/connect'
import type { FrameHandler, ProduceRequest } from 'millrace/kafka'
import {
  FrameSplitter,
  KafkaError,
  messages,
  REQUEST_HEAD_BYTES,
  RESPONSE_HEAD_BYTES,
  responseBodyStart,
  responseFrame,
  scanProduceRequest
} from 'millrace/kafka'
import type { Budget } from './budget.ts'
import type { ProduceAnswer } from './capture.ts'
import { acceptedBatches, refusal, wantsCapture, withdrawn } from './capture.ts'
import type { NodeMap } from './rewrite.ts'
import { isRewritten, relocate, rewrite } from './rewrite.ts'
import type { TopicIds, TopicSelection } from './topics.ts'
import { isOffered } from './versions.ts'

/** What all sessions of one proxy share. */
export interface SessionContext {
  readonly source: SourceContext
  readonly nodes: NodeMap
  readonly ids: TopicIds
  readonly selection: TopicSelection
  readonly budget: Budget
}

/** A request whose response the client is owed. */
interface Exchange {
  readonly key: number
  readonly version: number
  readonly correlationId: number
  readonly produce: ProduceRequest | null
  /** Bytes of the budget that this request holds. */
  readonly reserved: number
  /** Response bytes that may go to the client when all earlier responses have gone. */
  ready: Buffer[]
  /** Nothing will be added to `ready`. */
  complete: boolean
}

/** While a client reads slowly or a response is held, this much of later responses is kept before the broker has to wait. */
const MAX_BUFFERED_RESPONSES = 8 * 1024 * 1024

/** A held response is given up in time for the producer to hear an error rather than to time out. */
const HOLD_SHARE_OF_TIMEOUT = 2 / 3

/** How long a broker may take to close its side after we have closed ours. */
const BROKER_CLOSE_TIMEOUT_MS = 10_000

export class Session {
  readonly #client: net.Socket
  readonly #broker: net.Socket
  readonly #context: SessionContext
  readonly #requests: FrameSplitter
  readonly #responses: FrameSplitter
  /** Owed responses, in the order of their requests. */
  readonly #owed: Exchange[] = []
  /** The part of them that the broker still has to begin answering. */
  readonly #unanswered: Exchange[] = []
  #buffered = 0
  /** Bytes of the budget that the request holds which is coming in. */
  #arriving = 0
  #closing = false
  readonly #closed = Promise.withResolvers<void>()

  constructor(client: net.Socket, broker: net.Socket, context: SessionContext) {
    this.#client = client
    this.#broker = broker
    this.#context = context
    this.#requests = new FrameSplitter(this.#requestHandler(), REQUEST_HEAD_BYTES)
    this.#responses = new FrameSplitter(this.#responseHandler(), RESPONSE_HEAD_BYTES)

    client.on('data', (data: Buffer) => this.#guard(() => this.#pushRequests(data)))
    broker.on('data', (data: Buffer) => this.#guard(() => this.#responses.push(data)))
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
    const held = this.#owed.splice(0).reduce((sum, { reserved }) => sum + reserved, this.#arriving)
    this.#arriving = 0
    this.#context.budget.forget(this.#retry)
    this.#context.budget.give(held)
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
    return {
      begin: (head, size) => {
        key = head.readInt16BE(4)
        version = head.readInt16BE(6)
        correlationId = head.readInt32BE(8)
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
        const exchange = { key, version, correlationId, reserved: this.#arriving, ready: [], complete: false }
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
    const { source, ids, selection, budget } = this.#context
    const { produce } = exchange
    const fault = source.captureFault()
    // With acks=0 nothing is captured here, nor could the producer be told: such a batch is fetched from the broker later.
    const refused = fault !== null && produce.acks !== 0 && wantsCapture(produce, ids, selection)
    if (!forwarded && !refused) {
      for (const chunk of frame) this.#broker.write(chunk)
      forwarded = true
    }
    if (produce.acks === 0) {
      budget.give(exchange.reserved) // no response is ever sent, so nothing is owed
    } else if (forwarded) {
      this.#expect(exchange)
    } else {
      this.#owed.push(exchange)
      this.#answer(exchange, encodeProduce(exchange, refusal(produce, `millrace: ${fault?.message}`)))
    }
  }

  /** The client asks in a version of ApiVersions that we do not know: as a broker does, say so in version 0 (KIP-511). */
  #answerUnknownVersion(exchange: Exchange): void {
    const { apiVersions } = messages
    const [minVersion, maxVersion] = apiVersions.versions
    const apiKeys = [{ apiKey: apiVersions.key, minVersion, maxVersion }]
    const body = apiVersions.response.encode({ errorCode: KafkaError.UNSUPPORTED_VERSION, apiKeys }, 0)
    this.#owed.push(exchange)
    this.#answer(exchange, responseFrame(apiVersions, 0, exchange.correlationId, body))
  }

  #expect(exchange: Exchange): void {
    this.#owed.push(exchange)
    this.#unanswered.push(exchange)
  }

  // Responses

  #responseHandler(): FrameHandler {
    let exchange: Exchange | undefined
    let whole: Buffer[] | null = null
    return {
      begin: head => {
        exchange = this.#unanswered.shift()
        if (exchange === undefined || exchange.correlationId !== head.readInt32BE(4)) {
          throw new MillraceError('WIRE_CORRUPT', 'the broker sent a response that belongs to no request')
        }
        whole = exchange.produce || isRewritten(exchange.key) ? [] : null
        return true
      },
      data: chunk => {
        if (whole) whole.push(chunk)
        else {
          exchange!.ready.push(chunk)
          this.#buffered += chunk.length
          this.#flush()
        }
      },
      end: () => {
        const done = exchange!
        if (whole) {
          const frame = whole.length === 1 ? whole[0]! : Buffer.concat(whole)
          const settle = done.produce
            ? this.#settleProduce(done, done.produce, frame)
            : this.#settleRewrite(done, frame)
          settle.catch(error => this.#abort(error))
        } else {
          done.complete = true
          this.#flush()
        }
      }
    }
  }

  async #settleRewrite(exchange: Exchange, frame: Buffer): Promise<void> {
    const { nodes, ids } = this.#context
    this.#answer(
      exchange,
      await rewrite(exchange.key, exchange.version, frame, { nodes, onTopics: topics => ids.learn(topics) })
    )
  }

  /** Holds the answer until the batches that the broker accepted are durable; if they cannot be, the producer hears so. */
  async #settleProduce(exchange: Exchange, request: ProduceRequest, frame: Buffer): Promise<void> {
    const { source, ids, selection, nodes } = this.#context
    const api = messages.produce
    let answer = api.response.decode(frame, exchange.version, responseBodyStart(frame, api, exchange.version))
    let changed = false
    try {
      const capture = acceptedBatches(request, answer, source.clusterId, ids, selection).then(accepted =>
        accepted.length > 0 ? source.capture(accepted) : undefined
      )
      await within(capture, request.timeoutMs * HOLD_SHARE_OF_TIMEOUT)
    } catch (error) {
      source.logger.error(
        { err: error },
        'batches were accepted by the broker but not captured; the producer is told to retry'
      )
      answer = withdrawn(answer, `millrace: ${messageOf(error)}`, ids, selection)
      changed = true
    }
    if (answer.nodeEndpoints?.length) {
      answer = { ...answer, nodeEndpoints: await relocate(answer.nodeEndpoints, node => node.nodeId, nodes) }
      changed = true
    }
    this.#answer(exchange, changed ? encodeProduce(exchange, answer) : frame)
  }

  #answer(exchange: Exchange, frame: Buffer): void {
    exchange.ready.push(frame)
    this.#buffered += frame.length
    exchange.complete = true
    this.#flush()
  }

  /** Writes what may go out now: everything of the first owed response that is there, then of the next. */
  #flush(): void {
    this.#client.cork()
    for (let first = this.#owed[0]; first !== undefined; first = this.#owed[0]) {
      for (const chunk of first.ready.splice(0)) {
        this.#buffered -= chunk.length
        if (this.#client.writable) this.#client.write(chunk)
      }
      if (!first.complete) break
      this.#owed.shift()
      this.#context.budget.give(first.reserved)
    }
    this.#client.uncork()
    if (this.#client.writableNeedDrain || this.#buffered > MAX_BUFFERED_RESPONSES) this.#broker.pause()
    else this.#resumeBroker()
    if (this.#closing && this.#owed.length === 0) this.#closeQuietly()
  }

  #resumeBroker(): void {
    if (!this.#client.writableNeedDrain && this.#buffered <= MAX_BUFFERED_RESPONSES) this.#broker.resume()
  }

  // Ends

  /** No more requests will come. Closes when the last owed response has gone, or has been captured. */
  #finish(): void {
    if (this.#closing) return
    this.#closing = true
    if (this.#client.destroyed) this.#broker.resume()
    if (this.#owed.length === 0) this.#closeQuietly()
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
    for (const exchange of this.#unanswered.splice(0)) {
      this.#owed.splice(this.#owed.indexOf(exchange), 1)
      this.#context.budget.give(exchange.reserved)
    }
    this.#closing = true
    this.#stalled = null
    this.#context.budget.forget(this.#retry)
    this.#client.resume()
    if (!this.#responses.idle) this.#client.destroy()
    if (this.#owed.length === 0 || this.#client.destroyed) this.destroy()
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

function encodeProduce({ version, correlationId }: Exchange, answer: ProduceAnswer): Buffer {
  const { produce } = messages
  return responseFrame(produce, version, correlationId, produce.response.encode(answer, version))
}

/** Waits for `work`, but no longer than `ms`. */
async function within(work: Promise<void>, ms: number): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new MillraceError('TIMEOUT', `not durable after ${Math.round(ms)} ms`)), ms)
  try {
    await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}
