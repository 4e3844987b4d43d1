// How our own connections name a broker in the TLS handshake (SNI): as a real TLS server hears it.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import tls from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { clusterSecurity } from '../../src/kafka/security.ts'
import { openSocket } from '../../src/kafka/socket.ts'
import type { Authority } from '../support/certificates.ts'
import { makeAuthority } from '../support/certificates.ts'

let authority: Authority
beforeAll(async () => void (authority = await makeAuthority()))
afterAll(() => authority[Symbol.asyncDispose]())

test.each([
  ['a host name is named', 'localhost', 'https', ['localhost']],
  ['an address is not', '127.0.0.1', '', []]
] as const)('%s', async (_, host, algorithm, expected) => {
  const { key, chain } = await authority.issue('localhost')
  const names: string[] = []
  const SNICallback: tls.TlsOptions['SNICallback'] = (name, done) => {
    names.push(name)
    done(null)
  }
  const server = tls.createServer({ key, cert: chain, SNICallback })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const security = clusterSecurity({
    'security.protocol': 'SSL',
    'ssl.truststore.location': authority.file,
    // The certificate does not name the address.
    'ssl.endpoint.identification.algorithm': algorithm
  })
  try {
    const accepted = once(server, 'secureConnection')
    const socket = await openSocket({ host, port: (server.address() as AddressInfo).port }, security)
    const [{ servername }] = (await accepted) as [tls.TLSSocket]
    expect(names).toEqual(expected)
    expect(servername).toBe(expected[0] ?? false)
    socket.destroy()
  } finally {
    server.close()
  }
})
