// One client's connection: its requests are answered one after the other, as a broker does, and answers go out in the order
// of their requests.
import type net from 'node:net'
import { MillraceError } from '../errors.ts'
import type { Address } from '../kafka/address.ts'
import { formatAddress } from '../kafka/address.ts'
import type { FrameHandler } from '../kafka/frames.ts'
import { FrameSplitter, REQUEST_HEAD_BYTES } from '../kafka/frames.ts'
import { requestBodyStart, requestClientId, responseChunks } from '../kafka/headers.ts'
import { apiVersions } from '../kafka/messages.ts'
import { unknownApiVersionsAnswer } from './api-versions.ts'
import type { Handler, ReportError } from './handler.ts'

export interface SessionOptions {
  /** By API key. */
  readonly handlers: ReadonlyMap<number, Handler>
  readonly advertised: Address
  readonly maxFrameBytes: number
  readonly onError: ReportError
}

/** A request that is complete. */
interface Exchange {
  readonly handler: Handler
  readonly version: number
  readonly correlationId: number
  readonly frame: Buffer
  /** Undefined until it is there, empty where none is sent. */
  answer: readonly Buffer[] | undefined
}

/** What a client may have under way before no more is read from it; a larger request is taken alone. */
const MAX_PENDING_REQUESTS = 64
const MAX_PENDING_BYTES = 64 * 1024 * 1024

export class Session {
  readonly #socket: net.Socket
  readonly #options: SessionOptions
  readonly #client: Address
  readonly #requests: FrameSplitter
  /** Complete requests that wait for their turn. */
  readonly #queue: Exchange[] = []
  /** Requests that are being answered: one, or several whose handlers are pipelined. */
  readonly #begun: Exchange[] = []
  /** Requests that came in, the one included that is still arriving, and are not answered. */
  readonly #pending = { requests: 0, bytes: 0 }
  /** Bytes that came when there was no room for their request. */
  #stalled: Buffer | null = null
  /** Aborted when nobody waits for answers any more. */
  readonly #gone = new AbortController()
  #closing = false
  readonly #closed = Promise.withResolvers<void>()

  constructor(socket: net.Socket, options: SessionOptions) {
    this.#socket = socket
    this.#options = options
    this.#client = { host: plainHost(socket.remoteAddress), port: socket.remotePort ?? 0 }
    this.#requests = new FrameSplitter(this.#collector(), REQUEST_HEAD_BYTES, { maxBytes: options.maxFrameBytes })
    socket.on('data', (data: Buffer) => this.#receive(data))
    socket.on('drain', () => this.#proceed())
    // A client that has closed its side is owed nothing, as a broker sees it; what it sent before is still done.
    socket.on('end', () => socket.destroy())
    socket.on('error', () => undefined) // 'close' follows
    socket.on('close', () => this.#leave())
  }

  /** Resolves when the connection is closed and no handler works for it. */
  get closed(): Promise<void> {
    return this.#closed.promise
  }

  /** Begins nothing more, lets the answers go out that are being made, and closes. */
  close(): Promise<void> {
    this.#closing = true
    this.#stalled = null
    this.#queue.length = 0
    this.#gone.abort()
    this.#socket.resume()
    this.#finish()
    return this.closed
  }

  /** Closes at once, whatever handlers are doing. */
  destroy(): void {
    this.#socket.destroy()
    this.#closed.resolve()
  }

  #receive(data: Buffer): void {
    if (this.#closing) return
    try {
      this.#stalled = this.#requests.push(data)
    } catch (error) {
      this.#fail(error)
    }
    if (this.#stalled !== null) this.#socket.pause()
    this.#proceed()
  }

  #collector(): FrameHandler {
    let exchange: Omit<Exchange, 'frame'>
    let chunks: Buffer[] = []
    return {
      begin: (head, size) => {
        const handler = this.#handlerOf(head.readInt16BE(4), head.readInt16BE(6))
        const { requests, bytes } = this.#pending
        if (requests >= MAX_PENDING_REQUESTS || (requests > 0 && bytes + size > MAX_PENDING_BYTES)) return false
        this.#pending.requests++
        this.#pending.bytes += size
        exchange = { handler, version: head.readInt16BE(6), correlationId: head.readInt32BE(8), answer: undefined }
        chunks = []
        return true
      },
      data: chunk => void chunks.push(chunk),
      end: () => {
        const frame = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
        this.#queue.push({ ...exchange, frame })
        chunks = []
      }
    }
  }

  /** Throws WIRE_CORRUPT for what is not offered: as with a broker, that ends the connection. */
  #handlerOf(key: number, version: number): Handler {
    const handler = this.#options.handlers.get(key)
    const [tableMin, max] = handler?.api.versions ?? [0, -1]
    const tooNewVersions = key === apiVersions.key && version > max
    if (handler === undefined || version < tableMin || (version > max && !tooNewVersions)) {
      throw new MillraceError('WIRE_CORRUPT', `request ${key} version ${version} is not offered`)
    }
    return handler
  }

  /** Begins what may begin now. */
  #proceed(): void {
    for (;;) {
      const [next] = this.#queue
      const last = this.#begun.at(-1)
      // A client that does not read its answers gets no more of them made.
      if (next === undefined || this.#socket.writableNeedDrain) break
      if (last !== undefined && !(last.handler.pipelined && next.handler.pipelined)) break
      this.#queue.shift()
      this.#begun.push(next)
      this.#answer(next).then(answer => this.#settle(next, answer))
    }
    this.#finish()
  }

  /** The answer's bytes. Never rejects: what a handler throws ends the connection. */
  async #answer({ handler, version, correlationId, frame }: Exchange): Promise<readonly Buffer[]> {
    const { api } = handler
    const { signal } = this.#gone
    try {
      if (version > api.versions[1]) return unknownApiVersionsAnswer(correlationId)
      const request = api.request.decode(frame, version, requestBodyStart(frame, api, version))
      const answer = await handler.handle(request, {
        version,
        clientId: requestClientId(frame),
        clientHost: `/${this.#client.host}`,
        advertised: this.#options.advertised,
        signal
      })
      return answer === null ? [] : responseChunks(api, version, correlationId, answer)
    } catch (error) {
      if (!signal.aborted || error !== signal.reason) this.#fail(error)
      return []
    }
  }

  #settle(exchange: Exchange, answer: readonly Buffer[]): void {
    exchange.answer = answer
    this.#socket.cork()
    for (let first = this.#begun[0]; first?.answer !== undefined; first = this.#begun[0]) {
      this.#begun.shift()
      this.#pending.requests--
      this.#pending.bytes -= first.frame.length
      if (this.#socket.writable) for (const chunk of first.answer) this.#socket.write(chunk)
    }
    this.#socket.uncork()
    this.#resume()
    this.#proceed()
  }

  /** Goes on reading where there was no room for a request. */
  #resume(): void {
    if (this.#stalled === null) return
    try {
      this.#stalled = this.#requests.push(this.#stalled)
    } catch (error) {
      this.#fail(error)
    }
    if (this.#stalled === null) this.#socket.resume()
  }

  #fail(error: unknown): void {
    this.#options.onError(error, `client ${formatAddress(this.#client)}`)
    this.#closing = true
    this.#stalled = null
    this.#queue.length = 0
    this.#socket.destroy()
  }

  #leave(): void {
    this.#gone.abort()
    this.#proceed()
  }

  /** Closes when that is wanted and everything is done. */
  #finish(): void {
    if (this.#begun.length + this.#queue.length > 0 || this.#stalled !== null) return
    if (this.#socket.closed) this.#closed.resolve()
    else if (this.#closing) this.#socket.end()
  }
}

/** An IP address as such: IPv4 clients of an IPv6 socket come as ::ffff:127.0.0.1. */
export function plainHost(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.)/i, '')
}
