// What is not waited for without end: a client that does not come to its first request, and an answer at shutdown.
import { readFile } from 'node:fs/promises'
import type net from 'node:net'
import { expect, test } from 'vitest'
import type { CutReason } from '../../../connectors/kafka-proxy/metrics.ts'
import { until } from '../../support/until.ts'
import { produceFrame } from './frames.ts'
import { startHarness } from './harness.ts'
import { listener, useCertificates, warned } from './tls-clients.ts'

const certificates = useCertificates()

test('a client that does not go on with its PROXY header, or TLS handshake, is cut off', async () => {
  const half = async (options: Record<string, string>, begun: Buffer, reason: CutReason) => {
    const harness = await startHarness({ options })
    const [client, probe] = [harness.connectWith(begun), harness.connectWith()]
    await client.end(15_000)
    await probe.end(15_000)
    expect(await warned(harness)).toMatchObject({ msg: 'client connection refused' })
    expect(await harness.metric('millrace_proxy_connections_cut_total', `,reason="${reason}"`)).toBe(1)
    expect(harness.waiting()).toBe(0)
  }
  await Promise.all([
    half({ 'proxy.protocol': 'required' }, Buffer.from('PROXY TCP4 203.'), 'proxy_protocol'),
    half(listener(certificates()), Buffer.from('16030100c8010000c40303', 'hex'), 'tls')
  ])
})

test('an answer that the broker does not give does not keep the proxy from stopping', async () => {
  const harness = await startHarness()
  const { client, broker } = await harness.connect()
  client.send(produceFrame())
  await broker.next()
  await harness.proxy.stop()
  await client.end()
  await broker.end()
  expect(await harness.metric('millrace_proxy_inflight_bytes')).toBe(0)
})

const isLinux = process.platform === 'linux'
test.skipIf(!isLinux)('whoever vanishes without a word is asked after within a minute, on either side', async () => {
  const harness = await startHarness()
  const { client, broker } = await harness.connect()
  for (const end of [client, broker]) {
    await until(() => secondsToKeepAlive(end.socket), { what: 'the other end of an idle connection has a timer' })
    expect(await secondsToKeepAlive(end.socket)).toBeLessThanOrEqual(60)
  }
})

/** In what time the kernel asks whether the other end is there for whom this socket is connected with; as Linux' proc(5) has it. */
async function secondsToKeepAlive({ localPort, remotePort }: net.Socket): Promise<number | undefined> {
  const portOf = (address: string) => Number.parseInt(address.split(':')[1]!, 16)
  const rows = (await readFile('/proc/self/net/tcp', 'utf8')).split('\n').map(line => line.trim().split(/\s+/))
  const theirs = rows.slice(1, -1).find(([, from, to]) => portOf(from!) === remotePort && portOf(to!) === localPort)
  const [, timer, hundredths] = /^(..):(.*)$/.exec(theirs?.[5] ?? '') ?? []
  return timer === '02' ? Number.parseInt(hundredths!, 16) / 100 : undefined
}
