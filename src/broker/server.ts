// A Kafka protocol server: it listens, and offers exactly the APIs that it is given handlers for.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import net from 'node:net'
import { MillraceError, messageOf } from '../errors.ts'
import type { Address } from '../kafka/address.ts'
import { formatAddress } from '../kafka/address.ts'
import { MAX_FRAME_BYTES } from '../kafka/frames.ts'
import { apiVersionsHandler } from './api-versions.ts'
import type { Handler, ReportError } from './handler.ts'
import { plainHost, Session } from './session.ts'

export interface ServerOptions {
  readonly listen: Address
  /** Where clients are told to find the server; by default where it listens, or on all interfaces the one a client came by. */
  readonly advertised?: Address | undefined
  /** ApiVersions is added. */
  readonly handlers: readonly Handler[]
  /** Largest request, size field included; 100 MiB by default. */
  readonly maxFrameBytes?: number | undefined
  /** What was set, and what to do, where the address cannot be listened on. */
  readonly what: string
  readonly hint: string
  /** Told why a connection was ended that its client did not close. */
  readonly onError: ReportError
}

/** How long answers that are being made may take at the end. */
const STOP_TIMEOUT_MS = 5_000

export class KafkaServer implements AsyncDisposable {
  readonly #server: net.Server
  readonly #options: ServerOptions
  readonly #handlers: ReadonlyMap<number, Handler>
  readonly #sessions = new Set<Session>()
  #bound: AddressInfo | null = null
  #stopped: Promise<void> | null = null

  private constructor(options: ServerOptions) {
    const all = [...options.handlers, apiVersionsHandler(options.handlers)]
    this.#options = options
    this.#handlers = new Map(all.map(handler => [handler.api.key, handler]))
    this.#server = net.createServer({ noDelay: true, keepAlive: true }, socket => this.#accept(socket))
  }

  /** Listens. Throws LISTEN_FAILED. */
  static async listen(options: ServerOptions): Promise<KafkaServer> {
    const { listen, what, hint, onError } = options
    const server = new KafkaServer(options)
    try {
      server.#server.listen({ host: listen.host, port: listen.port })
      await once(server.#server, 'listening')
      server.#bound = server.#server.address() as AddressInfo
    } catch (cause) {
      const message = `${what}: cannot listen on ${formatAddress(listen)}: ${messageOf(cause)}`
      throw new MillraceError('LISTEN_FAILED', message, { cause, hint })
    }
    server.#server.on('error', error => onError(error, `listening on ${formatAddress(server.address)}`))
    return server
  }

  /** Where it listens, with the port that was found where 0 was asked for. */
  get address(): Address {
    return { host: this.#options.listen.host, port: this.#bound!.port }
  }

  /** Listens no more, lets answers go out that are being made (for some seconds), and closes all connections. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    const sessions = [...this.#sessions]
    const deadline = setTimeout(() => {
      for (const session of sessions) session.destroy()
    }, STOP_TIMEOUT_MS)
    await Promise.all(sessions.map(session => session.close()))
    clearTimeout(deadline)
    await closed
  }

  #accept(socket: net.Socket): void {
    if (this.#stopped !== null) return void socket.destroy()
    const { maxFrameBytes = MAX_FRAME_BYTES, onError } = this.#options
    const session = new Session(socket, {
      handlers: this.#handlers,
      advertised: this.#advertisedTo(socket),
      maxFrameBytes,
      onError
    })
    this.#sessions.add(session)
    session.closed.then(() => this.#sessions.delete(session))
  }

  #advertisedTo(socket: net.Socket): Address {
    const { advertised } = this.#options
    const { address, port } = this.#bound!
    const everywhere = address === '0.0.0.0' || address === '::'
    return advertised ?? (everywhere ? { host: plainHost(socket.localAddress), port } : this.address)
  }
}
