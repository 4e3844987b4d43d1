// Archived logs replayed into a real broker by the real command; what kafkajs reads from source and target must be equal.
// The archive is filled from the broker's own log, so that only replay is under test.

import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import type { Consumer, EachMessagePayload } from 'kafkajs'
import kafkajs from 'kafkajs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseAddress } from '../../src/kafka/address.ts'
import { Admin } from '../../src/kafka/admin.ts'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { batchesOf, encodeBatch } from '../../src/kafka/batch.ts'
import { Cluster, EARLIEST, LATEST } from '../../src/kafka/cluster.ts'
import type { CodecName } from '../../src/kafka/compression.ts'
import { Codec, compress, decompress } from '../../src/kafka/compression.ts'
import type { KafkaRecord } from '../../src/kafka/records.ts'
import { ReplayProducer } from '../../src/replay/producer.ts'
import type { StreamKey } from '../../src/wal/stream.ts'
import type { SmallArchive } from '../archive/small-archive.ts'
import { smallArchive } from '../archive/small-archive.ts'
import { batchOf, bits, NOON, withFields } from '../replay/batches.ts'
import { spawnGuarded } from '../support/child.ts'
import { millrace } from '../support/millrace.ts'
import { describeKafka, useKafka } from '../support/servers.ts'
import { until } from '../support/until.ts'

const codecs: CodecName[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

/** kafkajs reads gzip by itself, and takes the others from whoever registers them. */
for (const codec of codecs.slice(2)) {
  kafkajs.CompressionCodecs[Codec[codec] as 2 | 3 | 4] = () => ({
    compress: async (encoder: { buffer: Buffer }) => compress(codec, encoder.buffer),
    decompress: async (buffer: Buffer) => decompress(codec, buffer)
  })
}

describeKafka('replay', () => {
  const kafka = useKafka()
  const bootstrap = kafka.bootstrap.split(',').map(parseAddress)
  const cluster = new Cluster(bootstrap)
  const admin = new Admin(bootstrap)
  let small: SmallArchive

  beforeAll(async () => {
    small = await smallArchive()
  })
  afterAll(async () => {
    cluster[Symbol.dispose]()
    await small[Symbol.asyncDispose]()
  })

  async function newTopic(partitions = 1, settings: Record<string, string> = {}): Promise<string> {
    const topic = `replay-${randomUUID()}`
    await admin.createTopic(topic, partitions, settings)
    return topic
  }

  /** Puts a topic's whole log into the archive, in segments of a few batches. */
  async function archive(topic: string): Promise<void> {
    const { topicId, leaders } = await cluster.topic(topic)
    for (const partition of leaders.keys()) {
      const stream = { clusterId: kafka.clusterId, topic, topicId, partition }
      const batches = await logOf(topic, partition)
      for (let start = 0; start < batches.length; start += 3) {
        const part = batches.slice(start, start + 3)
        await small.append(stream, { nextOffset: part.at(-1)!.header.lastOffset + 1, batches: part })
      }
    }
  }

  async function logOf(topic: string, partition: number): Promise<CanonicalBatch[]> {
    const at = { topic, partition }
    const batches: CanonicalBatch[] = []
    for (let offset = await cluster.listOffset(at, EARLIEST); offset < (await cluster.listOffset(at, LATEST)); ) {
      batches.push(...batchesOf((await cluster.fetchLog(at, offset)).records))
      offset = batches.at(-1)!.header.lastOffset + 1
    }
    return batches
  }

  async function replay(...args: string[]) {
    const where = ['--archive', small.url, '--bootstrap', kafka.bootstrap, '--json']
    const { code, stdout, stderr } = await millrace(['replay', ...where, ...args])
    return { code, stderr, summary: stdout === '' ? null : JSON.parse(stdout) }
  }

  /** What a consumer of committed records sees, by partition, in order. */
  async function consume(topic: string, count: number): Promise<Record<number, object[]>> {
    const consumer: Consumer = kafka.client().consumer({ groupId: randomUUID() })
    const seen: EachMessagePayload[] = []
    try {
      await consumer.connect()
      await consumer.subscribe({ topic, fromBeginning: true })
      await consumer.run({ eachMessage: async payload => void seen.push(payload) })
      await until(() => seen.length >= count, { what: `${count} records of ${topic} are consumed`, timeout: 30_000 })
    } finally {
      await consumer.disconnect()
    }
    expect(seen.length).toBe(count)
    const byPartition = Object.groupBy(seen, ({ partition }) => partition)
    return Object.fromEntries(
      Object.entries(byPartition).map(([partition, payloads]) => [
        partition,
        payloads!.map(({ message: { key, value, headers, timestamp } }) => ({ key, value, headers, timestamp }))
      ])
    )
  }

  async function endOf(topic: string, partition = 0): Promise<number> {
    return await cluster.listOffset({ topic, partition }, LATEST)
  }

  /** Batches of each codec, with all that a record may be. */
  function sampleBatch(codec: CodecName, count = 4): CanonicalBatch {
    const records = Array.from({ length: count }, (_, offset): KafkaRecord => {
      const value = offset % 3 === 1 ? null : Buffer.from(`${codec} ${offset} `.repeat(20))
      return {
        offset,
        // Out of order: the first is the newest.
        timestamp: NOON - offset * 1_000,
        key: offset % 2 === 0 ? Buffer.from(`key ${offset}`) : null,
        value,
        headers: [
          ['twice', Buffer.from('1')],
          ['twice', Buffer.from('2')],
          ['null', null],
          ['empty', Buffer.alloc(0)]
        ]
      }
    })
    return encodeBatch(records, { codec })
  }

  test('gives a topic back as it was: all codecs, nulls, headers, times, transactions', async () => {
    const source = await newTopic(3)
    for (const codec of [...codecs, ...codecs]) {
      await cluster.produceBatch({ topic: source, partition: 0 }, sampleBatch(codec).toWire())
    }
    const producer = kafka
      .client()
      .producer({ transactionalId: randomUUID(), maxInFlightRequests: 1, idempotent: true })
    await producer.connect()
    const transaction = async (partition: number, values: string[]) => {
      const begun = await producer.transaction()
      const messages = values.map(value => ({ partition, key: null, value, timestamp: String(NOON) }))
      await begun.send({ topic: source, messages })
      return begun
    }
    await (await transaction(1, ['committed 1', 'committed 2'])).commit()
    await (await transaction(1, ['aborted 1', 'aborted 2', 'aborted 3'])).abort()
    await (await transaction(1, ['committed 3'])).commit()
    await cluster.produceBatch({ topic: source, partition: 2 }, sampleBatch('lz4', 10).toWire())
    const open = await transaction(2, ['open 1', 'open 2'])
    await archive(source)
    await open.abort()
    await producer.disconnect()

    const target = `${source}-restored`
    const dry = await replay('--topic', source, '--to-topic', target, '--dry-run')
    expect(dry).toMatchObject({ code: 0, summary: { dryRun: true, complete: true, records: 53 } })
    expect(await cluster.refresh([target])).toEqual([])

    const { code, summary, stderr } = await replay('--topic', source, '--to-topic', target)
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining('made with 3 partitions') })
    expect(summary).toMatchObject({ ...dry.summary, dryRun: false, ms: expect.any(Number) })
    expect(summary.partitions).toMatchObject([
      { partition: 0, records: 40, batches: 10, reencoded: 0, leftOut: { control: 0, aborted: 0, open: 0 } },
      { partition: 1, records: 3, leftOut: { control: 3, aborted: 3, open: 0 } },
      { partition: 2, records: 10, leftOut: { control: 0, aborted: 0, open: 2 } }
    ])
    expect(await consume(target, 53)).toEqual(await consume(source, 53))
    expect([await endOf(target, 0), await endOf(target, 1), await endOf(target, 2)]).toEqual([40, 3, 10])
    expect(await cluster.topicSettings(target)).toMatchObject({ retentionMs: Number.POSITIVE_INFINITY })
    // Not only equal: but for the producer, each batch is the very same bytes, in the codec in which it came.
    const recordsOf = async (topic: string) => (await logOf(topic, 0)).map(batch => batch.toWire().subarray(57))
    expect(await recordsOf(target)).toEqual(await recordsOf(source))
  })

  test('gives records of a LogAppendTime topic the times that consumers saw', async () => {
    const source = await newTopic(1, { 'message.timestamp.type': 'LogAppendTime' })
    for (const codec of codecs) await cluster.produceBatch({ topic: source, partition: 0 }, sampleBatch(codec).toWire())
    await archive(source)
    const target = `${source}-restored`
    const { code, summary } = await replay('--topic', source, '--to-topic', target)
    expect({ code, summary }).toMatchObject({ code: 0, summary: { records: 20, partitions: [{ reencoded: 5 }] } })
    expect(await consume(target, 20)).toEqual(await consume(source, 20))

    const appendTimed = await newTopic(1, { 'message.timestamp.type': 'LogAppendTime' })
    const refused = await replay('--topic', source, '--to-topic', appendTimed)
    expect(refused).toMatchObject({ code: 1, summary: null, stderr: expect.stringContaining('LogAppendTime') })
    expect(await endOf(appendTimed)).toBe(0)
    const accepted = await replay('--topic', source, '--to-topic', appendTimed, '--accept-new-timestamps')
    expect(accepted).toMatchObject({ code: 0, summary: { records: 20 } })
  })

  test('a broker takes what compaction has left, and only the selected part of batches', async () => {
    const stream: StreamKey = {
      clusterId: 'elsewhere',
      topic: `compacted-${randomUUID()}`,
      topicId: 'A'.repeat(22),
      partition: 0
    }
    const marked = withFields(batchOf([20, 21, 22], { codec: 'zstd' }), { attributes: bits.deleteHorizon })
    const batches = [
      batchOf([0, 3, 7], { codec: 'gzip' }),
      withFields(batchOf([8, 9]), { lastOffsetDelta: 11 }),
      marked
    ]
    await small.append(stream, { nextOffset: 23, batches })
    const keys = async (...args: string[]) => {
      const target = `${stream.topic}-${randomUUID()}`
      const { code, summary, stderr } = await replay('--topic', stream.topic, '--to-topic', target, ...args)
      expect({ code, stderr }).toMatchObject({ code: 0 })
      expect(await endOf(target)).toBe(summary.records)
      return (await logOf(target, 0)).flatMap(batch => [...batch.records()]).map(({ key }) => String(key))
    }
    expect(await keys()).toEqual(['k0', 'k3', 'k7', 'k8', 'k9', 'k20', 'k21', 'k22'])
    expect(await keys('--offsets', '3..21')).toEqual(['k3', 'k7', 'k8', 'k9', 'k20'])
    const [from, to] = [NOON + 7, NOON + 9].map(time => new Date(time).toISOString())
    expect(await keys('--from', from!, '--to', to!)).toEqual(['k7', 'k8'])
  })

  test('does not write twice what is there already', async () => {
    const source = await newTopic()
    await cluster.produceBatch({ topic: source, partition: 0 }, sampleBatch('none').toWire())
    await archive(source)
    const same = await replay('--topic', source)
    expect(same).toMatchObject({ code: 1, stderr: expect.stringContaining('the very topic that was archived') })
    expect(await replay('--topic', source, '--append')).toMatchObject({ code: 1 })
    const target = `${source}-restored`
    expect(await replay('--topic', source, '--to-topic', target)).toMatchObject({ code: 0, summary: { records: 4 } })
    const again = await replay('--topic', source, '--to-topic', target)
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('not empty') })
    expect(await endOf(target)).toBe(4)
    expect(await replay('--topic', source, '--to-topic', target, '--append')).toMatchObject({ code: 0 })
    expect(await endOf(target)).toBe(8)
  })

  test('takes the newest topic of a name, or the one with an id', async () => {
    const name = `reborn-${randomUUID()}`
    const incarnation = (letter: string): StreamKey => ({
      clusterId: 'elsewhere',
      topic: name,
      topicId: letter.repeat(22),
      partition: 0
    })
    // The older one has the greater id.
    await small.append(incarnation('B'), { nextOffset: 1, batches: [batchOf([0])] })
    await until(() => Date.now() > 0, { what: 'a millisecond passes', interval: 5 })
    await small.append(incarnation('A'), { nextOffset: 3, batches: [batchOf([0, 1, 2])] })
    const records = async (...args: string[]) => {
      const { code, summary } = await replay('--topic', name, '--to-topic', `${name}-x`, '--dry-run', ...args)
      return [code, summary?.source.topicId, summary?.records]
    }
    expect(await records()).toEqual([0, 'A'.repeat(22), 3])
    expect(await records('--topic-id', 'B'.repeat(22))).toEqual([0, 'B'.repeat(22), 1])
    expect(await replay('--topic', 'nothing')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('holds no topic nothing')
    })
  })

  test('a batch that is sent again after an answer was lost is stored once, also where sequence numbers begin anew', async () => {
    const topic = await newTopic()
    const producer = await ReplayProducer.open(cluster)
    const at = { topic, partition: 0 }
    const first = 2 ** 31 - 3
    const send = producer.sender(at, first)
    for (const base of [0, 2, 4]) await send(batchOf([base, base + 1]).withBaseOffset(0))
    const resend = producer.sender(at, first)
    for (const base of [0, 2, 4]) await resend(batchOf([base, base + 1]).withBaseOffset(0))
    const keys = (await logOf(topic, 0)).flatMap(batch => [...batch.records()]).map(({ key }) => String(key))
    expect(keys).toEqual(['k0', 'k1', 'k2', 'k3', 'k4', 'k5'])
  })

  test('SIGINT ends it between two batches, and it says how far it got', async () => {
    const stream: StreamKey = {
      clusterId: 'elsewhere',
      topic: `long-${randomUUID()}`,
      topicId: 'C'.repeat(22),
      partition: 0
    }
    const batches = Array.from({ length: 20_000 }, (_, i) => batchOf([i]))
    await small.append(stream, { nextOffset: batches.length, batches })
    const program = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
    const args = ['replay', '--archive', small.url, '--bootstrap', kafka.bootstrap, '--topic', stream.topic, '--json']
    const child = spawnGuarded(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    child.process.stdout!.on('data', chunk => (stdout += chunk))
    child.process.stderr!.resume()
    await until(async () => (await endOf(stream.topic)) > 10, {
      what: 'the first records are replayed',
      timeout: 30_000
    })
    child.signal('SIGINT')
    expect(await child.exited).toEqual({ code: 130, signal: null })
    const { complete, partitions } = JSON.parse(stdout)
    const [{ nextOffset, records }] = partitions
    expect(complete).toBe(false)
    expect(nextOffset).toBeLessThan(batches.length)
    expect([records, await endOf(stream.topic)]).toEqual([nextOffset, nextOffset])
  })
})
