// Clients of a proxy that speaks TLS, and the certificates of both.
import { once } from 'node:events'
import net from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import tls from 'node:tls'
import { afterAll, beforeAll, expect } from 'vitest'
import { listOffsets } from '../../../src/kafka/messages.ts'
import type { Authority, Certificate } from '../../support/certificates.ts'
import { makeAuthority } from '../../support/certificates.ts'
import { until } from '../../support/until.ts'
import { answerTo, request } from './frames.ts'
import type { Harness, LogLine } from './harness.ts'
import { End } from './harness.ts'

/** A request that passes undecoded, and its answer. */
export const ask = (correlationId: number) => request(listOffsets, 3, correlationId, { topics: [] })
export const answerAsk = (frame: Buffer) => answerTo(listOffsets, frame, { topics: [] })

export interface Certificates {
  readonly authority: Authority
  /** An authority that nobody trusts. */
  readonly stranger: Authority
  /** The proxy's, or a broker's. */
  readonly localhost: Certificate
  readonly client: Certificate
}

/** Certificates for all tests of a file. Call the result inside a test. */
export function useCertificates(): () => Certificates {
  let made: Certificates | undefined
  beforeAll(async () => {
    const [authority, stranger] = [await makeAuthority(), await makeAuthority()]
    const [localhost, client] = [await authority.issue('localhost'), await authority.issue('client')]
    made = { authority, stranger, localhost, client }
  })
  afterAll(async () => {
    await made?.authority[Symbol.asyncDispose]()
    await made?.stranger[Symbol.asyncDispose]()
  })
  return () => made!
}

/** The options of a proxy that shows its certificate. */
export const listener = ({ localhost }: Certificates) => ({
  'listener.security.protocol': 'SSL',
  'listener.ssl.keystore.location': localhost.file
})

/** How a client trusts the proxy, and with `certificate` shows who it is. */
export const trusting = ({ authority }: Certificates, certificate?: Certificate) => ({
  host: '127.0.0.1',
  servername: 'localhost',
  ca: authority.certificate,
  ...(certificate && { key: certificate.key, cert: certificate.chain })
})

/** A client's end of a TLS connection; `before` goes out in front of it. */
export async function secure({ port }: Harness, options: ConnectionOptions, before?: Buffer): Promise<End> {
  const socket = net.connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: true })
  await once(socket, 'connect')
  if (before) socket.write(before)
  return new End(tls.connect({ ...options, socket }))
}

/** The client at `end` asks, and the broker answers. */
export async function roundTrip(harness: Harness, end: End, id = 1): Promise<void> {
  const broker = await harness.accepted()
  end.send(ask(id))
  broker.send(answerAsk(await broker.next()))
  expect((await end.next()).readInt32BE(4)).toBe(id)
}

/** The first line that the log has above information. */
export async function warned({ logs }: Harness): Promise<LogLine> {
  const lines = () => logs.filter(({ level }) => Number(level) >= 40)
  await until(() => lines().length > 0, { what: 'a line in the log', interval: 1 })
  return lines()[0]!
}
