// Addresses as users write them: host:port, with IPv6 hosts in brackets.
import { MillraceError } from '../errors.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

/** Parses `host:port`. Throws CONFIG_INVALID. */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text.trim())
  const port = Number(match?.[3])
  if (!match || port > 65535) {
    throw new MillraceError('CONFIG_INVALID', `must be host:port (got ${JSON.stringify(text)})`)
  }
  return { host: (match[1] ?? match[2])!, port }
}

/** `host:port` of an address, with an IPv6 host in brackets. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
