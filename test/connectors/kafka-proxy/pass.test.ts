// capture.on.failure: pass. What the broker accepted and nothing could be captured of: the producer goes on, and it is remembered.
import { expect, test } from 'vitest'
import { MillraceError } from '../../../src/errors.ts'
import { produce } from '../../../src/kafka/messages.ts'
import { until } from '../../support/until.ts'
import { answerTo, produceFrame, read } from './frames.ts'
import type { End, Harness } from './harness.ts'
import { startHarness, topicIds } from './harness.ts'

const denied = new MillraceError('BROKER_ERROR', 'topic orders: TOPIC_AUTHORIZATION_FAILED')

type Answered = readonly [topic: { name: string } | { topicId: string }, errorCode?: number]

/** The broker takes a Produce request, as far as no error is given. */
async function answer(broker: End, topics: readonly Answered[]): Promise<void> {
  const responses = topics.map(([topic, errorCode = 0]) => ({
    ...topic,
    partitionResponses: [{ index: 0, errorCode, baseOffset: errorCode === 0 ? 5 : -1 }]
  }))
  const frame = await broker.next()
  broker.send(answerTo(produce, frame, { responses }))
}

/** The error codes that the producer hears. */
const heard = async (client: End, version = 12) =>
  read(produce, version, await client.next()).responses.map(({ partitionResponses: [one] }) => one!.errorCode)

const passed = ({ metric }: Harness) => metric('millrace_proxy_produce_requests_total', ',outcome="passed"')

const warnings = ({ logs }: Harness) => logs.filter(({ level }) => Number(level) >= 40)

test('topics of which name or id cannot be found out are told of once, counted and remembered', async () => {
  const harness = await startHarness({ onCaptureFailure: 'pass' })
  const { client, broker } = await harness.connect()
  harness.failMetadata(denied)
  for (const count of [1, 2]) {
    client.send(produceFrame({ topics: { orders: [0], made_up: [0] } }))
    await answer(broker, [[{ name: 'orders' }], [{ name: 'made_up' }, 3]])
    expect(await heard(client)).toEqual([0, 3])
    expect(await passed(harness)).toBe(count)
  }
  expect(warnings(harness)).toMatchObject([{ topics: ['orders'], err: { message: denied.message } }])
  client.send(produceFrame({ version: 13, ids: topicIds }))
  await answer(broker, [[{ topicId: topicIds.orders }]])
  expect(await heard(client, 13)).toEqual([0])
  expect(harness.captures).toEqual([])
  const { proxy } = harness
  expect(['orders', 'made_up', 'x'].map(name => proxy.hasPassed(name, 'none'))).toEqual([true, false, false])
  expect([topicIds.orders, topicIds.other].map(id => proxy.hasPassed('none', id))).toEqual([true, false])
})

test('topics of which it is not found out in time are remembered too', async () => {
  const harness = await startHarness({ onCaptureFailure: 'pass' })
  const { client, broker } = await harness.connect()
  harness.holdMetadata()
  client.send(produceFrame({ topics: { orders: [0], made_up: [0], other: [0] } }))
  await answer(broker, [[{ name: 'orders' }], [{ name: 'made_up' }, 3], [{ name: 'other' }]])
  expect(await heard(client)).toEqual([0, 3, 0])
  expect(await passed(harness)).toBe(1)
  expect(['orders', 'made_up'].map(name => harness.proxy.hasPassed(name, 'none'))).toEqual([true, false])
  expect(warnings(harness)).toMatchObject([{ topics: ['orders'], err: { code: 'TIMEOUT' } }])
})

test('what is known of a request is captured, and waited for, beside what is not', async () => {
  const harness = await startHarness({ onCaptureFailure: 'pass' })
  const { client, broker } = await harness.connect()
  client.send(produceFrame())
  await answer(broker, [[{ name: 'orders' }]])
  await until(() => harness.captures.length === 1, { what: 'a capture', interval: 1 })
  harness.captures.shift()!.resolve()
  expect(await heard(client)).toEqual([0])
  harness.failMetadata(denied)
  client.send(produceFrame({ topics: { bills: [0], orders: [0] } }))
  await answer(broker, [[{ name: 'bills' }], [{ name: 'orders' }]])
  await until(() => harness.captures.length === 1, { what: 'a capture', interval: 1 })
  expect(harness.captures[0]!.batches.map(({ stream }) => stream.topic)).toEqual(['orders'])
  expect(client.frames).toEqual([])
  harness.captures.shift()!.resolve()
  expect(await heard(client)).toEqual([0, 0])
  expect(await passed(harness)).toBe(1)
  expect(['orders', 'bills'].map(name => harness.proxy.hasPassed(name, 'none'))).toEqual([false, true])
})
