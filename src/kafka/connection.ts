// One client connection to one broker: requests go out in order, answers come back in order.

import { once } from 'node:events'
import net from 'node:net'
import { MillraceError } from '../errors.ts'
import type { Address } from './address.ts'
import { formatAddress } from './address.ts'
import type { Api, RequestOf, ResponseOf } from './api.ts'
import { Cursor } from './cursor.ts'
import { collectFrames, RESPONSE_HEAD_BYTES } from './frames.ts'
import { requestFrame, responseBodyStart } from './headers.ts'
import { KafkaError } from './kafka-errors.ts'
import { apiVersions } from './messages.ts'
import { int16 } from './wire.ts'

interface Waiter {
  readonly correlationId: number
  readonly resolve: (frame: Buffer) => void
  readonly reject: (error: unknown) => void
}

const CONNECT_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 30_000

export class Connection implements Disposable {
  readonly address: Address
  readonly #socket: net.Socket
  readonly #clientId: string
  readonly #waiting: Waiter[] = []
  #versions = new Map<number, { min: number; max: number }>()
  #nextCorrelationId = 0
  #failure: MillraceError | null = null

  private constructor(address: Address, socket: net.Socket, clientId: string) {
    this.address = address
    this.#socket = socket
    this.#clientId = clientId
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

  /** Connects and learns which versions the broker speaks. Throws BROKER_UNREACHABLE, WIRE_CORRUPT. */
  static async open(address: Address, clientId: string): Promise<Connection> {
    const socket = net.connect({ host: address.host, port: address.port, noDelay: true, keepAlive: true })
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) })
    } catch (cause) {
      socket.destroy()
      throw unreachable(address, cause)
    }
    const connection = new Connection(address, socket, clientId)
    try {
      await connection.#learnVersions()
      return connection
    } catch (error) {
      connection[Symbol.dispose]()
      throw error
    }
  }

  get closed(): boolean {
    return this.#failure !== null
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

  /** Sends one request and decodes its answer; error codes in it are the caller's to read. Throws BROKER_UNREACHABLE, WIRE_CORRUPT. */
  async request<A extends Api>(
    api: A,
    body: RequestOf<A>,
    { version = this.version(api), timeoutMs = REQUEST_TIMEOUT_MS }: { version?: number; timeoutMs?: number } = {}
  ): Promise<ResponseOf<A>> {
    const frame = await this.#send(api, version, api.request.encode(body, version), timeoutMs)
    return api.response.decode(frame, version, responseBodyStart(frame, api, version)) as ResponseOf<A>
  }

  [Symbol.dispose](): void {
    this.#fail(new Error('the connection was closed'))
  }

  async #learnVersions(): Promise<void> {
    // A broker that does not know our version answers in version 0 with error 35, which version 0 can read.
    const client = { clientSoftwareName: 'millrace', clientSoftwareVersion: '0' }
    const frame = await this.#send(apiVersions, 3, apiVersions.request.encode(client, 3), REQUEST_TIMEOUT_MS)
    const error = int16.read(new Cursor(frame, RESPONSE_HEAD_BYTES), { version: 3, flexible: true })
    const fallback = error === KafkaError.UNSUPPORTED_VERSION
    const answer = fallback
      ? await this.request(apiVersions, {}, { version: 0 })
      : apiVersions.response.decode(frame, 3, RESPONSE_HEAD_BYTES)
    this.#versions = new Map(answer.apiKeys.map(k => [k.apiKey, { min: k.minVersion, max: k.maxVersion }]))
  }

  async #send(api: Api, version: number, body: Buffer, timeoutMs: number): Promise<Buffer> {
    if (this.#failure) throw this.#failure
    const correlationId = this.#nextCorrelationId++ & 0x7fffffff
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
    this.#waiting.push({ correlationId, resolve, reject })
    this.#socket.write(requestFrame(api, version, correlationId, this.#clientId, body))
    const timer = setTimeout(() => this.#fail(new Error(`${api.name} was not answered in ${timeoutMs} ms`)), timeoutMs)
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
    this.#failure = unreachable(this.address, cause)
    this.#socket.destroy()
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure)
  }
}

function unreachable(address: Address, cause: unknown): MillraceError {
  const reason =
    cause instanceof Error && cause.name === 'TimeoutError' ? 'no answer in time' : String((cause as Error).message)
  return new MillraceError('BROKER_UNREACHABLE', `broker ${formatAddress(address)}: ${reason}`, {
    cause,
    hint: 'Is the broker up, and is this the address of a PLAINTEXT listener?'
  })
}
