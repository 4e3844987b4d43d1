// The header in which a load balancer says who its client is: PROXY protocol, versions 1 and 2.
// Source: doc/proxy-protocol.txt of haproxy.
import net from 'node:net'
import { crc32c } from '@node-rs/crc32'
import { MillraceError } from 'millrace/connect'
import type { Address } from 'millrace/kafka'

export interface ProxyHeader {
  /** Bytes of the header; what follows is the client's. */
  readonly bytes: number
  /** Null where the balancer speaks for itself, as for a health check, or does not know. */
  readonly source: Address | null
}

/** A text header is no longer, its CRLF included. */
const V1_MAX_BYTES = 107
const V1_START = Buffer.from('PROXY ')
const V2_START = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const V2_HEAD_BYTES = 16
/** Addresses take 216 bytes at most; extensions follow, of which balancers send a few hundred. As nginx has it. */
const V2_MAX_BYTES = 4096

/**
 * Reads the header that `data` begins with: undefined when there is none, null when more is needed to tell. Throws
 * WIRE_CORRUPT for a header that is not as it should be.
 */
export function readProxyHeader(data: Buffer): ProxyHeader | null | undefined {
  for (const [start, read] of [
    [V1_START, readText],
    [V2_START, readBinary]
  ] as const) {
    const known = Math.min(data.length, start.length)
    if (data.compare(start, 0, known, 0, known) === 0) return known < start.length ? null : read(data)
  }
  return undefined
}

function readText(data: Buffer): ProxyHeader | null {
  const end = data.subarray(0, V1_MAX_BYTES).indexOf('\r\n')
  if (end < 0) {
    if (data.length < V1_MAX_BYTES) return null
    throw corrupt(`a first line of more than ${V1_MAX_BYTES} bytes`)
  }
  const bytes = end + 2
  const line = data.toString('latin1', 0, end)
  const [, family, host = '', to = '', port = '', toPort = '', ...more] = line.split(' ')
  if (family === 'UNKNOWN') return { bytes, source: null }
  const version = family === 'TCP4' ? 4 : family === 'TCP6' ? 6 : 0
  const isValid =
    version > 0 &&
    [host, to].every(address => net.isIP(address) === version) &&
    [port, toPort].every(number => /^\d{1,5}$/.test(number) && Number(number) <= 65535) &&
    more.length === 0
  if (!isValid) throw corrupt(`the line ${JSON.stringify(line)}`)
  return { bytes, source: { host, port: Number(port) } }
}

/** What the two addresses take, by family and transport. Of any other pair nothing is known of what stands there. */
const addressBytes: Readonly<Record<number, number>> = { 17: 12, 18: 12, 33: 36, 34: 36, 49: 216, 50: 216 }
/** The length of a host, of TCP over IP alone: what the address says of anything else is of no use here. */
const hostBytes: Readonly<Record<number, number>> = { 17: 4, 33: 16 }

function readBinary(data: Buffer): ProxyHeader | null {
  if (data.length < V2_HEAD_BYTES) return null
  const [version, command] = [data[12]! >> 4, data[12]! & 15]
  const [family, transport] = [data[13]! >> 4, data[13]! & 15]
  if (version !== 2 || command > 1) throw corrupt(`version ${version}, command ${command}`)
  if (family > 3 || transport > 2) throw corrupt(`address family ${family}, transport ${transport}`)
  const bytes = V2_HEAD_BYTES + data.readUInt16BE(14)
  if (bytes > V2_MAX_BYTES) throw corrupt(`${bytes} bytes (limit ${V2_MAX_BYTES})`)
  // LOCAL is accepted whatever follows, extensions too; so is what has no family, of which nobody knows where they begin.
  const addresses = command === 1 ? addressBytes[data[13]!] : undefined
  if (addresses !== undefined && bytes < V2_HEAD_BYTES + addresses)
    throw corrupt(`${bytes} bytes, too few for its addresses`)
  if (data.length < bytes) return null
  if (addresses === undefined) return { bytes, source: null }
  checkExtensions(data.subarray(0, bytes), V2_HEAD_BYTES + addresses)
  const size = hostBytes[data[13]!]
  if (size === undefined) return { bytes, source: null }
  const address = data.subarray(V2_HEAD_BYTES, V2_HEAD_BYTES + size)
  return { bytes, source: { host: textOf(address), port: data.readUInt16BE(V2_HEAD_BYTES + 2 * size) } }
}

const CRC32C = 3

/** Walks through the extensions (type, length, value), and checks the checksum where there is one. Throws WIRE_CORRUPT. */
function checkExtensions(header: Buffer, start: number): void {
  for (let at = start; at < header.length; ) {
    const value = at + 3
    const size = value <= header.length ? header.readUInt16BE(at + 1) : 0
    if (value + size > header.length) throw corrupt('its last extension is cut short')
    if (header[at] === CRC32C) checkSum(header, value, size)
    at = value + size
  }
}

/** The checksum is that of the whole header, with zeros in its own place. Big-endian, as haproxy has it. */
function checkSum(header: Buffer, at: number, size: number): void {
  if (size !== 4) throw corrupt(`a CRC-32C of ${size} bytes`)
  const told = header.readUInt32BE(at)
  const actual = crc32c(Buffer.from(header).fill(0, at, at + size))
  if (told !== actual) throw corrupt(`its CRC-32C is ${hex(told)}, its bytes have ${hex(actual)}`)
}

function hex(sum: number): string {
  return sum.toString(16).padStart(8, '0')
}

function textOf(address: Buffer): string {
  if (address.length === 4) return address.join('.')
  const groups = Array.from({ length: 8 }, (_, i) => address.readUInt16BE(2 * i).toString(16))
  return new net.SocketAddress({ family: 'ipv6', address: groups.join(':') }).address
}

function corrupt(what: string): MillraceError {
  return new MillraceError('WIRE_CORRUPT', `a PROXY header that cannot be: ${what}`)
}
