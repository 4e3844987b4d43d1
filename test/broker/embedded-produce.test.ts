import { crc32c } from '@node-rs/crc32'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EmbeddedLogs } from '../../src/broker/embedded/embedded-logs.ts'
import { CanonicalBatch } from '../../src/kafka/batch.ts'
import { KafkaError } from '../../src/kafka/kafka-errors.ts'
import { initProducerId, produce } from '../../src/kafka/messages.ts'
import { batchFixture, batchFixtures } from '../fixtures/load.ts'
import { LIMIT, unreadable } from '../kafka/unreadable.ts'
import { tempFolder } from '../support/temp.ts'
import { caller, produced, sequenced } from './embedded-world.ts'

let folder: Awaited<ReturnType<typeof tempFolder>>
let logs: EmbeddedLogs
beforeAll(async () => {
  folder = await tempFolder('broker')
  logs = await EmbeddedLogs.open({ directory: folder.path, maxBytes: 1024 ** 3 })
})
afterAll(async () => {
  await logs[Symbol.asyncDispose]()
  await folder.dispose()
})

let topics = 0
/** A topic of one partition for one test. */
function newTopic(settings: Parameters<EmbeddedLogs['createTopic']>[2] = {}) {
  return logs.createTopic(`topic-${topics++}`, 1, settings)
}

interface SendOptions {
  readonly version?: number
  readonly acks?: number
  readonly index?: number
  readonly transactionalId?: string
  readonly maxDecompressedBytes?: number
}

/** Sends records to a topic and gives the partition's answer, null where there is none. */
async function send(topic: { name: string; topicId: string }, records: Buffer | null, options: SendOptions = {}) {
  const { version = 13, acks = -1, index = 0, transactionalId = null, maxDecompressedBytes } = options
  const topicData = [
    { ...(version < 13 ? { name: topic.name } : { topicId: topic.topicId }), partitionData: [{ index, records }] }
  ]
  const answer = await caller(logs, maxDecompressedBytes)(
    produce,
    { transactionalId, acks, timeoutMs: 1000, topicData },
    version
  )
  return answer === null ? null : answer.responses[0]!.partitionResponses[0]!
}

async function logOf(topic: { name: string }): Promise<Buffer> {
  return Buffer.concat(await logs.find(topic.name)!.partitions[0]!.read(0, { upTo: 2 ** 40, maxBytes: 2 ** 30 }))
}

/** A batch with some bytes changed, and its CRC made right again unless told. */
function changed(batch: CanonicalBatch, change: (wire: Buffer) => void, { sign = true } = {}): Buffer {
  const wire = Buffer.from(batch.toWire())
  change(wire)
  if (sign) wire.writeUInt32BE(crc32c(wire.subarray(21)), 17)
  return wire
}

test.each([3, 7, 8, 9, 12, 13])('version %i is answered with the offset', async version => {
  const topic = newTopic()
  expect(await send(topic, produced(['a', 'b']).toWire(), { version })).toMatchObject({ errorCode: 0, baseOffset: 0 })
  expect(await send(topic, produced(['c']).toWire(), { version })).toMatchObject({
    errorCode: 0,
    baseOffset: 2,
    logAppendTimeMs: -1,
    ...(version >= 5 && { logStartOffset: 0 }),
    ...(version >= 8 && { recordErrors: [], errorMessage: null })
  })
})

test.each(batchFixtures().filter(({ name }) => !/^broker-|-transactional$/.test(name)))(
  'takes $name as it is',
  async ({ wire }) => {
    const topic = newTopic()
    expect(await send(topic, wire)).toMatchObject({ errorCode: 0, baseOffset: 0 })
    const expected = Buffer.from(wire)
    expected.writeInt32BE(0, 12)
    expect(await logOf(topic)).toEqual(expected)
  }
)

test('requests that are begun in order get their offsets in order, whatever they wait for', async () => {
  const topic = newTopic()
  const values = Array.from({ length: 20 }, (_, i) => `${i}`.padEnd((i % 3) * 50_000, '.'))
  const answers = await Promise.all(values.map((value, i) => send(topic, sequenced(7, i, [value]).toWire())))
  expect(answers.map(answer => answer?.baseOffset)).toEqual(values.map((_, i) => i))
})

test('with acks=0 nothing is answered, and a batch that is not taken ends the connection', async () => {
  const topic = newTopic()
  expect(await send(topic, produced(['a']).toWire(), { acks: 0 })).toBeNull()
  expect((await logOf(topic)).length).toBeGreaterThan(0)
  await expect(send(topic, Buffer.alloc(3), { acks: 0 })).rejects.toMatchObject({ code: 'BROKER_ERROR' })
})

test('a repeat is answered with the original offset and its time', async () => {
  const topic = newTopic()
  const wire = sequenced(7, 0, ['a', 'b']).toWire()
  expect(await send(topic, wire)).toMatchObject({ baseOffset: 0, logAppendTimeMs: -1 })
  expect(await send(topic, wire)).toMatchObject({ errorCode: 0, baseOffset: 0, logAppendTimeMs: 1_001 })
  expect(await send(topic, sequenced(7, 5, ['c']).toWire())).toMatchObject({
    errorCode: KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    errorMessage: 'producer 7 sent sequence number 5, next is 2'
  })
})

describe('timestamps', () => {
  test('a wrong max timestamp is corrected, as a broker did with the batch of a real client', async () => {
    const topic = newTopic()
    const { wire } = batchFixture('kafkajs-times')
    const wrong = CanonicalBatch.fromWire(wire).batch.withMaxTimestamp(1)
    await send(topic, wrong.toWire())
    expect(await logOf(topic)).toEqual(wire)
  })

  test('under LogAppendTime the log is byte for byte what a broker made of the same batch', async () => {
    const { wire: brokers, oracle } = batchFixture('broker-append-time')
    // What the producer had sent: its own timestamp type and max timestamp, which nothing else depends on.
    const sent = changed(CanonicalBatch.fromWire(brokers).batch, wire => {
      wire.writeInt16BE(wire.readInt16BE(21) & ~8, 21)
      wire.writeBigInt64BE(wire.readBigInt64BE(27), 35)
    })
    const { batch } = CanonicalBatch.fromWire(sent)
    expect(batch.withLogAppendTime(oracle.batch.maxTimestamp).toWire()).toEqual(brokers)

    const topic = newTopic({ 'message.timestamp.type': 'LogAppendTime' })
    const before = Date.now()
    const answer = await send(topic, sent)
    const time = answer!.logAppendTimeMs!
    expect(time).toBeGreaterThanOrEqual(before)
    expect(time).toBeLessThanOrEqual(Date.now())
    expect(await logOf(topic)).toEqual(batch.withLogAppendTime(time).toWire())
    expect(await logs.find(topic.name)!.partitions[0]!.maxTimestamp()).toEqual({ offset: 0, timestamp: time })
  })
})

/** States another number of records, without holes. */
function counted(wire: Buffer, count: number): void {
  wire.writeInt32BE(count - 1, 23)
  wire.writeInt32BE(count, 57)
}

const one = produced(['a', 'b'])
const zstd = produced(['a'], { codec: 'zstd' })
const lz4 = produced(['a', 'b'], { codec: 'lz4' })

// The rules of ProduceRequest.validateRecords, UnifiedLog and LogValidator in apache/kafka.
test.each<{ what: string; records: Buffer | null; error: keyof typeof KafkaError; options?: SendOptions }>([
  { what: 'nothing', records: null, error: 'INVALID_RECORD' },
  { what: 'an empty buffer', records: Buffer.alloc(0), error: 'INVALID_RECORD' },
  { what: 'half a batch', records: one.toWire().subarray(0, 64), error: 'INVALID_RECORD' },
  { what: 'two batches', records: Buffer.concat([one.toWire(), one.toWire()]), error: 'INVALID_RECORD' },
  { what: 'an old format', records: changed(one, wire => (wire[16] = 1)), error: 'INVALID_RECORD' },
  { what: 'an absurd size', records: changed(one, wire => wire.writeInt32BE(3, 8)), error: 'CORRUPT_MESSAGE' },
  { what: 'a flipped bit', records: changed(one, wire => (wire[65]! ^= 1), { sign: false }), error: 'CORRUPT_MESSAGE' },
  { what: 'a base offset', records: one.withBaseOffset(5).toWire(), error: 'INVALID_RECORD' },
  { what: 'holes', records: changed(one, wire => wire.writeInt32BE(2, 23)), error: 'INVALID_RECORD' },
  { what: 'no records', records: batchFixture('broker-empty').wire, error: 'INVALID_RECORD' },
  { what: 'a control batch', records: changed(one, wire => wire.writeInt16BE(32, 21)), error: 'INVALID_RECORD' },
  { what: 'no sequence number', records: produced(['a'], { producerId: 7 }).toWire(), error: 'INVALID_RECORD' },
  {
    what: 'too many records',
    records: changed(one, wire => counted(wire, 3)),
    error: 'INVALID_RECORD'
  },
  {
    what: 'too few records',
    records: changed(one, wire => counted(wire, 1)),
    error: 'INVALID_RECORD'
  },
  { what: 'records out of order', records: changed(one, wire => (wire[64] = 2)), error: 'INVALID_RECORD' },
  { what: 'a record beyond its end', records: changed(one, wire => (wire[66] = 100)), error: 'INVALID_RECORD' },
  { what: 'what is no lz4', records: changed(lz4, wire => (wire[61]! ^= 1)), error: 'INVALID_RECORD' },
  ...unreadable.map(([what, make]) => ({
    what,
    records: make(0).toWire(),
    options: { maxDecompressedBytes: LIMIT },
    error: 'INVALID_RECORD' as const
  })),
  {
    what: 'a producer id beyond 2^53',
    records: changed(one, wire => wire.writeBigInt64BE(2n ** 62n, 43)),
    error: 'INVALID_RECORD'
  },
  { what: 'the type LogAppendTime', records: one.withLogAppendTime(5).toWire(), error: 'INVALID_TIMESTAMP' },
  { what: 'zstd in version 6', records: zstd.toWire(), options: { version: 6 }, error: 'UNSUPPORTED_COMPRESSION_TYPE' },
  { what: 'too many bytes', records: produced(['x'.repeat(1_100_000)]).toWire(), error: 'MESSAGE_TOO_LARGE' },
  { what: 'a transaction', records: batchFixture('broker-transactional').wire, error: 'INVALID_TXN_STATE' },
  { what: 'a transactional id', records: one.toWire(), options: { transactionalId: 't' }, error: 'INVALID_TXN_STATE' },
  { what: 'acks=2', records: one.toWire(), options: { acks: 2 }, error: 'INVALID_REQUIRED_ACKS' },
  { what: 'no such partition', records: one.toWire(), options: { index: 1 }, error: 'UNKNOWN_TOPIC_OR_PARTITION' }
])('refuses $what with $error', async ({ records, error, options = {} }) => {
  const topic = newTopic()
  const answer = await send(topic, records, options)
  expect(answer).toMatchObject({ errorCode: KafkaError[error], baseOffset: -1 })
  if ((options.version ?? 13) >= 8) expect(answer!.errorMessage).toMatch(/\w/)
  expect(topic.partitions[0]!.highWatermark).toBe(0)
  expect(await send(topic, one.toWire())).toMatchObject({ errorCode: 0, baseOffset: 0 })
})

test('refuses topics that are not there, by name and by id', async () => {
  const nowhere = { name: 'nowhere', topicId: 'AAECAwQFBgcICQoLDA0ODw' }
  expect(await send(nowhere, one.toWire(), { version: 12 })).toMatchObject({
    errorCode: KafkaError.UNKNOWN_TOPIC_OR_PARTITION
  })
  expect(await send(nowhere, one.toWire())).toMatchObject({ errorCode: KafkaError.UNKNOWN_TOPIC_ID })
})

test('takes a topic at its own max.message.bytes', async () => {
  const size = one.toWire().length
  const [fits, tight] = [newTopic({ 'max.message.bytes': `${size}` }), newTopic({ 'max.message.bytes': `${size - 1}` })]
  expect(await send(fits, one.toWire())).toMatchObject({ errorCode: 0 })
  expect(await send(tight, one.toWire())).toMatchObject({ errorCode: KafkaError.MESSAGE_TOO_LARGE })
})

test('one request may write to several partitions, and what is refused does not hold up the others', async () => {
  const topic = logs.createTopic('several', 3, {})
  const partitionData = [0, 1, 2].map(index => ({ index, records: index === 1 ? Buffer.alloc(9) : one.toWire() }))
  const answer = await caller(logs)(
    produce,
    { transactionalId: null, acks: 1, timeoutMs: 1, topicData: [{ name: 'several', partitionData }] },
    9
  )
  expect(answer!.responses[0]!.partitionResponses).toMatchObject([
    { index: 0, errorCode: 0, baseOffset: 0 },
    { index: 1, errorCode: KafkaError.INVALID_RECORD },
    { index: 2, errorCode: 0, baseOffset: 0 }
  ])
  expect(topic.partitions.map(({ highWatermark }) => highWatermark)).toEqual([2, 0, 2])
})

test('InitProducerId gives each idempotent producer an id, and none to a transactional one', async () => {
  const call = caller(logs)
  const init = (transactionalId: string | null, version: number, producerId = -1) =>
    call(initProducerId, { transactionalId, transactionTimeoutMs: 1000, producerId, producerEpoch: -1 }, version)
  const first = await init(null, 5)
  const ids = new Set([first!.producerId])
  for (let i = 0; i < 1_500; i++) ids.add((await init(null, i % 6, i % 6 < 3 ? -1 : first!.producerId))!.producerId)
  expect(ids.size).toBe(1_501)
  expect(first).toMatchObject({ errorCode: 0, producerEpoch: 0 })
  expect(await init('t', 5)).toMatchObject({ errorCode: KafkaError.INVALID_REQUEST, producerId: -1 })
})
