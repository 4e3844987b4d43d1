// A session's answers: what the broker sends goes to the client as it comes, but for what names brokers, and for Produce
// answers, which are held until the batches are durable.
import { MillraceError } from 'millrace/connect'
import type { FrameHandler } from 'millrace/kafka'
import { AnswerScanner, FrameSplitter, hasEndpointsAtEnd, MAX_FRAME_BYTES, RESPONSE_HEAD_BYTES } from 'millrace/kafka'
import { relocateTail } from './endpoints.ts'
import type { Link } from './link.ts'
import type { Exchange } from './outbox.ts'
import { isRewritten, rewrite } from './rewrite.ts'
import { settleProduce } from './settle-produce.ts'

/** An answer that passes is kept nowhere, and may be as large as a size field can tell. */
const MAX_PASSING_BYTES = 2 ** 31 - 1

export class Answers {
  readonly #link: Link
  readonly #frames: FrameSplitter
  #paused = false

  constructor(link: Link) {
    this.#link = link
    this.#frames = new FrameSplitter(this.#handler(), RESPONSE_HEAD_BYTES, {
      maxBytes: MAX_PASSING_BYTES,
      tlsHint: 'the broker speaks TLS (security.protocol).'
    })
  }

  /** True when the broker has not begun an answer that it has not ended. */
  get idle(): boolean {
    return this.#frames.idle
  }

  /** Takes the next bytes. Throws WIRE_CORRUPT. */
  push(data: Buffer): void {
    const { client, context } = this.#link
    context.figures.bytes.broker_to_proxy += data.length
    // What comes in one piece goes out in one: the tail of a Fetch answer would be a packet of its own.
    client.cork()
    this.#frames.push(data)
    client.uncork()
    this.regulate()
  }

  /** Reads on, or stops reading while the client is behind. */
  regulate(): void {
    const { outbox, broker, context } = this.#link
    if (outbox.isCongested === this.#paused) return
    this.#paused = !this.#paused
    if (this.#paused) {
      context.figures.paused.client += 1
      broker.pause()
    } else broker.resume()
  }

  /** Reads all that still comes, whatever becomes of it. */
  drain(): void {
    this.#paused = false
    this.#link.broker.resume()
  }

  #handler(): FrameHandler {
    const { outbox, send, abort } = this.#link
    let exchange: Exchange | undefined
    let whole: Buffer[] | null = null
    let scanner: AnswerScanner | null = null
    return {
      begin: (head, size) => {
        exchange = outbox.answered()
        if (exchange === undefined || exchange.correlationId !== head.readInt32BE(4)) {
          throw new MillraceError('WIRE_CORRUPT', 'the broker sent a response that belongs to no request')
        }
        const { key, version, produce } = exchange
        whole = produce || isRewritten(key) ? [] : null
        if (whole && size > MAX_FRAME_BYTES) {
          throw new MillraceError('WIRE_CORRUPT', `the broker answers request ${key} with ${size} bytes`)
        }
        scanner = hasEndpointsAtEnd(key, version) ? new AnswerScanner(key, version) : null
        return true
      },
      data: chunk => {
        const passing = scanner?.push(chunk) ?? chunk
        if (whole) whole.push(chunk)
        else if (passing.length > 0) send(exchange!, [passing], { complete: false })
      },
      end: () => {
        const ended = exchange!
        const chunks = whole
        const walked = scanner
        // Until the next answer, which may be hours away, this would keep the request's bytes.
        exchange = undefined
        whole = null
        scanner = null
        outbox.came(ended, ended.produce ? 'produce' : chunks ? 'rewritten' : 'passed')
        if (walked) return this.#endScanned(ended, walked)
        if (chunks === null) return send(ended, [])
        const frame = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
        this.#settle(ended, frame).catch(error => abort(error))
      }
    }
  }

  /** All of an answer has gone out but its end, which may name brokers. */
  #endScanned(exchange: Exchange, scanner: AnswerScanner): void {
    const { context, send, abort } = this.#link
    const end = scanner.finish()
    if (end.tail.nodeEndpoints?.length) {
      relocateTail(exchange.key, exchange.version, end, context.nodes).then(
        bytes => send(exchange, [bytes]),
        error => abort(error)
      )
    } else {
      send(exchange, [end.bytes]) // at once, as nearly all do
    }
  }

  /** Frees a request's memory, which would otherwise wait, with 64 MB of other requests', for V8 to mark the heap. */
  #giveBack(memory: readonly ArrayBuffer[]): void {
    if (this.#link.broker.writableLength > 0) return // an answer that came too early: some of it may still have to go out
    for (const buffer of memory) buffer.transfer(0)
  }

  /** Makes the client's answer of the broker's; for Produce that means to hold it until the batches are durable. */
  async #settle(exchange: Exchange, frame: Buffer): Promise<void> {
    const { key, version, produce } = exchange
    const { context, send, broker } = this.#link
    const { nodes, ids, source } = context
    const { remoteAddress: host = '', remotePort: port = 0 } = broker
    const answer = produce
      ? await settleProduce({ ...exchange, produce }, frame, context, () => this.#giveBack(exchange.memory))
      : await rewrite(key, version, frame, {
          nodes,
          clusterId: source.clusterId,
          broker: { host, port },
          onTopics: topics => ids.learn(topics)
        })
    send(exchange, [answer])
  }
}
