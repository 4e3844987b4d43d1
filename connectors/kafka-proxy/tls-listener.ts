// TLS towards clients: one server that listens nowhere, for the connections of all ports; its certificate follows its files.
import { unwatchFile, watchFile } from 'node:fs'
import type net from 'node:net'
import tls from 'node:tls'
import type { SourceContext } from 'millrace/connect'
import { isMillraceError, MillraceError } from 'millrace/connect'
import type { TlsValues } from 'millrace/kafka'
import { secureContextOptions } from 'millrace/kafka'
import type { ProxyConfig } from './options.ts'

/** How often the files are looked at. By their paths, since secrets in Kubernetes are links that change. */
const LOOK_EVERY_MS = 2_000
const HANDSHAKE_TIMEOUT_MS = 10_000

const locations = ['ssl.keystore.location', 'ssl.truststore.location'] as const

/** One that is under way. */
interface Handshake extends PromiseWithResolvers<net.Socket> {
  readonly raw: net.Socket
}

export class TlsListener implements Disposable {
  readonly #values: TlsValues
  readonly #logger: SourceContext['logger']
  readonly #server: tls.Server
  /** By the two ends of the connection. */
  readonly #handshakes = new Map<string, Handshake>()
  readonly #reload = (): void => this.#readAgain()

  private constructor(config: ProxyConfig, logger: SourceContext['logger']) {
    this.#values = valuesOf(config)
    this.#logger = logger
    const clientAuth = config['listener.ssl.client.auth']
    this.#server = tls.createServer({
      ...this.#read(),
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      requestCert: clientAuth !== 'none',
      rejectUnauthorized: clientAuth === 'required'
    })
    this.#server.on('secureConnection', socket => {
      const handshake = this.#handshakeOf(socket)
      // As in Kafka, a client may show none, but not a wrong one.
      if (clientAuth === 'requested' && !socket.authorized && socket.getPeerX509Certificate()) {
        handshake?.reject(distrust(socket))
      } else handshake?.resolve(socket)
    })
    this.#server.on('tlsClientError', (error, socket) => {
      this.#handshakeOf(socket)?.reject(socket.authorizationError ? distrust(socket) : error)
    })
    for (const key of locations) {
      const file = this.#values[key]
      if (file !== undefined) watchFile(file, { interval: LOOK_EVERY_MS, persistent: false }, this.#reload)
    }
  }

  /** Null where clients speak no TLS. Throws CONFIG_INVALID. */
  static open(config: ProxyConfig, logger: SourceContext['logger']): TlsListener | null {
    return config['listener.security.protocol'] === 'PLAINTEXT' ? null : new TlsListener(config, logger)
  }

  /** Does the handshake as the server. Rejects, with what to do as hint, when there is none. */
  async secure(raw: net.Socket): Promise<net.Socket> {
    const ends = endsOf(raw)
    const handshake = { raw, ...Promise.withResolvers<net.Socket>() }
    this.#handshakes.set(ends, handshake)
    // What is wrong with a certificate is told after that.
    const closed = () => setImmediate(() => handshake.reject(new Error('the client closed the connection')))
    raw.once('close', closed)
    // Who closes its side in the handshake gets none; the TLS socket has this from the one below it.
    raw.allowHalfOpen = false
    this.#server.emit('connection', raw)
    try {
      const socket = await handshake.promise
      socket.allowHalfOpen = true
      return socket
    } catch (cause) {
      throw handshakeError(cause)
    } finally {
      raw.off('close', closed)
      this.#handshakes.delete(ends)
    }
  }

  [Symbol.dispose](): void {
    for (const key of locations) {
      const file = this.#values[key]
      if (file !== undefined) unwatchFile(file, this.#reload)
    }
  }

  /** Node tells neither which connection a TLS socket lies on, nor, once it has closed it, where its ends were. */
  #handshakeOf(socket: tls.TLSSocket): Handshake | undefined {
    if (socket.remotePort !== undefined) return this.#handshakes.get(endsOf(socket))
    return this.#handshakes.values().find(({ raw }) => raw.destroyed)
  }

  #read(): tls.SecureContextOptions {
    try {
      return secureContextOptions(this.#values)
    } catch (cause) {
      if (!isMillraceError(cause, 'CONFIG_INVALID')) throw cause
      // It names the key as clients have it.
      throw new MillraceError(cause.code, `listener.${cause.message}`, { cause, hint: cause.hint })
    }
  }

  /** Connections that are open keep what they have; new ones get what the files hold now. */
  #readAgain(): void {
    try {
      this.#server.setSecureContext(this.#read())
      this.#logger.info('the certificates of the listener were read again')
    } catch (error) {
      this.#logger.error({ err: error }, 'the changed certificates of the listener are not used; the old ones stay')
    }
  }
}

function valuesOf(config: ProxyConfig): TlsValues {
  return {
    'ssl.keystore.location': config['listener.ssl.keystore.location'],
    'ssl.keystore.certificate.chain': config['listener.ssl.keystore.certificate.chain'],
    'ssl.keystore.key': config['listener.ssl.keystore.key'],
    'ssl.key.password': config['listener.ssl.key.password'],
    'ssl.truststore.location': config['listener.ssl.truststore.location'],
    'ssl.truststore.certificates': config['listener.ssl.truststore.certificates']
  }
}

/** Why a client's certificate is not trusted. */
function distrust({ authorizationError }: tls.TLSSocket): Error {
  // Typed as an error; it is OpenSSL's name for one.
  const code = String(authorizationError)
  return Object.assign(new Error(code), { code })
}

function endsOf({ remoteAddress, remotePort, localAddress, localPort }: net.Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
}

/** What clients do wrong, by the codes of Node's and OpenSSL's errors. */
const mistakes: readonly (readonly [code: RegExp, hint: string])[] = [
  [
    /^ERR_SSL_(WRONG_VERSION_NUMBER|HTTP_REQUEST|PACKET_LENGTH_TOO_LONG|UNSUPPORTED_PROTOCOL)$/,
    'These are no TLS bytes: the client needs security.protocol SSL or SASL_SSL.'
  ],
  [
    /^ERR_SSL_.*(UNKNOWN_CA|CERTIFICATE_UNKNOWN|BAD_CERTIFICATE|CERTIFICATE_EXPIRED)$/,
    "The client does not believe this listener's certificate: its ssl.truststore.location has to name who signed it, and the certificate advertised.host."
  ],
  [
    /^ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE$/,
    'The client shows no certificate, and listener.ssl.client.auth requires one: it needs ssl.keystore.location.'
  ],
  [
    /^(UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO_|CERT_|INVALID_)/,
    "The client's certificate is not one that listener.ssl.truststore.location trusts."
  ]
]

function handshakeError(cause: unknown): MillraceError {
  const { code = '', reason, message } = cause as { code?: string; reason?: string; message: string }
  const hint = mistakes.find(([pattern]) => pattern.test(code))?.[1]
  // OpenSSL's own messages are lists of its files; the reason is a phrase.
  return new MillraceError('AUTHENTICATION_FAILED', `no TLS with a client: ${reason ?? message}`, { cause, hint })
}
