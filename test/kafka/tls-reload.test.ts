// Certificates that change while connections are made: as each new one shows them to a real TLS server.
import { once } from 'node:events'
import { copyFile, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import tls from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { MillraceError } from '../../src/errors.ts'
import type { Address } from '../../src/kafka/address.ts'
import { clusterSecurity } from '../../src/kafka/security.ts'
import { openSocket } from '../../src/kafka/socket.ts'
import type { Authority } from '../support/certificates.ts'
import { makeAuthority } from '../support/certificates.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'

let authority: Authority
beforeAll(async () => void (authority = await makeAuthority()))
afterAll(() => authority[Symbol.asyncDispose]())

test('a new connection shows the certificate that the file holds now, and the old one while it holds none', async () => {
  await using folder = await tempFolder('reload')
  const [server, first, second] = await Promise.all(['localhost', 'first', 'second'].map(name => authority.issue(name)))
  const keystore = join(folder.path, 'keystore.pem')
  await copyFile(first!.file, keystore)
  const { port, listener } = await listen({ key: server!.key, cert: server!.chain, ca: authority.certificate })
  const security = clusterSecurity({
    'security.protocol': 'SSL',
    'ssl.truststore.location': authority.file,
    'ssl.keystore.location': keystore
  })
  const reloads: (MillraceError | undefined)[] = []
  security.tls!.onReload = fault => reloads.push(fault)
  const shown = async (): Promise<string> => {
    const socket = await openSocket({ host: 'localhost', port }, security)
    const [name] = (await once(socket, 'data')) as [Buffer]
    socket.destroy()
    return name.toString()
  }
  try {
    expect(await shown()).toBe('first')
    await copyFile(second!.file, keystore)
    await until(async () => (await shown()) === 'second', { what: 'the changed certificate is shown' })
    expect(reloads).toEqual([undefined])

    await writeFile(keystore, 'half of a fi')
    await until(async () => (await shown()) === 'second' && reloads.length === 2, { what: 'the fault is told' })
    expect(reloads[1]?.message).toMatch(/^ssl\.keystore\.location: must be a file of PEM/)

    await copyFile(first!.file, keystore)
    await until(async () => (await shown()) === 'first', { what: 'the first certificate is shown again' })
  } finally {
    listener.close()
  }
})

test('a new connection believes whom the truststore names now, and whom it named while it names nobody', async () => {
  await using folder = await tempFolder('reload')
  await using stranger = await makeAuthority()
  const truststore = join(folder.path, 'truststore.pem')
  await copyFile(authority.file, truststore)
  const listeners = await Promise.all(
    [authority, stranger].map(async signer => {
      const { key, chain } = await signer.issue('localhost')
      return await listen({ key, cert: chain, requestCert: false })
    })
  )
  const [known, strange] = listeners.map(({ port }) => ({ host: 'localhost', port }))
  const security = clusterSecurity({ 'security.protocol': 'SSL', 'ssl.truststore.location': truststore })
  const reloads: (MillraceError | undefined)[] = []
  security.tls!.onReload = fault => reloads.push(fault)
  const connect = async (address: Address) => void (await openSocket(address, security)).destroy()
  const refused = { code: 'AUTHENTICATION_FAILED', hint: expect.stringContaining('ssl.truststore.location') }
  try {
    await connect(known!)
    await expect(connect(strange!)).rejects.toMatchObject(refused)
    await copyFile(stranger.file, truststore)
    await until(() => connect(strange!).then(() => true), { what: 'the changed truststore is used' })
    await expect(connect(known!)).rejects.toMatchObject(refused)
    expect(reloads).toEqual([undefined])

    await writeFile(truststore, 'half of a fi')
    await until(() => connect(strange!).then(() => reloads.length === 2), { what: 'the fault is told' })
    expect(reloads[1]?.message).toMatch(/^ssl\.truststore\.location: must be a file of PEM/)
    await connect(strange!)
    await expect(connect(known!)).rejects.toMatchObject(refused)
  } finally {
    for (const { listener } of listeners) listener.close()
  }
})

/** A server that asks for a certificate, unless told, and answers with its name. */
async function listen(options: tls.TlsOptions): Promise<{ port: number; listener: tls.Server }> {
  const listener = tls.createServer({ requestCert: true, rejectUnauthorized: true, ...options }, socket => {
    socket.on('error', () => {}).end(String(socket.getPeerCertificate().subject?.CN))
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  return { port: (listener.address() as AddressInfo).port, listener }
}
