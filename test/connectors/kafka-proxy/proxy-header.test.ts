// The PROXY header: the examples and worst cases of haproxy's proxy-protocol.txt, bytes written by hand, and what breaks its rules.
import { describe, expect, test } from 'vitest'
import { readProxyHeader } from '../../../connectors/kafka-proxy/proxy-header.ts'
import { thrown } from '../../support/thrown.ts'

const text = (line: string) => Buffer.from(line, 'latin1')
const hex = (...parts: string[]) => Buffer.from(parts.join('').replaceAll(' ', ''), 'hex')
const signature = '0d0a0d0a 000d0a51 5549540a'
/** 192.0.2.1:56324 to 198.51.100.7:9092. */
const tcp4 = 'c0000201 c6336407 dc04 2384'
/** [2001:db8::1]:56324 to [2001:db8::7]:9092. */
const tcp6 = '20010db8000000000000000000000001 20010db8000000000000000000000007 dc04 2384'
/** What AWS' network load balancer sends for a VPC endpoint: a CRC-32C, the endpoint's id as an extension of its own, and NOOP. */
const ofAws = (addresses: string, sum: string, id: string) => {
  const extensions = ['03 0004', sum, 'ea 0017 01', Buffer.from(id).toString('hex'), '04 0024', '00'.repeat(36)]
  return hex(signature, '21 11 0054', addresses, ...extensions)
}
// Captured there: aws/elastic-load-balancing-tools and pires/go-proxyproto have them in their tests.
const aws = [
  ofAws('ac1f0771 ac1f0a1f c8f2 0050', 'e8d6892d', 'vpce-08d2bf15fac5001c9'),
  ofAws('c0a82c0a c0a82c07 cc3e 241b', 'b9286fa6', 'vpce-00eafc458ec97b833')
] as const
const unix = '2f'.repeat(216)
const longest = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'

/** Kafka's ApiVersions as a client would send it behind the header. */
const behind = hex('00000010 0012 0000 00000001 0004 74657374')

const headers: [name: string, header: Buffer, source: { host: string; port: number } | null][] = [
  ['1: the example', text('PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n'), { host: '192.168.0.1', port: 56324 }],
  ['1: the longest of TCP4', text('PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n'), { host: '255.255.255.255', port: 65535 }],
  ['1: the longest of TCP6', text(`PROXY TCP6 ${longest} ${longest} 65535 65535\r\n`), { host: longest, port: 65535 }],
  ['1: TCP6', text('PROXY TCP6 2001:db8::1 2001:db8::7 56324 9092\r\n'), { host: '2001:db8::1', port: 56324 }],
  ['1: unknown', text('PROXY UNKNOWN\r\n'), null],
  ['1: unknown, with all that may stand there', text(`PROXY UNKNOWN ${longest} ${longest} 65535 65535\r\n`), null],
  ['2: TCP4', hex(signature, '21 11 000c', tcp4), { host: '192.0.2.1', port: 56324 }],
  ['2: TCP6', hex(signature, '21 21 0024', tcp6), { host: '2001:db8::1', port: 56324 }],
  // PP2_TYPE_NOOP of two bytes, and one of a cloud's own (0xEA) behind it.
  ['2: TCP4 with extensions', hex(signature, '21 11 0015', tcp4, '04 0002 0000 ea 0001 01'), { host: '192.0.2.1', port: 56324 }],
  ['2: TCP4 with a checksum', aws[0], { host: '172.31.7.113', port: 51442 }],
  ['2: TCP4 with another checksum', aws[1], { host: '192.168.44.10', port: 52286 }],
  ['2: TCP6 with extensions', hex(signature, '21 21 0027', tcp6, '04 0000'), { host: '2001:db8::1', port: 56324 }],
  ['2: LOCAL, as a health check has it', hex(signature, '20 00 0000'), null],
  ['2: LOCAL with addresses, which mean nothing', hex(signature, '20 11 000c', tcp4), null],
  ['2: LOCAL with what is no extension', hex(signature, '20 11 0013', tcp4, '03 0004 00000000'), null],
  ['2: UNSPEC', hex(signature, '21 00 0000'), null],
  ['2: UNSPEC with something behind it, which means nothing', hex(signature, '21 00 0007', '03 0004 00000000'), null],
  ['2: TCP4 without its transport', hex(signature, '21 10 0003', '03 00ff'), null],
  ['2: UDP over IPv4', hex(signature, '21 12 000c', tcp4), null],
  ['2: UDP over IPv6', hex(signature, '21 22 0024', tcp6), null],
  ['2: a Unix socket', hex(signature, '21 31 00d8', unix), null],
  ['2: a Unix socket for datagrams, with an extension', hex(signature, '21 32 00db', unix, '04 0000'), null]
] // biome-ignore format: one line each

describe.each(headers)('%s', (_, header, source) => {
  test('is read, and what follows is left alone', () => {
    expect(readProxyHeader(header)).toEqual({ bytes: header.length, source })
    expect(readProxyHeader(Buffer.concat([header, behind]))).toEqual({ bytes: header.length, source })
  })

  test('is waited for, wherever it is cut', () => {
    for (let cut = 0; cut < header.length; cut++) {
      expect(readProxyHeader(header.subarray(0, cut)), `${cut} bytes`).toBeNull()
    }
  })
})

test('the longest line has 107 bytes', () => {
  expect(headers.map(([, header]) => header.length).filter(length => length === 107)).toHaveLength(1)
})

describe('none', () => {
  test.each([
    ['Kafka', behind],
    ['TLS', hex('16030100c8010000c40303')],
    ['HTTP', text('GET / HTTP/1.1\r\n')],
    ['HTTP, which begins alike', text('PUT / HTTP/1.1\r\n')],
    ['a word that begins alike', text('PROXIES')],
    ['bytes that begin alike', hex('0d0a0d0a 000d0a51 5549540b')]
  ])('%s', (_, bytes) => {
    expect(readProxyHeader(bytes)).toBeUndefined()
  })
})

describe('one that cannot be', () => {
  const worst = 'x'.repeat(200)
  test.each([
    ['1: no end in 107 bytes', text(`PROXY UNKNOWN ${worst}`)],
    ['1: an end behind them', text(`PROXY UNKNOWN ${worst.slice(0, 92)}\r\n`)],
    ['1: no family', text('PROXY \r\n')],
    ['1: another family', text('PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n')],
    ['1: an address of the other family', text('PROXY TCP4 2001:db8::1 1.2.3.4 1 2\r\n')],
    ['1: a name in place of an address', text('PROXY TCP4 localhost 1.2.3.4 1 2\r\n')],
    ['1: an address with a port', text('PROXY TCP4 1.2.3.4:1 1.2.3.4 1 2\r\n')],
    ['1: a port too high', text('PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n')],
    ['1: a negative port', text('PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n')],
    ['1: no ports', text('PROXY TCP4 1.2.3.4 1.2.3.4\r\n')],
    ['1: too many words', text('PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n')],
    ['1: two spaces', text('PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n')],
    ['2: another version', hex(signature, '31 11 000c', tcp4)],
    ['2: another command', hex(signature, '22 11 000c', tcp4)],
    ['2: another family', hex(signature, '21 41 000c', tcp4)],
    ['2: another transport', hex(signature, '21 13 000c', tcp4)],
    ['2: too short for TCP4', hex(signature, '21 11 000b', tcp4)],
    ['2: too short for TCP6', hex(signature, '21 21 0023', tcp6)],
    ['2: too short for UDP over IPv4', hex(signature, '21 12 000b', tcp4)],
    ['2: too short for a Unix socket', hex(signature, '21 31 00d7', unix)],
    ['2: an extension without its length', hex(signature, '21 11 000e', tcp4, '04 00')],
    ['2: an extension beyond the end', hex(signature, '21 11 0011', tcp4, '04 0003 0000')],
    ['2: a second one beyond the end', hex(signature, '21 11 0014', tcp4, '04 0001 00 04 0002 00')],
    ['2: the same of a Unix socket', hex(signature, '21 31 00da', unix, '04 00')],
    ['2: a checksum of two bytes', hex(signature, '21 11 0011', tcp4, '03 0002 0000')],
    ['2: a checksum of another header', hex(signature, '21 11 0013', tcp4, '03 0004 e8d6892d')],
    ['2: longer than any balancer sends, at its start', hex(signature, '21 11 ffff')]
  ])('%s', (_, bytes) => {
    expect(thrown(() => readProxyHeader(bytes))).toMatchObject({ code: 'WIRE_CORRUPT' })
  })
})

test('whatever is changed behind the head, the checksum tells', () => {
  const [header] = aws
  const type = 28
  for (let bit = 8 * 16; bit < 8 * header.length; bit++) {
    if (bit >> 3 === type) continue // then there is none
    const flipped = Buffer.from(header)
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    expect(
      thrown(() => readProxyHeader(flipped)),
      `bit ${bit}`
    ).toMatchObject({ code: 'WIRE_CORRUPT' })
  }
})
