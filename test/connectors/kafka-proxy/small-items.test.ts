// Produce requests of very many items of a few bytes each, and such as come in very small pieces: what is kept of them is in
// proportion to their bytes, and beyond what a client can mean they are the end of the connection.
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../../src/errors.ts'
import { encodeBatch } from '../../../src/kafka/batch.ts'
import { Sink } from '../../../src/kafka/cursor.ts'
import { requestFrame } from '../../../src/kafka/headers.ts'
import { produce } from '../../../src/kafka/messages.ts'
import { until } from '../../support/until.ts'
import { produceFrame, read } from './frames.ts'
import type { End } from './harness.ts'
import { startHarness } from './harness.ts'
import { answerAsk, ask } from './tls-clients.ts'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

const MiB = 1024 * 1024
const MOST_ITEMS = 100_000

/** A compact length, or a count of tagged fields. */
function uvarint(value: number): Buffer {
  const sink = new Sink()
  sink.uvarint(value)
  return sink.finish()
}

const array = (count: number, item: Buffer) =>
  Buffer.concat([uvarint(count + 1), Buffer.alloc(count * item.length, item)])
const noTags = uvarint(0)
const name = Buffer.concat([uvarint(7), Buffer.from('orders')])
const index = Buffer.alloc(4)
const withoutRecords = Buffer.concat([index, uvarint(0), noTags])
const record = { offset: 0, timestamp: 1, key: null, value: null, headers: [] }
const batch = encodeBatch([record]).toWire()
const withBatch = Buffer.concat([index, uvarint(batch.length + 1), batch, noTags])

/** A Produce request in version 12 with acks=1, and these topics. */
function requestOf(topics: Buffer, correlationId = 1): Buffer {
  const acksAndTimeout = Buffer.from([0, 1, 0, 0, 0x75, 0x30])
  const body = Buffer.concat([uvarint(0), acksAndTimeout, topics, noTags])
  return requestFrame(produce, 12, correlationId, 'test', body)
}

const oneTopic = (partitions: Buffer) => array(1, Buffer.concat([name, partitions, noTags]))
const manyPartitions = (count: number, partition: Buffer) => oneTopic(array(count, partition))
const manyTopics = (count: number, partitions: Buffer) => array(count, Buffer.concat([name, partitions, noTags]))
const manyTags = (count: number) =>
  oneTopic(array(1, Buffer.concat([index, uvarint(0), uvarint(count), Buffer.alloc(2 * count)])))

describe('a request of more topics, partitions and tagged fields than any client sends', () => {
  test.each([
    ['partitions without records', manyPartitions(MOST_ITEMS - 1, withoutRecords), manyPartitions(MOST_ITEMS, withoutRecords)], // biome-ignore format: one line
    ['partitions with a batch', manyPartitions(MOST_ITEMS - 1, withBatch), manyPartitions(MOST_ITEMS, withBatch)],
    ['topics without partitions', manyTopics(MOST_ITEMS, array(0, index)), manyTopics(MOST_ITEMS + 1, array(0, index))],
    ['tagged fields', manyTags(MOST_ITEMS - 2), manyTags(MOST_ITEMS - 1)]
  ])('%s', async (_, most, tooMany) => {
    const harness = await startHarness()
    const [client, other] = [await harness.connect(), await harness.connect()]
    const passing = requestOf(most)
    client.client.send(passing)
    expect((await client.broker.next()).equals(passing)).toBe(true)
    expect(await harness.metric('millrace_proxy_inflight_bytes')).toBe(passing.length)

    client.client.send(requestOf(tooMany))
    await client.client.end()
    const warnings = harness.logs.filter(({ level }) => Number(level) >= 40)
    expect(warnings).toMatchObject([{ err: { code: 'WIRE_CORRUPT', message: expect.stringContaining('100000') } }])
    expect(await harness.metric('millrace_proxy_connections_cut_total', ',reason="not_kafka"')).toBe(1)
    expect(await harness.metric('millrace_proxy_inflight_bytes')).toBe(0)
    other.client.send(ask(1))
    other.broker.send(answerAsk(await other.broker.next()))
    await other.client.next()
  })
})

/** What of the heap is in use, without what nobody refers to. */
function heapUsed(): number {
  collect()
  return process.memoryUsage().heapUsed
}

describe('what is kept of requests in flight is no more than some times their bytes', () => {
  const requests = 8
  test.each([
    ['partitions without records', manyPartitions(90_000, withoutRecords)],
    ['topics with one such partition', manyTopics(45_000, array(1, withoutRecords))],
    ['partitions with the smallest batch', manyPartitions(45_000, withBatch)]
  ])('%s', async (_, topics) => {
    const frame = requestOf(topics)
    const harness = await startHarness({ budget: 200 * MiB })
    const { client, broker } = await harness.connect()
    const before = heapUsed()
    for (let i = 0; i < requests; i++) client.send(frame)
    await until(() => broker.bytes === requests * frame.length, { what: 'all requests', interval: 5, timeout: 30_000 })
    expect((heapUsed() - before) / (requests * frame.length)).toBeLessThan(2.5)
  })

  const byteByByte = async ({ client }: { client: End }, bytes: Buffer) => {
    for (const byte of bytes) {
      client.send(Buffer.of(byte))
      await setImmediate()
    }
  }

  test('bytes of a large one that come one by one', async () => {
    const harness = await startHarness()
    harness.fault = new MillraceError('WAL_FULL', 'the disk is full') // so that the broker's end keeps none of them
    const ends = await harness.connect()
    const frame = produceFrame({ size: 20_000 })
    const before = heapUsed()
    await byteByByte(ends, frame.subarray(0, -1))
    const received = () => harness.metric('millrace_proxy_bytes_total', ',hop="client_to_proxy"')
    await until(async () => (await received()) === frame.length - 1, { what: 'all but a byte', interval: 1 })
    expect((heapUsed() - before) / frame.length).toBeLessThan(50)
    ends.client.send(frame.subarray(-1))
    const { responses } = read(produce, 12, await ends.client.next())
    expect(responses).toMatchObject([{ name: 'orders', partitionResponses: [{ index: 0, errorCode: 19 }] }])
    expect(ends.broker.bytes).toBe(0)
  })

  test('bytes of many small ones that come one by one', async () => {
    const harness = await startHarness()
    const ends = await harness.connect()
    const frames = Array.from({ length: 200 }, (_, id) => requestOf(oneTopic(array(1, withBatch)), id))
    const sent = Buffer.concat(frames)
    const before = heapUsed()
    await byteByByte(ends, sent)
    await until(() => ends.broker.frames.length === frames.length, {
      what: 'all requests',
      interval: 5,
      timeout: 30_000
    })
    expect(Buffer.concat(ends.broker.frames).equals(sent)).toBe(true)
    expect((heapUsed() - before) / sent.length).toBeLessThan(50)
  })
})

test('partitions without a batch are no answer while nothing is captured: the connection ends, and the broker sees nothing', async () => {
  const harness = await startHarness()
  harness.fault = new MillraceError('WAL_FULL', 'the disk is full')
  const { client, broker } = await harness.connect()
  client.send(requestOf(oneTopic(Buffer.concat([uvarint(3), withBatch, withoutRecords]))))
  await client.end()
  await broker.end()
  expect([client.bytes, broker.bytes]).toEqual([0, 0])
  const warnings = harness.logs.filter(({ level }) => Number(level) >= 40)
  expect(warnings).toMatchObject([{ err: { code: 'WIRE_CORRUPT', message: expect.stringContaining('1 partition') } }])
  expect(await harness.metric('millrace_proxy_inflight_bytes')).toBe(0)
})
