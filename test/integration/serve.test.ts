// `millrace serve` as real clients see it, over an archive that came through the proxy from a real Kafka: what they read from
// it is what they read from the broker.
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { Admin } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { segmentObjects } from '../support/archived.ts'
import type { Client, NewRecord, ReadRecord } from '../support/clients/client.ts'
import { codecs } from '../support/clients/client.ts'
import { clients } from '../support/clients/clients.ts'
import type { Foreground } from '../support/foreground.ts'
import { kafkaClient } from '../support/kafka-client.ts'
import { consoleConsume, kafkaTopics } from '../support/kafka-tools.ts'
import type { Worker } from '../support/millrace.ts'
import { millrace, startCommand, startMillrace } from '../support/millrace.ts'
import { freePort } from '../support/ports.ts'
import { describeWith, isHere, useKafka, useS3 } from '../support/servers.ts'
import { createTopic, send } from '../support/topics.ts'
import { until } from '../support/until.ts'

const START = Date.UTC(2026, 0, 2)
const ARCHIVED = 60
const CAPTURED = 5

async function flush(worker: Worker, topic: string): Promise<void> {
  const { code, stderr } = await worker.command(['flush', '--topic', topic])
  expect(code, stderr).toBe(0)
}

/** A topic of two partitions and several segments, in all codecs; the last records lie in the WAL only. */
async function fillTopic(worker: Worker): Promise<string> {
  const topic = await createTopic(useKafka().bootstrap, { partitions: 2 })
  const producer = kafkaClient(worker.bootstrap).producer()
  await producer.connect()
  for (let i = 0; i < ARCHIVED + CAPTURED; i++) {
    if (i === ARCHIVED / 2 || i === ARCHIVED) await flush(worker, topic)
    const value = i % 10 === 3 ? null : `${i} `.repeat(1 + (i % 50))
    const message = { partition: i % 2, key: `key ${i % 7}`, value, headers: { n: String(i) } }
    // Now and then back in time.
    await producer.send({ topic, acks: -1, messages: [{ ...message, timestamp: String(timeOf(i)) }] })
  }
  await producer.disconnect()
  for (const codec of codecs) {
    const [client] = clients.filter(({ name, needs }) => name !== 'kafkajs' && isHere(needs))
    const record: NewRecord = { key: codec, value: `in ${codec}`, headers: [['codec', codec]] }
    await (client ?? clients.at(-1)!).produce(worker.bootstrap, topic, [record], { acks: 'all', codec })
  }
  return topic
}

const timeOf = (i: number) => START + i * 1_000 - (i % 5) * 1_500
const COUNT = ARCHIVED + CAPTURED + codecs.length

const byPlace = (a: ReadRecord, b: ReadRecord) => a.partition - b.partition || a.offset - b.offset

function serveArgs(worker: Worker): string[] {
  return ['serve', '--config', worker.configFile, '--listen', '127.0.0.1:0']
}

/** Waits until everything that was captured is there: the WAL is looked at now and then. */
async function allServed(bootstrap: string, topic: string, partitions: number): Promise<void> {
  const admin = kafkaClient(bootstrap).admin()
  await admin.connect()
  const ends = async (at: Admin) =>
    (await at.fetchTopicOffsets(topic)).map(({ partition, high }) => `${partition}: ${high}`).sort()
  const brokers = kafkaClient(useKafka().bootstrap).admin()
  await brokers.connect()
  try {
    const wanted = await ends(brokers)
    expect(wanted).toHaveLength(partitions)
    await until(async () => (await ends(admin)).join() === wanted.join(), { what: `${topic} is served to its end` })
  } finally {
    await admin.disconnect()
    await brokers.disconnect()
  }
}

describeWith(['kafka'], 'millrace serve beside a worker', () => {
  let worker: Worker
  let served: Foreground & AsyncDisposable
  let topic: string
  const bootstrap = () => served.addresses['serve']!

  beforeAll(async () => {
    worker = await startMillrace({ bootstrap: useKafka().bootstrap })
    topic = await fillTopic(worker)
    served = await startCommand(serveArgs(worker))
    await allServed(bootstrap(), topic, 2)
  })
  afterAll(async () => {
    await served?.[Symbol.asyncDispose]()
    await worker?.dispose()
  })

  for (const client of clients) {
    describeWith(client.needs, client.name, () => readingTests(client, () => ({ bootstrap: bootstrap(), topic })))
  }

  test('what is sealed while it is read stays readable', async () => {
    const segments = async (partition: number) =>
      (await segmentObjects(join(worker.folder, 'archive'), topic, partition)).length
    const before = await segments(0)
    const [reader] = clients.slice(-1)
    await flush(worker, topic)
    expect(await segments(0)).toBeGreaterThan(before)
    const [ours, theirs] = await Promise.all(
      [bootstrap(), useKafka().bootstrap].map(from => reader!.consume(from, topic, { from: 'beginning', count: COUNT }))
    )
    expect(ours!.sort(byPlace)).toEqual(theirs!.sort(byPlace))
  })

  test('new records come to a consumer that waits for them', async () => {
    const fresh = await createTopic(useKafka().bootstrap)
    await send(worker.bootstrap, fresh, [[{ value: 'first' }]])
    await until(
      async () => {
        const admin = kafkaClient(bootstrap()).admin()
        await admin.connect()
        const topics = await admin.listTopics().finally(() => admin.disconnect())
        return topics.includes(fresh)
      },
      { what: 'the new topic is served', timeout: 20_000 }
    )
    await using member = await clients
      .at(-1)!
      .join(bootstrap(), { group: randomUUID(), topic: fresh, clientId: 'waits' })
    await until(() => member.records.length === 1, { what: 'the first record is read', timeout: 20_000 })
    await send(worker.bootstrap, fresh, [[{ value: 'second' }], [{ value: 'third' }]])
    await until(() => member.records.length === 3, { what: 'the others come', timeout: 5_000 })
    expect(member.records.map(({ value }) => value)).toEqual(['first', 'second', 'third'])
  })

  describeWith(['kafka-tools'], "Kafka's tools", () => {
    test('read_committed leaves out what was aborted, as from the broker', async () => {
      const mixed = await createTopic(useKafka().bootstrap)
      const producer = kafkaClient(worker.bootstrap).producer({ transactionalId: randomUUID(), maxInFlightRequests: 1 })
      await producer.connect()
      let count = 0
      for (const [i, outcome] of ['commit', 'abort', 'abort', 'commit', 'abort', 'commit'].entries()) {
        const transaction = await producer.transaction()
        for (let n = 0; n < 3; n++) {
          await transaction.send({ topic: mixed, messages: [{ value: `${outcome} ${i}.${n}` }] })
        }
        await transaction[outcome as 'commit' | 'abort']()
        if (i % 2 === 0) await flush(worker, mixed)
        else await send(worker.bootstrap, mixed, [[{ value: `between ${i}` }]])
        count += outcome === 'commit' ? 3 : 0
      }
      await producer.disconnect()
      await flush(worker, mixed)
      await using beside = await startCommand(serveArgs(worker))
      const args = ['--isolation-level', 'read_committed', '--formatter-property', 'print.offset=true']
      for (const [isolation, expected] of [
        [args, count + 3],
        [args.slice(2), 18 + 3]
      ] as const) {
        const read = (bootstrap: string) =>
          consoleConsume({ bootstrap, topic: mixed, count: expected, args: isolation })
        const ours = await read(beside.addresses['serve']!)
        expect(ours).toHaveLength(expected)
        expect(ours).toEqual(await read(useKafka().bootstrap))
      }
    })

    test('topics are described, and can be neither made nor deleted', async () => {
      const described = await kafkaTopics(bootstrap(), ['--describe', '--topic', topic])
      expect(described).toMatch(/PartitionCount: 2/)
      expect(described).toContain(
        (await kafkaTopics(useKafka().bootstrap, ['--describe', '--topic', topic])).match(/TopicId: \S+/)![0]
      )
      for (const args of [
        ['--create', '--topic', 'new'],
        ['--delete', '--topic', topic],
        ['--alter', '--topic', topic, '--partitions', '9']
      ]) {
        await expect(kafkaTopics(bootstrap(), args)).rejects.toThrow(/TopicAuthorizationException|it can only be read/)
      }
    })
  })

  describe('groups', () => {
    test('what was committed is there after a restart', async () => {
      const group = randomUUID()
      await using again = await startCommand(serveArgs(worker))
      const address = () => again.addresses['serve']!
      {
        await using member = await clients.at(-1)!.join(address(), { group, topic, clientId: 'reads' })
        await until(() => member.records.length === COUNT, { what: 'all is read', timeout: 20_000 })
      }
      expect(await again.terminate()).toBe(0)
      await again.start()
      const admin = kafkaClient(address()).admin()
      await admin.connect()
      try {
        const [committed] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
        const ends = await admin.fetchTopicOffsets(topic)
        expect(committed!.partitions.map(({ offset }) => Number(offset)).sort()).toEqual(
          ends.map(({ high }) => Number(high)).sort()
        )
      } finally {
        await admin.disconnect()
      }
    })

    test('are refused with --no-groups', async () => {
      await using without = await startCommand([...serveArgs(worker), '--no-groups'])
      const admin = kafkaClient(without.addresses['serve']!).admin()
      await admin.connect()
      const asking = admin.fetchOffsets({ groupId: randomUUID() }).finally(() => admin.disconnect())
      await expect(asking).rejects.toThrow(/find group coordinator/i)
    })
  })

  test('a port that is taken is named, with the remedy', async () => {
    const { code, stderr } = await millrace([...serveArgs(worker).slice(0, -1), bootstrap()])
    expect(code).toBe(2)
    expect(stderr).toContain(`cannot listen on ${bootstrap()}`)
    expect(stderr).toContain('--listen 127.0.0.1:')
  })

  test('what is advertised is what clients are told', async () => {
    const port = await freePort()
    const args = [...serveArgs(worker).slice(0, -1), `127.0.0.1:${port}`, '--advertised', `localhost:${port}`]
    await using _ = await startCommand(args)
    const admin = kafkaClient(`127.0.0.1:${port}`).admin()
    await admin.connect()
    const { brokers } = await admin.describeCluster().finally(() => admin.disconnect())
    expect(brokers).toEqual([{ nodeId: 1, host: 'localhost', port }])
  })
})

function readingTests(client: Client, place: () => { bootstrap: string; topic: string }): void {
  const both = async <T>(ask: (bootstrap: string) => Promise<T>): Promise<[ours: T, theirs: T]> => [
    await ask(place().bootstrap),
    await ask(useKafka().bootstrap)
  ]

  test('reads what the broker has', async () => {
    const [ours, theirs] = await both(bootstrap =>
      client.consume(bootstrap, place().topic, { from: 'beginning', count: COUNT })
    )
    expect(ours).toHaveLength(COUNT)
    expect(ours.sort(byPlace)).toEqual(theirs.sort(byPlace))
  })

  test('finds the offsets that the broker finds', async () => {
    const times = [timeOf(17) + 1, timeOf(ARCHIVED)]
    const places = ['earliest', 'latest', ...(client.can.maxTimestamp ? ['max-timestamp' as const] : [])] as const
    for (const at of [...places, ...times]) {
      const [ours, theirs] = await both(bootstrap => client.offsets(bootstrap, place().topic, at))
      expect(ours, `at ${at}`).toEqual(theirs)
    }
  })

  test('begins at a time, and at an offset', async () => {
    for (const [from, count] of [
      [{ timestamp: timeOf(40) }, 20],
      [{ offset: 11 }, 10]
    ] as const) {
      const [ours, theirs] = await both(bootstrap => client.consume(bootstrap, place().topic, { from, count }))
      expect(ours).toHaveLength(count)
      // Which of two partitions comes first is up to the client.
      const [first, others] = [ours, theirs].map(read => Map.groupBy(read, ({ partition }) => partition))
      for (const [partition, records] of first!) {
        const common = Math.min(records.length, others!.get(partition)?.length ?? 0)
        expect(records.slice(0, common)).toEqual((others!.get(partition) ?? []).slice(0, common))
      }
    }
  })

  test('is told that it may not produce', async () => {
    const record = { key: null, value: 'no' }
    const produce = client.produce(place().bootstrap, place().topic, [record], { acks: 'all', idempotent: true })
    await expect(produce).rejects.toThrow(/authoriz/i)
  })
}

describeWith(['kafka', 's3'], 'millrace serve over a bucket', () => {
  test('gives what the broker has', async () => {
    const s3 = useS3()
    const archiveUrl = `s3://${await s3.createBucket()}/a`
    await using worker = await startMillrace({ bootstrap: useKafka().bootstrap, archiveUrl, s3 })
    const topic = await fillTopic(worker)
    await flush(worker, topic)
    await worker.terminate()
    await using served = await startCommand(['serve', '--archive', archiveUrl, '--listen', '127.0.0.1:0'], {
      s3,
      env: { AWS_ENDPOINT_URL_S3: s3.endpoint }
    })
    const reader = clients.at(-1)!
    const [ours, theirs] = await Promise.all(
      [served.addresses['serve']!, useKafka().bootstrap].map(from =>
        reader.consume(from, topic, { from: 'beginning', count: COUNT })
      )
    )
    expect(ours!.sort(byPlace)).toEqual(theirs!.sort(byPlace))
  })
})
