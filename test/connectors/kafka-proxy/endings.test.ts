// Connections that end in the middle of something: nothing of them stays behind, and what they sent is not lost.
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { MillraceError } from '../../../src/errors.ts'
import { fetch, produce } from '../../../src/kafka/messages.ts'
import { until } from '../../support/until.ts'
import { answerProduce, answerTo, produceFrame, read, request } from './frames.ts'
import type { Harness } from './harness.ts'
import { startHarness } from './harness.ts'
import { listener, secure, trusting, useCertificates } from './tls-clients.ts'

const certificates = useCertificates()

const MiB = 1024 * 1024
const fault = new MillraceError('WAL_FAILED', 'the disk is broken')

/** No session is left, and none of the budget is held. */
const nothingIsLeft = ({ metric }: Harness) =>
  until(
    async () =>
      (await metric('millrace_proxy_connections')) === 0 && (await metric('millrace_proxy_inflight_bytes')) === 0,
    { what: 'the end of all sessions', interval: 1, timeout: 5_000 }
  )

const isRefused = ({ metric }: Harness) =>
  until(async () => (await metric('millrace_proxy_produce_requests_total', ',outcome="refused"')) === 1, {
    what: 'the refusal'
  })

/** One connection is not read, for it waits. */
const isPaused = ({ metric }: Harness, waitingFor: 'budget' | 'client') =>
  until(async () => (await metric('millrace_proxy_reads_paused_total', `,waiting_for="${waitingFor}"`)) === 1, {
    what: `a connection to wait for the ${waitingFor}`
  })

/** What was sent last gets to the proxy, of which nothing else tells. */
async function arrives(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await setImmediate()
}

test('a broker that goes takes with it the refusals behind what it did not answer', async () => {
  const harness = await startHarness()
  const { client, broker } = await harness.connect()
  client.send(produceFrame({ correlationId: 1 }))
  await broker.next()
  harness.fault = fault
  client.send(produceFrame({ correlationId: 2 }))
  await isRefused(harness)
  broker.socket.end()
  await client.end()
  expect(client.bytes).toBe(0)
  await nothingIsLeft(harness)
})

test('a broker that never answers keeps nothing of a client that has gone', async () => {
  const harness = await startHarness({ options: { 'connections.max.idle.ms': '200' } })
  const { client, broker } = await harness.connect()
  client.send(produceFrame())
  await broker.next()
  client.socket.destroy()
  await broker.end()
  await nothingIsLeft(harness)
})

test('a held answer still goes out when the broker goes, and no refusal that was to follow another', async () => {
  const harness = await startHarness()
  const { client, broker } = await harness.connect()
  client.send(produceFrame({ correlationId: 1 }), produceFrame({ correlationId: 2 }))
  const answer = answerProduce(await broker.next())
  broker.send(answer)
  await broker.next()
  await until(() => harness.captures.length === 1, { what: 'a capture', interval: 1 })
  harness.fault = fault
  client.send(produceFrame({ correlationId: 3 }))
  await isRefused(harness)
  broker.socket.end()
  await arrives()
  harness.captures[0]!.resolve()
  await client.end()
  expect(client.frames).toEqual([answer])
  await nothingIsLeft(harness)
})

test('a client that ends, and is then reset, while an answer waits for it leaves nothing behind', async () => {
  const harness = await startHarness()
  const { client, broker } = await harness.connect()
  client.socket.pause()
  client.send(request(fetch, 12, 1, { maxWaitMs: 0, minBytes: 0, maxBytes: 0, isolationLevel: 0, topics: [] }))
  const asked = await broker.next()
  const answer = Buffer.alloc(32 * MiB)
  answerTo(fetch, asked, { responses: [] }).copy(answer)
  answer.writeInt32BE(answer.length - 4)
  broker.send(answer)
  await isPaused(harness, 'client')
  client.socket.end()
  await arrives()
  client.socket.resetAndDestroy()
  await nothingIsLeft(harness)
})

test('acks=0 and then the end: what waits for the budget arrives all the same', async () => {
  const harness = await startHarness({ budget: MiB })
  const one = await harness.connect()
  one.client.send(produceFrame({ size: MiB - 4096 }))
  const first = await one.broker.next()
  // All of it is there, the end too, before there is a connection to the broker.
  const unacknowledged = produceFrame({ size: 10_000, acks: 0 })
  harness.connectWith(unacknowledged).socket.end()
  const broker = await harness.accepted()
  await isPaused(harness, 'budget')
  await arrives()
  one.broker.send(answerProduce(first, [{ topic: 'orders', errorCode: 3, baseOffset: -1 }]))
  expect(await broker.next()).toEqual(unacknowledged)
  await broker.end()
  one.client.socket.destroy()
  await nothingIsLeft(harness)
})

test('a refusal that cannot be written gives its bytes back', async () => {
  const harness = await startHarness()
  harness.fault = fault
  const { client } = await harness.connect()
  const frame = produceFrame({ version: 8, topics: { orders: [0] } })
  // The topic's name, behind transactional id, acks, timeout and the count of topics, becomes null.
  const at = frame.indexOf('orders') - 2
  const nameless = Buffer.concat([frame.subarray(0, at), Buffer.from([0xff, 0xff]), frame.subarray(at + 8)])
  nameless.writeInt32BE(nameless.length - 4)
  client.send(nameless)
  await client.end()
  await nothingIsLeft(harness)
})

test('what waited for the budget shares its memory with a request before it, which is captured whole', async () => {
  const harness = await startHarness({ budget: MiB })
  const [first, both] = [await harness.connect(), await harness.connect()]
  first.client.send(produceFrame())
  first.broker.send(answerProduce(await first.broker.next()))
  await until(() => harness.captures.length === 1, { what: 'a capture, and with it the topic’s id', interval: 1 })
  harness.captures.shift()!.resolve()
  await first.client.next()
  first.client.send(produceFrame({ size: MiB - 4096 }))
  const large = await first.broker.next()
  // One read of less than 64 KiB: a small request, and most of one that has to wait.
  const small = produceFrame({ correlationId: 1, size: 100 })
  const waiting = produceFrame({ correlationId: 2, size: 40_000 })
  both.client.send(small, waiting)
  await both.broker.next()
  await isPaused(harness, 'budget')
  first.broker.send(answerProduce(large, [{ topic: 'orders', errorCode: 3, baseOffset: -1 }]))
  const second = await both.broker.next()
  // The later one is answered and captured first, as when the earlier one has to ask for a topic's id.
  const release = harness.holdMetadata()
  both.broker.send(answerProduce(small, [{ topic: 'orders', baseOffset: 0 }]), answerProduce(second))
  await until(() => harness.captures.length === 1, { what: 'the capture of the second', interval: 1 })
  release()
  await until(() => harness.captures.length === 2, { what: 'the capture of the first', interval: 1 })
  for (const capture of harness.captures) capture.resolve()
  const answers = [await both.client.next(), await both.client.next()]
  expect(answers.map(answer => read(produce, 12, answer).responses[0]!.partitionResponses[0]!.errorCode)).toEqual([
    0, 0
  ])
  expect(harness.captures[1]!.batches[0]!.chunks[0]!.length).toBeGreaterThan(100)
})

/** A broker that speaks TLS, so that a connection to it takes a while. */
const brokerTls = () => {
  const { localhost, authority } = certificates()
  return { server: { key: localhost.key, cert: localhost.chain }, client: { ca: authority.certificate } }
}
/** How clients come in. */
const entrances = {
  plain: { options: () => ({}), open: async (harness: Harness) => harness.connectWith() },
  'behind a balancer': {
    options: () => ({ 'proxy.protocol': 'required' }),
    open: async (harness: Harness) => harness.connectWith(Buffer.from('PROXY UNKNOWN\r\n'))
  },
  'with TLS': {
    options: () => listener(certificates()),
    open: async (harness: Harness) => {
      const end = await secure(harness, trusting(certificates()))
      await once(end.socket, 'secureConnect')
      return end
    }
  }
}

test.each(Object.entries(entrances))('a client that closes before its broker is reached, %s', async (_, entrance) => {
  const harness = await startHarness({ options: entrance.options(), brokerTls: brokerTls() })
  for (let i = 0; i < 5; i++) {
    const end = await entrance.open(harness)
    end.socket.end()
    await end.end()
  }
  await nothingIsLeft(harness)
  while (harness.waiting() > 0) await (await harness.accepted()).end()
})

test.each(Object.entries(entrances))(
  'acks=0 and then the end, before the broker is reached, %s',
  async (_, entrance) => {
    const harness = await startHarness({ options: entrance.options(), brokerTls: brokerTls() })
    for (let i = 0; i < 5; i++) {
      const end = await entrance.open(harness)
      const unacknowledged = produceFrame({ acks: 0, correlationId: i })
      end.send(unacknowledged)
      end.socket.end()
      const broker = await harness.accepted()
      expect(await broker.next()).toEqual(unacknowledged)
      await broker.end()
    }
    await nothingIsLeft(harness)
  }
)
