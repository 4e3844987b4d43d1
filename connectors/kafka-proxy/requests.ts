// A session's requests: what the client sends goes on to the broker as it comes; Produce requests are kept beside that.
import { MillraceError } from 'millrace/connect'
import type { FrameHandler, ProduceRequest } from 'millrace/kafka'
import {
  FrameSplitter,
  KafkaError,
  messages,
  REQUEST_HEAD_BYTES,
  responseFrame,
  saslHandshake,
  scanProduceRequest
} from 'millrace/kafka'
import { refusal, wantsCapture } from './capture.ts'
import { KeptFrame } from './kept-frame.ts'
import type { Link } from './link.ts'
import type { ProxyFigures } from './metrics.ts'
import type { Exchange } from './outbox.ts'
import { isBehind } from './outbox.ts'
import { notePassed, produceFrame } from './settle-produce.ts'
import { isOffered } from './versions.ts'

/** What has to come of a request within request.read.timeout.ms, unless it ends before: Kafka's clients give up as early. */
const LEAST_PROGRESS = 1024 * 1024

export class Requests {
  readonly #link: Link
  readonly #frames: FrameSplitter
  /** Request bytes that wait for the budget. */
  #stalled: Buffer | null = null
  /** What is being passed on, as it was read. */
  #passing: Buffer | null = null
  /** Bytes of the budget that the request holds which is coming in. */
  #arriving = 0
  #ended = false
  /** Whether the client is not read because of us or the broker. */
  #paused = false
  /** Runs while a request has begun and not ended. */
  #progressTimer: NodeJS.Timeout | null = null
  /** Grows with each byte that comes, and by enough with the end of each request and of each wait for us. */
  #progress = 0

  constructor(link: Link) {
    this.#link = link
    this.#frames = new FrameSplitter(this.#handler(), REQUEST_HEAD_BYTES, {
      maxBytes: link.context.limits.frameBytes,
      tlsHint: 'the client speaks TLS, this port does not (listener.security.protocol).'
    })
  }

  /** Whether something that came waits for the budget. */
  get isStalled(): boolean {
    return this.#stalled !== null
  }

  /** Whether the client has to wait for us or the broker. */
  get isPaused(): boolean {
    return this.#paused
  }

  /** Takes the next bytes. Throws WIRE_CORRUPT. */
  push(data: Buffer): void {
    this.#link.context.figures.bytes.client_to_proxy += data.length
    this.#progress += data.length
    this.#pass(data)
  }

  /** Reads on, where nothing is in the way. */
  readonly resume = (): void => {
    const { client, broker, outbox } = this.#link
    if (!this.#paused || this.#stalled !== null || this.#ended) return
    if (isBehind(broker) || outbox.isFull) return
    this.#paused = false
    this.#progress += LEAST_PROGRESS
    client.resume()
  }

  /** Takes no more of what the client may still send. */
  end(): void {
    this.#ended = true
  }

  /** The same, and gives up what waits for the budget. */
  drop(): void {
    this.end()
    this.#stalled = null
    this.#link.context.budget.forget(this.#retry)
  }

  /** The same, and gives back what a request holds that has come in part. */
  clear(): void {
    this.drop()
    this.#link.context.budget.give(this.#arriving)
    this.#arriving = 0
    if (this.#progressTimer) clearTimeout(this.#progressTimer)
  }

  /** `read` is what was read, where nothing else is known to lie in its memory. */
  #pass(data: Buffer, read: Buffer | null = data): void {
    const { broker, outbox } = this.#link
    if (broker.readableEnded || broker.destroyed) return // it can go nowhere
    this.#passing = read
    broker.cork()
    const rest = this.#frames.push(data)
    broker.uncork()
    this.#passing = null
    if (rest !== null) {
      this.#stalled = rest
      this.#pause('budget')
    } else if (isBehind(broker)) this.#pause('broker')
    // Whoever asks on and on and takes no answer, or waits for none, would have them pile up here.
    else if (outbox.isFull) this.#pause('client')
    if (!this.#frames.idle && !this.#ended && this.#progressTimer === null) this.#watchProgress()
  }

  readonly #retry = (): void => {
    const rest = this.#stalled
    this.#stalled = null
    if (rest === null) return
    // The memory may be shared with a request that came before in the same read, whose batches are not copied yet.
    this.#link.proceed(() => this.#pass(rest, null))
    this.resume()
  }

  #pause(waitingFor: keyof ProxyFigures['paused']): void {
    if (this.#paused) return
    this.#paused = true
    this.#link.context.figures.paused[waitingFor] += 1
    this.#link.client.pause()
  }

  /** A client that begins a request and does not go on with it must not keep its bytes of the budget. */
  #watchProgress(): void {
    const { limits } = this.#link.context
    const before = this.#progress
    const judge = () => {
      this.#progressTimer = null
      if (this.#frames.idle || this.#ended) return
      if (this.#paused || this.#progress - before >= LEAST_PROGRESS) return this.#watchProgress()
      const rule = `a request has to end, or to go on, within ${limits.readTimeoutMs} ms (request.read.timeout.ms)`
      this.#link.abort(new MillraceError('TIMEOUT', `the client's request came only in part: ${rule}`), 'too_slow')
    }
    // Where it was us who were held up, what has come meanwhile is read first.
    this.#progressTimer = setTimeout(() => setImmediate(judge), limits.readTimeoutMs)
  }

  #handler(): FrameHandler {
    const { source, budget, figures } = this.#link.context
    let key = 0
    let version = 0
    let correlationId = 0
    let kept: KeptFrame | null = null
    let forward = true
    let sentAt = 0
    return {
      begin: (head, size) => {
        key = head.readInt16BE(4)
        version = head.readInt16BE(6)
        correlationId = head.readInt32BE(8)
        sentAt = performance.now()
        const isProduce = key === messages.produce.key
        const refused = !isOffered(key, version)
        if (refused && key !== messages.apiVersions.key && key !== saslHandshake.key) {
          throw new MillraceError('WIRE_CORRUPT', `request ${key} version ${version} is not offered`)
        }
        if (isProduce && !budget.take(size, this.#retry)) return false
        this.#arriving = isProduce ? size : 0
        kept = isProduce ? new KeptFrame() : null
        forward = !refused && !(isProduce && source.captureFault() !== null)
        return true
      },
      data: chunk => {
        kept?.push(chunk, this.#passing)
        if (forward) this.#forward(chunk)
      },
      end: () => {
        this.#progress += LEAST_PROGRESS
        figures.requests.add(key, version)
        const frame = kept?.finish()
        kept = null // until the next request, which may be hours away, it would stay in memory
        const memory = frame?.memory ?? []
        const exchange = { key, version, correlationId, sentAt, reserved: this.#arriving, memory }
        if (frame !== undefined) {
          const produce = scanProduceRequest(frame.chunks, version)
          this.#endProduce({ ...exchange, produce }, frame.chunks, forward)
        } else if (forward) this.#link.outbox.expect({ ...exchange, produce: null })
        else this.#answerRefused({ ...exchange, produce: null })
      }
    }
  }

  #forward(chunk: Buffer): void {
    this.#link.context.figures.bytes.proxy_to_broker += chunk.length
    this.#link.broker.write(chunk)
  }

  /** A Produce request is complete: its answer is awaited, or it is refused because nothing can be captured now. */
  #endProduce(exchange: Exchange & { produce: ProduceRequest }, frame: readonly Buffer[], forwarded: boolean): void {
    const { source, ids, selection, budget, figures } = this.#link.context
    const { produce } = exchange
    const fault = source.captureFault()
    // With acks=0 nothing is captured here, nor could the producer be told: such a batch is fetched from the broker later.
    const refused = fault !== null && produce.acks !== 0 && wantsCapture(produce, ids, selection)
    if (!forwarded && !refused) {
      for (const chunk of frame) this.#forward(chunk)
      forwarded = true
    }
    const { version, correlationId } = exchange
    const answer = forwarded
      ? null
      : produceFrame(version, correlationId, refusal(produce, `millrace: ${fault?.message}`))
    this.#arriving = 0 // from here on they are given back with the response
    if (produce.acks === 0) {
      figures.produced.unacknowledged += 1
      notePassed(produce, this.#link.context)
      budget.give(exchange.reserved) // no response is ever sent, so nothing is owed
    } else if (answer === null) {
      this.#link.outbox.expect(exchange)
    } else {
      figures.produced.refused += 1
      this.#answer(exchange, answer)
    }
  }

  /**
   * ApiVersions in a version that we do not know is answered as a broker does, in version 0 (KIP-511). SaslHandshake 0 would be
   * followed by tokens outside of Kafka's frames, which no client sends that knows version 1 (Kafka 1.0, 2017): that is the end.
   */
  #answerRefused(exchange: Exchange): void {
    const { apiVersions } = messages
    const { correlationId } = exchange
    const errorCode = KafkaError.UNSUPPORTED_VERSION
    if (exchange.key === apiVersions.key) {
      const [minVersion, maxVersion] = apiVersions.versions
      const apiKeys = [{ apiKey: apiVersions.key, minVersion, maxVersion }]
      const body = apiVersions.response.encode({ errorCode, apiKeys }, 0)
      this.#answer(exchange, responseFrame(apiVersions, 0, correlationId, body))
    } else {
      const body = saslHandshake.response.encode({ errorCode, mechanisms: [] }, 0)
      this.#answer(exchange, responseFrame(saslHandshake, 0, correlationId, body))
      throw new MillraceError('WIRE_CORRUPT', `SaslHandshake version ${exchange.version} is not offered`)
    }
  }

  #answer(exchange: Exchange, frame: Buffer): void {
    this.#link.outbox.owe(exchange)
    this.#link.send(exchange, [frame])
  }
}
