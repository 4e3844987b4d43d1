// A client that asks on and on while an early answer is due: what it is owed has a bound, and comes in order.
import { expect, test } from 'vitest'
import { apiVersions } from '../../../src/kafka/messages.ts'
import { until } from '../../support/until.ts'
import { request } from './frames.ts'
import { startHarness } from './harness.ts'
import { answerAsk, ask } from './tls-clients.ts'

const COUNT = 40_000
/** What a socket is read by: what came in the same read is answered still. */
const READ_BYTES = 65_536

test('who is owed 10,000 answers is not read until it is owed fewer', async () => {
  const harness = await startHarness()
  const { client, broker } = await harness.connect()
  client.send(ask(0))
  const asked = await broker.next()
  // In a version that the proxy answers itself.
  const newer = Array.from({ length: COUNT }, (_, i) => {
    const frame = request(apiVersions, 4, i + 1, { clientSoftwareName: '', clientSoftwareVersion: '' })
    frame.writeInt16BE(99, 6)
    return frame
  })
  client.send(...newer)
  const read = () => harness.metric('millrace_proxy_requests_total', ',api="other",version="other"')
  const paused = () => harness.metric('millrace_proxy_reads_paused_total', ',waiting_for="client"')
  await until(async () => (await paused()) || (await read()) === COUNT, { what: 'it is not read', interval: 1 })
  expect(await read()).toBeLessThan(10_000 + READ_BYTES / newer[0]!.length)
  expect(client.bytes).toBe(0)
  broker.send(answerAsk(asked))
  await until(() => client.frames.length === COUNT + 1, { what: 'all answers', interval: 1 })
  expect(client.frames.every((frame, i) => frame.readInt32BE(4) === i)).toBe(true)
})
