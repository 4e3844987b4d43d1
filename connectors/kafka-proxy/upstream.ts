// The proxy's connections to brokers, one for each client.
import dns from 'node:dns/promises'
import { once } from 'node:events'
import net from 'node:net'
import os from 'node:os'
import type { ConnectionOptions } from 'node:tls'
import tls from 'node:tls'
import { MillraceError } from 'millrace/connect'
import type { Address } from 'millrace/kafka'
import { connectionError, formatAddress } from 'millrace/kafka'
import type { FirstAnswers } from './first-answers.ts'

const CONNECT_TIMEOUT_MS = 10_000

/** A machine that has vanished is noticed: Linux asks after two hours unless told, and then nine times more. */
export const keepAlive = { keepAlive: true, keepAliveInitialDelay: 60_000 }

/** Who connects. */
export interface Dialer {
  readonly firstAnswers: FirstAnswers
  /** Whether this is where a port of ours is: a connection to it would go round without end. */
  isOwn(address: Address): Promise<boolean>
}

export interface Upstream {
  readonly socket: net.Socket
  readonly address: Address
}

/** Connects to the first that can be reached, half open as the client's side is. Throws BROKER_UNREACHABLE, AUTHENTICATION_FAILED of the last. */
export async function connectUpstream(
  candidates: readonly Address[],
  security: ConnectionOptions | undefined,
  dialer: Dialer
): Promise<Upstream> {
  let failure: unknown
  for (const address of candidates) {
    const { host, port } = address
    if (await dialer.isOwn(address)) {
      failure = roundabout(address)
      continue
    }
    const signal = AbortSignal.timeout(CONNECT_TIMEOUT_MS)
    const connected = dialer.firstAnswers.wait(address)
    let socket: net.Socket | undefined
    try {
      socket = net.connect({ host, port, noDelay: true, ...keepAlive, allowHalfOpen: true })
      await once(socket, 'connect', { signal })
      if (security === undefined) return { socket, address }
      // An address has no name to be asked for (RFC 6066), but the certificate has to name it.
      socket = tls.connect({ ...security, socket, host, servername: net.isIP(host) ? '' : host })
      await once(socket, 'secureConnect', { signal })
      return { socket, address }
    } catch (error) {
      socket?.destroy()
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

/** Whether to listen on this is to listen on all addresses that the machine has. */
export function isAny(listen: string): boolean {
  return listen === '0.0.0.0' || listen === '::'
}

/** Whether a name, or an address, leads to where this machine listens. */
export async function isListenedOn(host: string, listen: string): Promise<boolean> {
  const addressesOf = (name: string) =>
    dns.lookup(name, { all: true }).then(
      found => found.map(({ address }) => address),
      () => [] // the connection will say it
    )
  const interfaces = Object.values(os.networkInterfaces()).flatMap(all => all ?? [])
  const listening = isAny(listen) ? interfaces.map(({ address }) => address) : await addressesOf(listen)
  return (await addressesOf(host)).some(address => listening.includes(address))
}

function roundabout(address: Address): MillraceError {
  const what = `the broker is said to be at ${formatAddress(address)}, where the proxy is`
  const hint =
    "advertised.listeners of a broker are its own addresses, not the proxy's: clients are told those by the proxy."
  return new MillraceError('BROKER_UNREACHABLE', what, { hint })
}
