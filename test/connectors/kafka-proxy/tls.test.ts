// TLS on either side of the proxy: who is let in, who is told what, and certificates that change.
import { once } from 'node:events'
import { copyFile, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type tls from 'node:tls'
import type { PeerCertificate } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { tlsOptions } from '../../../src/kafka/tls.ts'
import type { Certificate } from '../../support/certificates.ts'
import { runToEnd } from '../../support/child.ts'
import { tempFolder } from '../../support/temp.ts'
import { until } from '../../support/until.ts'
import { answerProduce, produceFrame } from './frames.ts'
import type { End, HarnessOptions } from './harness.ts'
import { startHarness } from './harness.ts'
import { answerAsk, ask, listener, roundTrip, secure, trusting, useCertificates, warned } from './tls-clients.ts'

const certificates = useCertificates()

const mutual = (clientAuth = 'required') => ({
  ...listener(certificates()),
  'listener.ssl.client.auth': clientAuth,
  'listener.ssl.truststore.location': certificates().authority.file
})

describe('towards clients', () => {
  test('carries what plain connections carry, in any size, and ends as they do', async () => {
    const harness = await startHarness({ options: listener(certificates()) })
    const end = await secure(harness, trusting(certificates()))
    const broker = await harness.accepted()
    const frame = produceFrame({ size: 3_000_000, acks: 0 })
    end.send(frame, ask(2))
    end.socket.end()
    expect((await broker.next()).equals(frame)).toBe(true)
    const answer = answerAsk(await broker.next())
    broker.send(answer)
    expect(await end.next()).toEqual(answer)
    await end.end()
    await broker.end()
    await until(async () => (await harness.metric('millrace_proxy_connections')) === 0, { what: 'none is left' })
  })

  test('captures two Produce requests that lie in one piece of memory, the second when the first is copied', async () => {
    const harness = await startHarness({ options: listener(certificates()) })
    const end = await secure(harness, trusting(certificates()))
    const broker = await harness.accepted()
    const frames = [40_000, 15_000].map((size, correlationId) => produceFrame({ correlationId, size }))
    end.send(...frames)
    for (const frame of frames) {
      expect((await broker.next()).equals(frame)).toBe(true)
      broker.send(answerProduce(frame))
    }
    await until(() => harness.captures.length === 2, { what: 'both captures', interval: 1 })
    const captured = harness.captures.map(({ batches }) => batches[0]!.chunks[0]!)
    for (const [i, frame] of frames.entries())
      expect(frame.subarray(-captured[i]!.length - 3, -3).equals(captured[i]!)).toBe(true)
  })

  test('shows the certificate of its keystore', async () => {
    const harness = await startHarness({ options: listener(certificates()) })
    const end = await secure(harness, trusting(certificates()))
    await roundTrip(harness, end)
    const { subject } = (end.socket as tls.TLSSocket).getPeerCertificate()
    expect(subject.CN).toBe('localhost')
  })

  test.each([
    ['a Kafka request', () => ask(1), 'security.protocol SSL or SASL_SSL'],
    ['HTTP', () => Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'security.protocol SSL or SASL_SSL'],
    ['random bytes', () => Buffer.alloc(200, 0xd7), 'security.protocol SSL or SASL_SSL']
  ])('%s without TLS is cut off, and the log says what it is', async (_, bytes, hint) => {
    const harness = await startHarness({ options: listener(certificates()) })
    const end = harness.connectWith(bytes())
    await end.end()
    const { err, client } = await warned(harness)
    expect(err).toMatchObject({ code: 'AUTHENTICATION_FAILED', hint: expect.stringContaining(hint) })
    expect(client).toMatch(/^127\.0\.0\.1:\d+$/)
    expect(await harness.metric('millrace_proxy_connections_cut_total', ',reason="tls"')).toBe(1)
    await roundTrip(harness, await secure(harness, trusting(certificates())))
    expect(harness.waiting()).toBe(0)
  })

  test('a probe that only looks whether the port is open is nothing to talk of', async () => {
    for (const more of [{}, { 'proxy.protocol': 'required' }] as Record<string, string>[]) {
      const harness = await startHarness({ options: { ...listener(certificates()), ...more } })
      for (const how of ['end', 'destroy', 'resetAndDestroy'] as const) {
        const end = harness.connectWith()
        await once(end.socket, 'connect')
        end.socket[how]()
        await end.end()
      }
      const last = await secure(
        harness,
        trusting(certificates()),
        'proxy.protocol' in more ? Buffer.from('PROXY UNKNOWN\r\n') : undefined
      )
      await roundTrip(harness, last)
      expect(harness.logs.filter(({ level }) => Number(level) >= 40)).toEqual([])
      expect(await harness.metric('millrace_proxy_connections_cut_total', ',reason="tls"')).toBe(0)
    }
  })

  test('a client that does not trust it is told of', async () => {
    const harness = await startHarness({ options: listener(certificates()) })
    // Node's own clients just close the connection.
    const at = ['-connect', `127.0.0.1:${harness.port}`, '-servername', 'localhost']
    await runToEnd('openssl', ['s_client', ...at, '-CAfile', certificates().stranger.file, '-verify_return_error'])
    expect((await warned(harness)).err!.hint).toContain('ssl.truststore.location')
  })

  test('required: a client needs a certificate, of the right authority', async () => {
    const harness = await startHarness({ options: mutual() })
    await roundTrip(harness, await secure(harness, trusting(certificates(), certificates().client)))
    await (await secure(harness, trusting(certificates()))).end()
    expect((await warned(harness)).err!.hint).toContain('listener.ssl.client.auth')
    await (await secure(harness, trusting(certificates(), await certificates().stranger.issue('client')))).end()
    const wrong = () => harness.logs.find(({ err }) => err?.hint?.includes('listener.ssl.truststore.location'))
    await until(() => wrong() !== undefined, { what: 'a line in the log', interval: 1 })
    expect(harness.waiting()).toBe(0)
  })

  test('requested: none will do, a wrong one will not', async () => {
    const harness = await startHarness({ options: mutual('requested') })
    await roundTrip(harness, await secure(harness, trusting(certificates())))
    await roundTrip(harness, await secure(harness, trusting(certificates(), certificates().client)))
    await (await secure(harness, trusting(certificates(), await certificates().stranger.issue('client')))).end()
    expect((await warned(harness)).err!.hint).toContain('listener.ssl.truststore.location')
    expect(harness.waiting()).toBe(0)
  })

  test.each<[string, () => Record<string, string>]>([
    ['listener.ssl.keystore.location: is required', () => ({ 'listener.security.protocol': 'SSL' })],
    [
      'listener.ssl.keystore.location: must be a file of PEM with',
      () => ({ ...listener(certificates()), 'listener.ssl.keystore.location': '/nowhere.pem' })
    ],
    [
      'listener.ssl.truststore.location: is required with listener.ssl.client.auth required',
      () => ({ ...listener(certificates()), 'listener.ssl.client.auth': 'required' })
    ],
    [
      'listener.security.protocol: must be SSL for listener.ssl.client.auth',
      () => ({ 'listener.ssl.client.auth': 'required' })
    ],
    [
      'listener.security.protocol: must be SSL for listener.ssl.keystore.location',
      () => ({ 'listener.ssl.keystore.location': certificates().localhost.file })
    ]
  ])('does not start: %s', async (message, options) => {
    await expect(startHarness({ options: options() })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(message)
    })
  })
})

describe('a certificate that changes', () => {
  const nameOf = (end: End) => ((end.socket as tls.TLSSocket).getPeerCertificate() as PeerCertificate).subject.CN

  /** As the second name is trusted for localhost here, only who is shown differs. */
  const anyName = () => ({ ...trusting(certificates()), checkServerIdentity: () => undefined })

  test.each(['a file that is replaced', 'a link that is led elsewhere, as Kubernetes does'])(
    'is taken up without a restart: %s',
    async how => {
      await using folder = await tempFolder('keystore')
      const keystore = join(folder.path, 'proxy.pem')
      const other = await certificates().authority.issue('other')
      const place = async (file: string) => {
        const next = join(folder.path, 'next')
        if (how.startsWith('a link')) await symlink(file, next)
        else await copyFile(file, next)
        await rename(next, keystore)
      }
      await place(certificates().localhost.file)
      const options = { ...listener(certificates()), 'listener.ssl.keystore.location': keystore }
      const harness = await startHarness({ options })
      const old = await secure(harness, anyName())
      const broker = await harness.accepted()
      expect(nameOf(old)).toBe('localhost')

      await place(other.file)
      await until(
        async () => {
          const end = await secure(harness, anyName())
          await roundTrip(harness, end)
          const name = nameOf(end)
          end.socket.destroy()
          return name === 'other'
        },
        { what: 'the new certificate' }
      )
      old.send(ask(5))
      broker.send(answerAsk(await broker.next()))
      expect((await old.next()).readInt32BE(4)).toBe(5)

      await writeFile(join(folder.path, 'broken'), 'not a certificate')
      await place(join(folder.path, 'broken'))
      const { err } = await warned(harness)
      expect(err!.message).toContain('listener.ssl.keystore.location')
      const after = await secure(harness, anyName())
      await roundTrip(harness, after)
      expect(nameOf(after)).toBe('other')
      await harness.proxy.stop()
    }
  )

  test('also where it is who signs those of clients: a truststore', async () => {
    await using folder = await tempFolder('truststore')
    const truststore = join(folder.path, 'clients.pem')
    await copyFile(certificates().authority.file, truststore)
    const harness = await startHarness({ options: { ...mutual(), 'listener.ssl.truststore.location': truststore } })
    const stranger = await certificates().stranger.issue('client')
    /** Whether the handshake is done that a client with this certificate begins. */
    const isLetIn = async (certificate: Certificate) => {
      const end = await secure(harness, trusting(certificates(), certificate))
      end.send(ask(1))
      await until(() => end.ended || harness.waiting() > 0, { what: 'the client is let in, or cut off', interval: 1 })
      const letIn = harness.waiting() > 0
      if (letIn) (await harness.accepted()).socket.destroy()
      end.socket.destroy()
      return letIn
    }
    expect([await isLetIn(certificates().client), await isLetIn(stranger)]).toEqual([true, false])
    await copyFile(certificates().stranger.file, truststore)
    await until(() => isLetIn(stranger), { what: 'the changed truststore is used' })
    expect(await isLetIn(certificates().client)).toBe(false)

    await writeFile(truststore, 'not a certificate')
    const told = () => harness.logs.find(({ err }) => err?.message.includes('listener.ssl.truststore.location: '))
    await until(() => told() !== undefined, { what: 'a line in the log' })
    expect([await isLetIn(certificates().client), await isLetIn(stranger)]).toEqual([false, true])
    await harness.proxy.stop()
  })
})

describe('towards brokers', () => {
  const brokerTls = (more: tls.TlsOptions = {}): HarnessOptions['brokerTls'] => ({
    server: { key: certificates().localhost.key, cert: certificates().localhost.chain, allowHalfOpen: false, ...more },
    client: tlsOptions({ 'ssl.truststore.location': certificates().authority.file })
  })

  test('carries what plain connections carry, in any size', async () => {
    const harness = await startHarness({ brokerTls: brokerTls()! })
    const { client, broker } = await harness.connect()
    const frame = produceFrame({ size: 3_000_000, acks: 0 })
    client.send(frame, ask(2))
    expect((await broker.next()).equals(frame)).toBe(true)
    const answer = answerAsk(await broker.next())
    broker.send(answer)
    expect(await client.next()).toEqual(answer)
    client.socket.end()
    await broker.end()
    await client.end()
  })

  test('acks=0 and then the end: all bytes arrive', async () => {
    const harness = await startHarness({ brokerTls: brokerTls()! })
    const { client, broker } = await harness.connect()
    broker.socket.pause()
    const frames = [1, 2, 3].map(correlationId => produceFrame({ correlationId, acks: 0, size: 3_000_000 }))
    client.send(...frames)
    client.socket.end()
    for (let id = 0; id < 3; id++) await roundTrip(harness, harness.connectWith(), id)
    broker.socket.resume()
    for (const frame of frames) expect((await broker.next()).equals(frame)).toBe(true)
    await broker.end()
    await client.end()
  })

  test('and towards clients as well', async () => {
    const harness = await startHarness({ brokerTls: brokerTls()!, options: mutual() })
    await roundTrip(harness, await secure(harness, trusting(certificates(), certificates().client)))
  })

  test('a broker that is not trusted gets nothing, and the log says what to do', async () => {
    const mine = await certificates().stranger.issue('localhost')
    const harness = await startHarness({ brokerTls: brokerTls({ key: mine.key, cert: mine.chain })! })
    const end = harness.connectWith(ask(1))
    await end.end()
    expect((await warned(harness)).err!.hint).toContain('ssl.truststore.location')
    expect(await harness.metric('millrace_proxy_connections_cut_total', ',reason="no_broker"')).toBe(1)
  })

  test('a broker that asks for a certificate of ours: the log says what to do', async () => {
    const asking = { requestCert: true, rejectUnauthorized: true, ca: certificates().authority.certificate }
    const harness = await startHarness({ brokerTls: brokerTls(asking)! })
    const end = harness.connectWith(ask(1))
    await end.end()
    expect((await warned(harness)).err!.hint).toContain('ssl.keystore.location')
  })

  test('names the broker in the handshake (SNI), but not by an address', async () => {
    const names: string[] = []
    const SNICallback: tls.TlsOptions['SNICallback'] = (name, done) => {
      names.push(name)
      done(null)
    }
    const { server, client } = brokerTls({ SNICallback })!
    const anyHost = { ...client, checkServerIdentity: () => undefined } // the certificate does not name the address
    const harness = await startHarness({ brokerTls: { server, client: anyHost } })
    const { broker } = await harness.connect()
    expect(names).toEqual(['localhost'])
    harness.named([1, { host: '127.0.0.1', port: broker.socket.localPort! }])
    const again = await harness.connect()
    expect((again.broker.socket as tls.TLSSocket).servername).toBe(false)
    expect(names).toEqual(['localhost'])
  })
})
