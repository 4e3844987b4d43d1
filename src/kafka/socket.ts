// The socket of a connection to a broker, plain or TLS, and what to do where there is none.
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import { isMillraceError, MillraceError } from '../errors.ts'
import type { Address } from './address.ts'
import { formatAddress } from './address.ts'
import type { Security } from './security.ts'

const CONNECT_TIMEOUT_MS = 10_000

/** Connects, with TLS where that is wanted. Throws BROKER_UNREACHABLE, AUTHENTICATION_FAILED. */
export async function openSocket(address: Address, security: Security): Promise<net.Socket> {
  const { host, port } = address
  const servername = net.isIP(host) === 0 ? { servername: host } : {}
  const socket = security.tls
    ? tls.connect({ host, port, ...servername, ...security.tls })
    : net.connect({ host, port })
  socket.setNoDelay(true).setKeepAlive(true)
  try {
    await once(socket, security.tls ? 'secureConnect' : 'connect', { signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) })
    return socket
  } catch (error) {
    socket.destroy()
    const cause = isTimeout(error) ? new NoAnswer('no answer in time') : error
    throw connectionError(address, cause, security)
  }
}

/** What a user is told of a connection that could not be made, or broke. */
export function connectionError(address: Address, cause: unknown, security: Security): MillraceError {
  // Whoever authenticates says it all; bytes that are no Kafka message say nothing of what is there instead.
  if (isMillraceError(cause) && cause.code !== 'WIRE_CORRUPT') return cause
  const { code, hint } = diagnosis(cause, security)
  return new MillraceError(code, `broker ${formatAddress(address)}: ${reasonOf(cause)}`, { cause, hint })
}

/** A request was not answered in its time, or no connection taken. */
export class NoAnswer extends Error {}

/** Whether a broker was waited for in vain: it may be frozen, or its packets dropped. */
export function isSilence(error: unknown): boolean {
  return (error as Error).cause instanceof NoAnswer
}

interface Diagnosis {
  readonly code: 'BROKER_UNREACHABLE' | 'AUTHENTICATION_FAILED'
  readonly hint: string
}

/** By the codes of Node's and OpenSSL's errors. */
const diagnoses: readonly (readonly [code: RegExp, hint: string])[] = [
  [
    /^(UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO_|CERT_UNTRUSTED|INVALID_CA)/,
    "Name the authority that signed the broker's certificate with ssl.truststore.location."
  ],
  [
    /^(ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH)/,
    'Name the broker as its certificate does; or, where that cannot be, let ssl.endpoint.identification.algorithm be empty.'
  ],
  [
    /^CERT_(HAS_EXPIRED|NOT_YET_VALID)/,
    "The broker's certificate has to be renewed, or this machine's clock is wrong."
  ],
  [
    /^ERR_SSL_.*(ALERT_(BAD_CERTIFICATE|CERTIFICATE_|UNKNOWN_CA|UNSUPPORTED_CERTIFICATE|HANDSHAKE_FAILURE)|CERTIFICATE_REQUIRED)/,
    'The broker asks for a certificate that it trusts: name it and its key with ssl.keystore.location.'
  ]
]

function diagnosis(cause: unknown, { protocol, tls }: Security): Diagnosis {
  const { code = '' } = cause as { code?: string }
  const known = diagnoses.find(([pattern]) => pattern.test(code))
  if (known !== undefined) return { code: 'AUTHENTICATION_FAILED', hint: known[1] }
  const others = tls
    ? 'One that asks for a certificate of ours needs ssl.keystore.location.'
    : 'Where it is another, name it with security.protocol.'
  const hint = `Is the broker up, and is this the address of a ${protocol} listener? ${others}`
  return { code: 'BROKER_UNREACHABLE', hint }
}

function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause)
  if (isTimeout(cause)) return 'no answer in time'
  // OpenSSL's own messages are lists of its files; the reason is a phrase.
  if (
    'reason' in cause &&
    typeof cause.reason === 'string' &&
    /^ERR_SSL_/.test(String((cause as { code?: unknown }).code))
  ) {
    return `TLS: ${cause.reason}`
  }
  // Node adds advice about its own flags.
  return cause.message.split(';')[0]!
}

function isTimeout(cause: unknown): boolean {
  return cause instanceof Error && [cause, cause.cause].some(one => (one as Error | undefined)?.name === 'TimeoutError')
}
