// The proxy's connections to brokers, one for each client.
import { once } from 'node:events'
import net from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import tls from 'node:tls'
import { MillraceError } from 'millrace/connect'
import type { Address } from 'millrace/kafka'
import { connectionError } from 'millrace/kafka'
import type { FirstAnswers } from './first-answers.ts'

const CONNECT_TIMEOUT_MS = 10_000

/** A machine that has vanished is noticed: Linux asks after two hours unless told, and then nine times more. */
export const keepAlive = { keepAlive: true, keepAliveInitialDelay: 60_000 }

export interface Upstream {
  readonly socket: net.Socket
  readonly address: Address
}

/** Connects to the first that can be reached, half open as the client's side is. Throws BROKER_UNREACHABLE, AUTHENTICATION_FAILED of the last. */
export async function connectUpstream(
  candidates: readonly Address[],
  security: ConnectionOptions | undefined,
  firstAnswers: FirstAnswers
): Promise<Upstream> {
  let failure: unknown
  for (const address of candidates) {
    const { host, port } = address
    const signal = AbortSignal.timeout(CONNECT_TIMEOUT_MS)
    const connected = firstAnswers.wait(address)
    let socket = net.connect({ host, port, noDelay: true, ...keepAlive, allowHalfOpen: true })
    try {
      await once(socket, 'connect', { signal })
      if (security === undefined) return { socket, address }
      // An address has no name to be asked for (RFC 6066), but the certificate has to name it.
      socket = tls.connect({ ...security, socket, host, servername: net.isIP(host) ? '' : host })
      await once(socket, 'secureConnect', { signal })
      return { socket, address }
    } catch (error) {
      socket.destroy()
      failure = upstreamError(address, error, security)
    } finally {
      connected()
    }
  }
  throw failure ?? new MillraceError('BROKER_UNREACHABLE', 'no address is known')
}

/** What a user is told of a broker that could not be reached, or is gone. */
export function upstreamError(
  address: Address,
  cause: unknown,
  security: ConnectionOptions | undefined
): MillraceError {
  // Whether there is SASL is between the client and the broker.
  return connectionError(address, cause, { protocol: security ? 'SSL' : 'PLAINTEXT', tls: security, sasl: undefined })
}
