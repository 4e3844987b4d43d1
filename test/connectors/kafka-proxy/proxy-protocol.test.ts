// A load balancer in front of the proxy that says who its clients are: what becomes of them, with TLS and without.
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { until } from '../../support/until.ts'
import type { End, Harness } from './harness.ts'
import { startHarness } from './harness.ts'
import { answerAsk, ask, listener, roundTrip, secure, trusting, useCertificates, warned } from './tls-clients.ts'

const certificates = useCertificates()

describe('proxy.protocol', () => {
  const header = Buffer.from('PROXY TCP4 203.0.113.9 192.0.2.1 56324 9092\r\n')
  const binary = Buffer.from('0d0a0d0a000d0a515549540a2111000ccb007109c0000201dc042384', 'hex')
  const local = Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex')
  const unknown = Buffer.from('0d0a0d0a000d0a515549540a21000000', 'hex')
  const unix = Buffer.concat([Buffer.from('0d0a0d0a000d0a515549540a213100d8', 'hex'), Buffer.alloc(216, '/')])
  /** With a CRC-32C of zero, which it has not. */
  const wrongSum = Buffer.from('0d0a0d0a000d0a515549540a21110013cb007109c0000201dc04238403000400000000', 'hex')

  test.each([
    ['text', header],
    ['binary', binary]
  ])('%s: the client is where the header says, in the log', async (_, bytes) => {
    const harness = await startHarness({ options: { 'proxy.protocol': 'required' } })
    const end = harness.connectWith(bytes, ask(1))
    await roundTripOf(harness, end)
    end.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'))
    await end.end()
    expect((await warned(harness))['client']).toBe('203.0.113.9:56324')
  })

  test.each([
    ['LOCAL', local],
    ['UNSPEC', unknown],
    ['a Unix socket', unix]
  ])('%s: the client is whoever has connected', async (_, bytes) => {
    const harness = await startHarness({ options: { 'proxy.protocol': 'required' } })
    const end = harness.connectWith(bytes, ask(1))
    await roundTripOf(harness, end)
    const { localAddress, localPort } = end.socket
    end.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'))
    await end.end()
    expect((await warned(harness))['client']).toBe(`${localAddress}:${localPort}`)
  })

  async function roundTripOf(harness: Harness, end: End): Promise<void> {
    const broker = await harness.accepted()
    const asked = await broker.next()
    expect(asked).toEqual(ask(1))
    broker.send(answerAsk(asked))
    expect((await end.next()).readInt32BE(4)).toBe(1)
  }

  test('in any cut, and in front of TLS', async () => {
    const harness = await startHarness({ options: { ...listener(certificates()), 'proxy.protocol': 'required' } })
    await roundTrip(harness, await secure(harness, trusting(certificates()), binary))
    const plain = await startHarness({ options: { 'proxy.protocol': 'required' } })
    for (const bytes of [header, binary, local]) {
      const end = plain.connectWith()
      const whole = Buffer.concat([bytes, ask(1)])
      for (const byte of whole) {
        end.send(Buffer.of(byte))
        await setImmediate()
      }
      await roundTripOf(plain, end)
    }
  })

  test('a balancer that only looks whether the port is open is nothing to talk of, in front of TLS either', async () => {
    for (const tls of [{}, listener(certificates())] as Record<string, string>[]) {
      const harness = await startHarness({ options: { ...tls, 'proxy.protocol': 'required' } })
      for (const bytes of [header, binary, local]) {
        for (const how of ['end', 'destroySoon', 'resetAndDestroy'] as const) {
          for (const turns of [0, 1, 20]) {
            const end = harness.connectWith(bytes)
            if (turns > 0) await once(end.socket, 'connect')
            for (let turn = 0; turn < turns; turn++) await setImmediate()
            end.socket[how]()
            await end.end()
          }
        }
      }
      await until(async () => (await harness.metric('millrace_proxy_connections')) === 0, {
        what: 'no session is left'
      })
      expect(harness.logs.filter(({ level }) => Number(level) >= 40)).toEqual([])
      expect(await harness.metric('millrace_proxy_connections_cut_total', ',reason="tls"')).toBe(0)
    }
  })

  test('required: who sends none is cut off, as is who sends a wrong one', async () => {
    const harness = await startHarness({ options: { 'proxy.protocol': 'required' } })
    const tls = Buffer.from('16030100c8010000c40303', 'hex')
    for (const bytes of [ask(1), Buffer.from('PROXY TCP4 nowhere\r\n'), tls, wrongSum]) {
      const end = harness.connectWith(bytes)
      await end.end()
    }
    const refused = harness.logs.filter(({ err }) => err?.code === 'WIRE_CORRUPT')
    expect(refused).toHaveLength(4)
    expect(refused.at(-1)!.err!.message).toMatch(/its CRC-32C is 00000000, its bytes have [0-9a-f]{8}$/)
    expect(harness.logs.find(({ err }) => err?.hint)!.err!.hint).toContain('proxy.protocol')
    expect(await harness.metric('millrace_proxy_connections_cut_total', ',reason="proxy_protocol"')).toBe(4)
    expect(harness.waiting()).toBe(0)
  })

  test('allowed: with a header or without', async () => {
    const harness = await startHarness({ options: { 'proxy.protocol': 'allowed' } })
    for (const bytes of [[], [header], [binary]]) await roundTripOf(harness, harness.connectWith(...bytes, ask(1)))
  })

  test('off: a header is no request', async () => {
    const harness = await startHarness()
    await harness.connectWith(header).end()
    expect((await warned(harness)).err!.code).toBe('WIRE_CORRUPT')
  })

  test('connections.max.per.ip counts the address of the header', async () => {
    const options = { 'proxy.protocol': 'allowed', 'connections.max.per.ip': '1' }
    const harness = await startHarness({ options })
    await roundTripOf(harness, harness.connectWith(header, ask(1)))
    await harness.connectWith(binary, ask(1)).end()
    expect((await warned(harness))['client']).toBe('203.0.113.9')
    await roundTripOf(harness, harness.connectWith(ask(1)))
  })
})
