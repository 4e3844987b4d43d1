// One client connection to one broker: requests go out in order, answers come back in order.
import type net from 'node:net'
import { MillraceError } from '../errors.ts'
import type { Address } from './address.ts'
import { formatAddress } from './address.ts'
import type { Api, RequestOf, ResponseOf } from './api.ts'
import { Cursor } from './cursor.ts'
import { collectFrames, RESPONSE_HEAD_BYTES } from './frames.ts'
import { requestFrame, responseBodyStart } from './headers.ts'
import { KafkaError } from './kafka-errors.ts'
import { apiVersions } from './messages.ts'
import { authenticate } from './sasl.ts'
import type { Security } from './security.ts'
import { PLAINTEXT } from './security.ts'
import { connectionError, NoAnswer, openSocket } from './socket.ts'
import { int16 } from './wire.ts'

interface Waiter {
  readonly correlationId: number
  readonly resolve: (frame: Buffer) => void
  readonly reject: (error: unknown) => void
}

export interface RequestOptions {
  /** The highest that both sides speak, unless told. */
  readonly version?: number
  readonly timeoutMs?: number
}

const REQUEST_TIMEOUT_MS = 30_000
/** A session is renewed when so much of it is over, as Kafka's clients do at the earliest. */
const SESSION_USED_FOR = 0.85

export class Connection implements Disposable {
  readonly address: Address
  readonly #socket: net.Socket
  readonly #clientId: string
  readonly #security: Security
  readonly #waiting: Waiter[] = []
  #versions = new Map<number, { min: number; max: number }>()
  #nextCorrelationId = 0
  #failure: MillraceError | null = null
  /** The last authentication, perhaps under way, and when the next one is due. */
  #authenticated: Promise<void> = Promise.resolve()
  #authenticateAt = Number.POSITIVE_INFINITY

  private constructor(address: Address, socket: net.Socket, clientId: string, security: Security) {
    this.address = address
    this.#socket = socket
    this.#clientId = clientId
    this.#security = security
    const frames = collectFrames(frame => this.#receive(frame), RESPONSE_HEAD_BYTES)
    socket.on('data', (data: Buffer) => {
      try {
        frames.push(data)
      } catch (cause) {
        this.#fail(cause)
      }
    })
    socket.on('error', cause => this.#fail(cause))
    socket.on('close', () => this.#fail(new Error('the broker closed the connection')))
  }

  /**
   * Connects, learns which versions the broker speaks, and says who we are. Throws BROKER_UNREACHABLE, AUTHENTICATION_FAILED,
   * WIRE_CORRUPT.
   */
  static async open(address: Address, clientId: string, security: Security = PLAINTEXT): Promise<Connection> {
    const socket = await openSocket(address, security)
    const connection = new Connection(address, socket, clientId, security)
    try {
      await connection.#learnVersions()
      await connection.#authenticate()
      return connection
    } catch (error) {
      connection[Symbol.dispose]()
      throw error
    }
  }

  get closed(): boolean {
    return this.#failure !== null
  }

  /** Why it is closed; null while it is open. */
  get failure(): MillraceError | null {
    return this.#failure
  }

  /** Whether the broker has an API at all. */
  offers(api: Api): boolean {
    return this.#versions.has(api.key)
  }

  /** The highest version of an API that both sides speak. Throws BROKER_ERROR when there is none. */
  version(api: Api): number {
    const [min, max] = api.versions
    const broker = this.#versions.get(api.key)
    const version = Math.min(max, broker?.max ?? -1)
    if (broker === undefined || version < Math.max(min, broker.min)) {
      throw new MillraceError('BROKER_ERROR', `${formatAddress(this.address)} does not speak ${api.name} as we do`, {
        hint: `Millrace speaks ${api.name} ${min} to ${max}; the broker ${broker ? `${broker.min} to ${broker.max}` : 'not at all'}.`
      })
    }
    return version
  }

  /**
   * Sends one request and decodes its answer; error codes in it are the caller's to read. Throws BROKER_UNREACHABLE,
   * AUTHENTICATION_FAILED, WIRE_CORRUPT.
   */
  async request<A extends Api>(api: A, body: RequestOf<A>, options: RequestOptions = {}): Promise<ResponseOf<A>> {
    if (performance.now() >= this.#authenticateAt) {
      // Whoever asks meanwhile waits for the same.
      this.#authenticateAt = Number.POSITIVE_INFINITY
      this.#authenticated = this.#authenticate()
    }
    await this.#authenticated
    return await this.#ask(api, body, options)
  }

  [Symbol.dispose](): void {
    this.#fail(new Error('the connection was closed'))
  }

  /** Brokers tell how long it holds, and take it anew on the same connection (KIP-368). */
  async #authenticate(): Promise<void> {
    const { sasl } = this.#security
    if (sasl === undefined) return
    const started = performance.now()
    try {
      const where = formatAddress(this.address)
      const lifetimeMs = await authenticate(sasl, where, (api, body) => this.#ask(api, body))
      if (lifetimeMs > 0) this.#authenticateAt = started + lifetimeMs * SESSION_USED_FOR
    } catch (error) {
      this.#fail(error)
      throw error
    }
  }

  async #ask<A extends Api>(
    api: A,
    body: RequestOf<A>,
    { version = this.version(api), timeoutMs = REQUEST_TIMEOUT_MS }: RequestOptions = {}
  ): Promise<ResponseOf<A>> {
    const frame = await this.#send(api, version, api.request.encode(body, version), timeoutMs)
    return api.response.decode(frame, version, responseBodyStart(frame, api, version)) as ResponseOf<A>
  }

  async #learnVersions(): Promise<void> {
    // A broker that does not know our version answers in version 0 with error 35, which version 0 can read.
    const client = { clientSoftwareName: 'millrace', clientSoftwareVersion: '0' }
    const frame = await this.#send(apiVersions, 3, apiVersions.request.encode(client, 3), REQUEST_TIMEOUT_MS)
    const error = int16.read(new Cursor(frame, RESPONSE_HEAD_BYTES), { version: 3, flexible: true })
    const fallback = error === KafkaError.UNSUPPORTED_VERSION
    const answer = fallback
      ? await this.#ask(apiVersions, {}, { version: 0 })
      : apiVersions.response.decode(frame, 3, RESPONSE_HEAD_BYTES)
    this.#versions = new Map(answer.apiKeys.map(k => [k.apiKey, { min: k.minVersion, max: k.maxVersion }]))
  }

  async #send(api: Api, version: number, body: Buffer, timeoutMs: number): Promise<Buffer> {
    if (this.#failure) throw this.#failure
    const correlationId = this.#nextCorrelationId++ & 0x7fffffff
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
    this.#waiting.push({ correlationId, resolve, reject })
    this.#socket.write(requestFrame(api, version, correlationId, this.#clientId, body))
    const late = () => this.#fail(new NoAnswer(`${api.name} was not answered in ${timeoutMs} ms`))
    const timer = setTimeout(late, timeoutMs)
    try {
      return await promise
    } finally {
      clearTimeout(timer)
    }
  }

  #receive(frame: Buffer): void {
    const waiter = this.#waiting.shift()
    if (waiter?.correlationId !== frame.readInt32BE(4)) {
      this.#fail(new Error('an answer came that belongs to no request'))
      waiter?.reject(this.#failure)
    } else {
      waiter.resolve(frame)
    }
  }

  #fail(cause: unknown): void {
    if (this.#failure) return
    this.#failure = connectionError(this.address, cause, this.#security)
    this.#socket.destroy()
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure)
  }
}
