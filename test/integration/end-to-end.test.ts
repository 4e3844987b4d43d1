// The whole way on a real Kafka: through the proxy, into the WAL, into segments, into the archive, found and replayed.
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { logWithoutEpochs, segmentObjects, untar } from '../support/archived.ts'
import { kafkaClient } from '../support/kafka-client.ts'
import { consoleConsume, consoleProduce, dumpLog, kafkaTopics, producerPerf } from '../support/kafka-tools.ts'
import { kafkajsCodecs } from '../support/kafkajs-codecs.ts'
import { kcat } from '../support/kcat.ts'
import type { Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { describeWith, useKafka, useS3 } from '../support/servers.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'

const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const

/** A worker for the tests of one describe, over a folder unless told. */
function useWorker(
  start: () => Promise<Worker> = () => startMillrace({ bootstrap: useKafka().bootstrap })
): () => Worker {
  let worker: Worker | undefined
  beforeAll(async () => {
    worker = await start()
  })
  afterAll(() => worker?.dispose())
  return () => worker!
}

async function createTopic(partitions = 1, settings: Record<string, string> = {}): Promise<string> {
  const topic = `e2e-${randomUUID()}`
  const configs = Object.entries(settings).flatMap(([key, value]) => ['--config', `${key}=${value}`])
  const args = ['--create', '--topic', topic, '--partitions', String(partitions), ...configs]
  await kafkaTopics(useKafka().bootstrap, args)
  return topic
}

/** Everything that the console consumer can print of a topic's records, one line each. */
function consumeAll(bootstrap: string, topic: string, count: number): Promise<string[]> {
  const properties = ['timestamp', 'partition', 'offset', 'headers', 'key', 'value']
  const args = properties.flatMap(what => ['--formatter-property', `print.${what}=true`])
  return consoleConsume({ bootstrap, topic, count, args })
}

/** Headers, key and value of those lines. */
const contents = (lines: readonly string[]): string[] => lines.map(line => line.split('\t').slice(3).join(' | '))

async function flush(worker: Worker, topic: string): Promise<void> {
  const { code, stderr } = await worker.command(['flush', '--topic', topic])
  expect(code, stderr).toBe(0)
}

/** Compares the archived log of a partition with the broker's own file, byte for byte, and has Kafka's tool read it. */
async function expectBrokersLog(archiveFolder: string, topic: string, partition: number): Promise<void> {
  await using temp = await tempFolder('untar')
  const [segment, ...more] = await segmentObjects(archiveFolder, topic, partition)
  expect(more, 'one segment').toEqual([])
  const files = await untar(segment!, temp.path)
  const base = '0'.repeat(20)
  expect(files).toEqual([
    'segment.json',
    ...['log', 'index', 'timeindex', 'txnindex'].map(kind => `${base}.${kind}`),
    'search.db',
    'search.filter'
  ])
  const [brokersFile] = await useKafka().segmentFiles(topic, partition)
  const archived = await logWithoutEpochs(join(temp.path, `${base}.log`))
  expect(archived.equals(await logWithoutEpochs(brokersFile!)), `${topic}-${partition} equals the broker's log`).toBe(
    true
  )

  const inFolder = ['log', 'index', 'timeindex'].map(kind => join(temp.path, `${base}.${kind}`)).join(',')
  const dump = await dumpLog(['--deep-iteration', '--files', inFolder])
  expect(dump).not.toMatch(/isvalid: false|mismatch|Found|corrupt|Could not|unexpected|out of order/i)
  const { records } = JSON.parse(await readFile(join(temp.path, 'segment.json'), 'utf8'))
  // Transaction markers are not users' records.
  expect(dump.match(/^\| offset: (?!.*endTxnMarker)/gm) ?? []).toHaveLength(records)
}

describeWith(['kafka', 'kafka-files', 'kafka-tools', 'kcat'], 'a worker with a folder', () => {
  const worker = useWorker()
  const archiveFolder = () => join(worker().folder, 'archive')

  test("what console producer, kcat and kafkajs produce, in every codec, arrives equal, and the archive has the broker's own log", async () => {
    const topic = await createTopic()
    const { bootstrap } = worker()
    const expected: string[] = []
    for (const codec of codecs) {
      const reader = ['parse.key=true', 'parse.headers=true', 'null.marker=NIL'].flatMap(p => ['--reader-property', p])
      const input = `h1:a,h1:b,h2:NIL\tkey-${codec}\tjava ${codec}\nh:x\tNIL\t${codec} without key\nh:x\tkey\tNIL\n`
      await consoleProduce({ bootstrap, topic, input, args: ['--compression-codec', codec, ...reader] })
      expected.push(
        `h1:a,h1:b,h2:null | key-${codec} | java ${codec}`,
        `h:x | null | ${codec} without key`,
        'h:x | key | null'
      )

      const headers = ['-H', 'h1=a', '-H', 'h1=b', '-H', 'h2']
      await kcat(['-b', bootstrap, '-P', '-t', topic, '-z', codec, '-K', ':', '-Z', ...headers], {
        input: `key-${codec}:librdkafka ${codec}\n:without key\nkey:\n`
      })
      const h = 'h1:a,h1:b,h2:null'
      expected.push(`${h} | key-${codec} | librdkafka ${codec}`, `${h} | null | without key`, `${h} | key | null`)

      const producer = kafkaClient(bootstrap).producer()
      await producer.connect()
      const value = `kafkajs ${codec} `.repeat(50)
      await producer.send({
        topic,
        acks: -1,
        compression: kafkajsCodecs[codec],
        messages: [
          { key: `key-${codec}`, value, headers: { h1: ['a', 'b'], h2: '' } },
          { key: null, value: null, timestamp: '1700000000000' }
        ]
      })
      await producer.disconnect()
      expected.push(`h1:a,h1:b,h2: | key-${codec} | ${value}`, 'NO_HEADERS | null | null')
    }

    const through = await consumeAll(bootstrap, topic, expected.length)
    expect(contents(through)).toEqual(expected)
    expect(await consumeAll(useKafka().bootstrap, topic, expected.length)).toEqual(through)

    await flush(worker(), topic)
    await expectBrokersLog(archiveFolder(), topic, 0)
  }, 180_000)

  test("what the proxy cannot see, or the broker stores otherwise, is fetched: the archive still has the broker's log", async () => {
    const { bootstrap } = worker()
    const topics = {
      plain: await createTopic(),
      appendTime: await createTopic(1, { 'message.timestamp.type': 'LogAppendTime' }),
      recompressed: await createTopic(1, { 'compression.type': 'gzip' })
    }
    for (const topic of Object.values(topics)) {
      await kcat(['-b', bootstrap, '-P', '-t', topic], { input: 'seen 1\nseen 2\n' })
      await kcat(['-b', useKafka().bootstrap, '-P', '-t', topic], { input: 'round the proxy\n' })
      await kcat(['-b', bootstrap, '-P', '-t', topic, '-X', 'acks=0'], { input: 'acks=0\n' })
      await kcat(['-b', bootstrap, '-P', '-t', topic], { input: 'seen 3\n' })
      // Behind the last capture, so only a flush looks for it.
      await kcat(['-b', useKafka().bootstrap, '-P', '-t', topic], { input: 'the last\n' })
    }
    const producer = kafkaClient(bootstrap).producer({ transactionalId: randomUUID(), maxInFlightRequests: 1 })
    await producer.connect()
    for (const outcome of ['abort', 'commit'] as const) {
      const transaction = await producer.transaction()
      await transaction.send({ topic: topics.plain, messages: [{ value: outcome }] })
      await transaction[outcome]()
    }
    await producer.disconnect()

    for (const topic of Object.values(topics)) {
      await flush(worker(), topic)
      await expectBrokersLog(archiveFolder(), topic, 0)
    }
    const verified = await worker().command(['verify', '--json'])
    expect(verified.code, verified.stdout + verified.stderr).toBe(0)
  }, 120_000)

  test('a replayed topic equals its source: keys, values, headers, timestamps, order', async () => {
    const topic = await createTopic(3)
    const { bootstrap } = worker()
    const lines = Array.from({ length: 3_000 }, (_, i) => `key-${i % 50}:value ${i}`)
    await kcat(['-b', bootstrap, '-P', '-t', topic, '-K', ':', '-z', 'lz4', '-H', 'a=1', '-H', 'a'], {
      input: lines.join('\n')
    })
    await flush(worker(), topic)
    const copy = `${topic}-copy`
    const replayed = await worker().command(['replay', '--topic', topic, '--to-topic', copy, '--json'])
    expect(replayed.code, replayed.stderr).toBe(0)
    const direct = useKafka().bootstrap
    const byPartition = async (of: string) => (await consumeAll(direct, of, lines.length)).sort(byPartitionAndOffset)
    expect(await byPartition(copy)).toEqual(await byPartition(topic))
  })

  test('one of 100,000 records is found by a word of its value, at its offset, hot and cold alike', async () => {
    const topic = await createTopic()
    const { bootstrap } = worker()
    const lines = Array.from({ length: 100_000 }, (_, i) =>
      JSON.stringify({ id: i, text: i === 77_777 ? 'heliotrope' : 'plain' })
    )
    await kcat(['-b', bootstrap, '-P', '-t', topic, '-z', 'lz4'], { input: lines.join('\n') })
    const find = async () => {
      const { code, stdout, stderr } = await worker().command(['search', 'heliotrope', '--topic', topic, '--json'])
      expect(code, stderr).toBe(0)
      return JSON.parse(stdout)
    }
    const hot = await find()
    expect(hot).toMatchObject({ tier: 'hot', topic, partition: 0, offset: 77_777, value: lines[77_777] })
    await flush(worker(), topic)
    const warm = await find()
    expect(warm.tier).toBe('warm')
    // Whoever has only the archive finds it there.
    const elsewhere = await worker().command([
      'search',
      'heliotrope',
      '--topic',
      topic,
      '--json',
      '--archive',
      worker().archiveUrl
    ])
    const cold = JSON.parse(elsewhere.stdout)
    expect(cold.tier).toBe('cold')
    expect({ ...warm, tier: '' }).toEqual({ ...hot, tier: '' })
    expect({ ...cold, tier: '' }).toEqual({ ...hot, tier: '' })
  })
})

function byPartitionAndOffset(a: string, b: string): number {
  const place = (line: string) => /Partition:(\d+)\tOffset:(\d+)/.exec(line)!.slice(1).map(Number) as [number, number]
  const [partitionA, offsetA] = place(a)
  const [partitionB, offsetB] = place(b)
  return partitionA - partitionB || offsetA - offsetB
}

describeWith(['kafka', 'kafka-files', 'kafka-tools', 's3'], 'a worker with a bucket', () => {
  let bucket = ''
  const worker = useWorker(async () => {
    const s3 = useS3()
    bucket = await s3.createBucket()
    return startMillrace({ bootstrap: useKafka().bootstrap, archiveUrl: `s3://${bucket}/some/prefix`, s3 })
  })

  test("has the broker's own log of every partition, and verifies it", async () => {
    const topic = await createTopic(6)
    await producerPerf({
      bootstrap: worker().bootstrap,
      topic,
      records: 20_000,
      recordSize: 500,
      settings: { acks: 'all', 'compression.type': 'zstd', 'linger.ms': 5 }
    })
    await flush(worker(), topic)
    await using temp = await tempFolder('bucket')
    await downloadBucket(bucket, temp.path)
    for (let partition = 0; partition < 6; partition++) await expectBrokersLog(temp.path, topic, partition)
    const verified = await worker().command(['verify', '--json'])
    expect(verified.code, verified.stdout + verified.stderr).toBe(0)
  })
})

describeWith(['kafka', 'kafka-tools'], 'a worker that dies', () => {
  const worker = useWorker()

  test('has every acknowledged record exactly once after kill -9 under load, a restart and a drain', async () => {
    const topic = await createTopic(3)
    const acknowledged = new Map<string, string>()
    const running = new AbortController()
    const load = Promise.all(Array.from({ length: 4 }, (_, i) => produceUntil(running.signal, topic, i, acknowledged)))
    for (let round = 0; round < 3; round++) {
      const before = acknowledged.size
      await until(() => acknowledged.size > before + 300, { what: 'records are acknowledged', timeout: 30_000 })
      await worker().kill9()
      await worker().start()
    }
    const before = acknowledged.size
    await until(() => acknowledged.size > before + 300, { what: 'records are acknowledged again', timeout: 30_000 })
    running.abort()
    await load
    expect(await worker().terminate()).toBe(0)

    const found = await worker().command(['search', 'load', '--topic', topic, '--json', '--limit', '1000000'])
    expect(found.code, found.stderr).toBe(0)
    const records = found.stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    const byPlace = Map.groupBy(records, ({ partition, offset }) => `${partition}@${offset}`)
    for (const [place, value] of acknowledged) expect(byPlace.get(place)?.map(record => record.value)).toEqual([value])
    const verified = await worker().command(['verify', '--topic', topic])
    expect(verified.code, verified.stdout + verified.stderr).toBe(0)
  }, 120_000)

  /** Sends one record after the other through the proxy and notes where each was acknowledged. */
  async function produceUntil(stop: AbortSignal, topic: string, number: number, acknowledged: Map<string, string>) {
    const client = kafkaClient(worker().bootstrap, { retry: { retries: 50, initialRetryTime: 50, maxRetryTime: 500 } })
    const producer = client.producer()
    await producer.connect()
    for (let i = 0; !stop.aborted; i++) {
      const value = `load ${number} ${i}`
      const [sent] = await producer.send({ topic, acks: -1, messages: [{ key: String(i), value }] }).catch(() => [])
      if (sent?.baseOffset !== undefined) acknowledged.set(`${sent.partition}@${sent.baseOffset}`, value)
    }
    await producer.disconnect()
  }
})

async function downloadBucket(bucket: string, into: string): Promise<void> {
  const { GetObjectCommand, ListObjectsV2Command } = await import('@aws-sdk/client-s3')
  const { mkdir, writeFile } = await import('node:fs/promises')
  const { dirname } = await import('node:path')
  const client = useS3().client()
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }))
  for (const { Key } of Contents) {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: Key! }))
    await mkdir(dirname(join(into, Key!)), { recursive: true })
    await writeFile(join(into, Key!), await Body!.transformToByteArray())
  }
  client.destroy()
}
