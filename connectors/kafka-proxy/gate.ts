// What a connection has to pass before it is a session: the limits, the PROXY header, the TLS handshake.
import { once } from 'node:events'
import net from 'node:net'
import type { SourceContext } from 'millrace/connect'
import { MillraceError } from 'millrace/connect'
import { formatAddress } from 'millrace/kafka'
import { Admission } from './admission.ts'
import type { CutReason, ProxyFigures } from './metrics.ts'
import type { ProxyConfig } from './options.ts'
import type { ProxyHeader } from './proxy-header.ts'
import { readProxyHeader } from './proxy-header.ts'
import { TlsListener } from './tls-listener.ts'
import { keepAlive } from './upstream.ts'

export interface Client {
  /** What the client writes and reads, TLS taken off. */
  readonly socket: net.Socket
  /** Where it is, a load balancer in front left out, for the log. */
  readonly address: string
}

/** How long a load balancer may take for its header, which it sends at once. */
const HEADER_TIMEOUT_MS = 10_000

export class Gate implements Disposable {
  readonly #config: ProxyConfig
  readonly #logger: SourceContext['logger']
  readonly #figures: ProxyFigures
  readonly #admission: Admission
  readonly #tls: TlsListener | null
  /** Connections that are not through yet. */
  readonly #entering = new Set<net.Socket>()

  /** Throws CONFIG_INVALID. */
  constructor(config: ProxyConfig, logger: SourceContext['logger'], figures: ProxyFigures) {
    this.#config = config
    this.#logger = logger
    this.#figures = figures
    this.#admission = new Admission(config, logger)
    this.#tls = TlsListener.open(config, logger)
  }

  /** A server that does not listen yet. What is not a client of ours does not reach `onClient`. */
  createServer(onClient: (client: Client) => void): net.Server {
    return net.createServer({ allowHalfOpen: true, noDelay: true, ...keepAlive }, raw => {
      raw.on('error', () => raw.destroy())
      this.#entering.add(raw)
      this.#enter(raw).then(
        client => {
          this.#entering.delete(raw)
          if (client) onClient(client)
        },
        error => {
          this.#entering.delete(raw)
          this.#cut(raw, error instanceof Refused ? error : new Refused('error', error))
        }
      )
    })
  }

  /** Cuts off those that are not through. */
  [Symbol.dispose](): void {
    for (const raw of this.#entering) raw.destroy()
    this.#tls?.[Symbol.dispose]()
  }

  /** Null for a client that has gone. */
  async #enter(raw: net.Socket): Promise<Client | null> {
    const peer = { host: raw.remoteAddress ?? '', port: raw.remotePort ?? 0 }
    if (peer.host === '') return null
    this.#count(raw, this.#admission.connection(peer.host))
    const mode = this.#config['proxy.protocol']
    const header = mode === 'off' ? undefined : await this.#header(raw, mode)
    const source = header?.source ?? peer
    this.#count(raw, this.#admission.from(source.host))
    const address = formatAddress(source)
    if (raw.destroyed) return null
    if (this.#tls === null) return { socket: raw, address }
    try {
      const socket = await this.#tls.secure(raw)
      socket.on('error', () => socket.destroy())
      return { socket, address }
    } catch (error) {
      throw new Refused('tls', error, address, header?.bytes)
    }
  }

  #count(raw: net.Socket, leave: (() => void) | null): void {
    if (leave === null) throw new Refused('limit')
    if (raw.destroyed) leave()
    else raw.once('close', leave)
  }

  /** Takes off the PROXY header; undefined where there is none. */
  async #header(raw: net.Socket, mode: 'allowed' | 'required'): Promise<ProxyHeader | undefined> {
    const deadline = AbortSignal.timeout(HEADER_TIMEOUT_MS)
    try {
      let data = Buffer.alloc(0)
      for (;;) {
        const header = readProxyHeader(data)
        if (header === undefined && mode === 'required') {
          throw new MillraceError('WIRE_CORRUPT', 'no PROXY header', {
            hint: 'With proxy.protocol required clients come through a load balancer that sends one.'
          })
        }
        if (header !== null) {
          if (data.length > 0) raw.unshift(data.subarray(header?.bytes ?? 0))
          return header
        }
        await once(raw, 'readable', { signal: deadline })
        const more: Buffer | null = raw.read()
        if (more === null) throw new MillraceError('WIRE_CORRUPT', 'the connection ended before its PROXY header')
        data = Buffer.concat([data, more])
      }
    } catch (error) {
      throw new Refused('proxy_protocol', error)
    }
  }

  #cut(raw: net.Socket, { reason, cause, address, headerBytes }: Refused): void {
    // Who has sent nothing is no client, but looks whether the port is open, as probes do every few seconds.
    if (raw.bytesRead === headerBytes && reason !== 'limit') return void raw.destroy()
    this.#figures.cut[reason] += 1
    // The limits tell of themselves.
    if (reason !== 'limit') {
      const client = address ?? formatAddress({ host: raw.remoteAddress ?? '', port: raw.remotePort ?? 0 })
      this.#logger.warn({ err: cause, client }, 'client connection refused')
    }
    raw.destroy()
  }
}

class Refused extends Error {
  readonly reason: CutReason
  readonly address: string | undefined
  /** The PROXY header's, which a load balancer sends in front of its own probes too. */
  readonly headerBytes: number

  constructor(reason: CutReason, cause?: unknown, address?: string, headerBytes = 0) {
    super(reason, { cause })
    this.reason = reason
    this.address = address
    this.headerBytes = headerBytes
  }
}
