// A segment made of a real broker's log, against the broker's own files and Kafka's own tools.
import { execFileSync } from 'node:child_process'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CompressionTypes } from 'kafkajs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { batchesOf } from '../../src/kafka/batch.ts'
import { Cluster, LATEST } from '../../src/kafka/cluster.ts'
import type { SegmentManifest } from '../../src/segment/manifest.ts'
import { withTrueMaxTimestamp } from '../../src/segment/max-timestamp.ts'
import { fileSource, SegmentReader } from '../../src/segment/reader.ts'
import { writeSegment } from '../../src/segment/writer.ts'
import { plan } from '../segment/segments.ts'
import { findProgram } from '../support/found.ts'
import type { KafkaCluster } from '../support/kafka.ts'
import { kafkaClient } from '../support/kafka-client.ts'
import { consoleProduce, dumpLog } from '../support/kafka-tools.ts'
import { kcat } from '../support/kcat.ts'
import { describeWith, useOwnKafka } from '../support/servers.ts'
import type { TempFolder } from '../support/temp.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'

const TOPIC = 'orders'
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const KINDS = ['log', 'index', 'timeindex', 'txnindex'] as const
const BASE = '0'.repeat(20)
const python = await findProgram('python3')

describeWith(['kafka-own', 'kafka-tools', 'kcat'], "a segment of a broker's log", () => {
  const cluster = useOwnKafka({ nodes: 1 })
  let folder: TempFolder
  let extracted: string
  let file: string
  let manifest: SegmentManifest
  let batches: CanonicalBatch[]
  let broker: Record<(typeof KINDS)[number], Buffer>

  beforeAll(async () => {
    folder = await tempFolder('segment')
    // Not restarted in between: a broker begins its count of bytes to the next index entry anew then.
    const { bootstrap, stop, segmentFiles } = cluster()
    await produceWithAll(bootstrap)
    await produceTransactions(cluster())
    const [log, ...others] = await segmentFiles(TOPIC, 0)
    expect(others).toEqual([])
    await stop(1) // a broker that stops in peace cuts its index files to what is in them
    broker = Object.fromEntries(
      await Promise.all(KINDS.map(async kind => [kind, await readFile(log!.replace(/log$/, kind))]))
    )

    batches = [...batchesOf(broker.log)]
    file = join(folder.path, 'segment.tar.gz')
    const nextOffset = batches.at(-1)!.header.lastOffset + 1
    const source = batches.map(batch => ({ batch, fromBroker: true }))
    manifest = writeSegment({ ...plan, topic: TOPIC, nextOffset }, source, file).manifest
    extracted = join(folder.path, 'extracted')
    await mkdir(extracted)
    execFileSync('tar', ['xzf', file, '-C', extracted])
  })
  afterAll(() => folder.dispose())

  const path = (kind: (typeof KINDS)[number]) => join(extracted, `${BASE}.${kind}`)

  test.for(KINDS)("its .%s is the broker's own, byte for byte", async kind => {
    const own = await readFile(path(kind))
    expect(own.length).toBeGreaterThan(30)
    expect(own.equals(broker[kind]), `${own.length} bytes, the broker has ${broker[kind].length}`).toBe(true)
  })

  test('kafka-dump-log reads all four files without complaint', async () => {
    const dump = await dumpLog(['--deep-iteration', '--files', KINDS.map(path).join(',')])
    expect(dump).not.toMatch(/mismatch|out of order|corrupt|isvalid: false|could not|exception|non-consecutive/i)
    expect(dump.match(/^baseOffset: /gm)).toHaveLength(manifest.batches)
    expect(dump.match(/^offset: \d+ position: \d+$/gm)).toHaveLength(broker.index.length / 8)
    expect(dump.match(/^timestamp: \d+ offset: \d+$/gm)).toHaveLength(broker.timeindex.length / 12)
    for (const codec of CODECS) expect(dump).toContain(`compresscodec: ${codec} `)
    const aborted = [
      ...dump.matchAll(/producerId: (\d+) firstOffset: (\d+) lastOffset: (\d+) lastStableOffset: (\d+)/g)
    ]
    expect(aborted.map(match => match.slice(1).map(Number))).toEqual(
      manifest.abortedTransactions.map(({ producerId, firstOffset, lastOffset, lastStableOffset }) => [
        producerId,
        firstOffset,
        lastOffset,
        lastStableOffset
      ])
    )
  })

  test("Kafka's sanity check passes both indexes", async () => {
    const dump = await dumpLog(['--index-sanity-check', '--files', `${path('index')},${path('timeindex')}`])
    expect(dump.match(/passed sanity check/g)).toHaveLength(2)
  })

  test('the manifest lists the aborted transactions, and none is open', () => {
    expect(manifest.abortedTransactions).toHaveLength(2)
    const [first, second] = manifest.abortedTransactions
    // The first was aborted while the second was open, so what is stable then ends where that one begins.
    expect(first!.lastStableOffset).toBe(second!.firstOffset)
    expect(manifest.openTransactions).toEqual([])
  })

  test("the broker's max timestamps are what a captured batch would get", () => {
    for (const batch of batches) expect(withTrueMaxTimestamp(batch)).toBe(batch)
    const mixed = batches.find(({ header }) => header.maxTimestamp === 2_000 && header.baseTimestamp === 1_000)!
    expect(withTrueMaxTimestamp(mixed.withMaxTimestamp(1_500)).toWire().equals(mixed.toWire())).toBe(true)
  })

  test('is verified whole', async () => {
    expect(await (await SegmentReader.open(fileSource(file))).verify(null)).toEqual([])
  })

  test('finds what each client produced', async () => {
    const reader = await SegmentReader.open(fileSource(file))
    using index = await reader.searchIndex()
    for (const codec of CODECS) {
      const [match, ...others] = [...index.match(`"${codec}" AND "by" AND "kcat"`)]
      expect(others).toEqual([])
      for await (const { value } of reader.records({ from: match!.offset, to: match!.offset + 1 })) {
        expect(value!.toString()).toBe(`${codec} by kcat`)
      }
    }
  })

  test.skipIf(python === undefined)("is an ordinary tar.gz for Python's tarfile", () => {
    const script = `import sys, tarfile, json
with tarfile.open(sys.argv[1], 'r:gz') as tar:
  print(json.dumps([[m.name, m.size] for m in tar.getmembers()]))
  print(json.load(tar.extractfile('segment.json'))['logSha256'])`
    const [members, sha256] = execFileSync(python!, ['-c', script, file]).toString().trim().split('\n')
    expect(JSON.parse(members!)).toEqual([
      ['segment.json', expect.any(Number)],
      ...KINDS.map(kind => [`${BASE}.${kind}`, broker[kind].length]),
      ['search.db', expect.any(Number)],
      ['search.filter', expect.any(Number)]
    ])
    expect(sha256).toBe(manifest.logSha256)
  })
})

/** Every codec by librdkafka, Java's snappy, times out of order by kafkajs, and enough batches for some index entries. */
async function produceWithAll(bootstrap: string): Promise<void> {
  await consoleProduce({
    bootstrap,
    topic: TOPIC,
    args: ['--compression-codec', 'snappy'],
    input: 'by Java\n'.repeat(20)
  })
  for (const codec of CODECS) {
    const args = ['-b', bootstrap, '-P', '-t', TOPIC, '-z', codec, '-X', 'acks=all']
    // Batches that compression does not make smaller are sent as they are.
    await kcat(args, { input: `${codec} by kcat\n${'the same again '.repeat(50)}` })
  }
  const producer = kafkaClient(bootstrap).producer()
  await producer.connect()
  const messages = [1_000, 2_000, 1_500].map(timestamp => ({ value: 'by kafkajs', timestamp: String(timestamp) }))
  await producer.send({ topic: TOPIC, messages, compression: CompressionTypes.GZIP })
  await producer.send({ topic: TOPIC, messages: [{ key: null, value: null, headers: { h: ['1', '2'] } }] })
  for (let i = 0; i < 100; i++) {
    const value = `filler ${i} `.repeat(60)
    await producer.send({
      topic: TOPIC,
      messages: [
        { key: `k${i}`, value },
        { key: null, value }
      ]
    })
  }
  await producer.disconnect()
}

/** Two transactions that overlap and are aborted, and one that is committed between them. */
async function produceTransactions({ bootstrap, nodes }: KafkaCluster): Promise<void> {
  const kafka = kafkaClient(bootstrap)
  // kafkajs tells the last stable offset, which stands still while a transaction is open.
  using raw = new Cluster(nodes.map(({ port }) => ({ host: '127.0.0.1', port })))
  const end = () => raw.listOffset({ topic: TOPIC, partition: 0 }, LATEST)
  const start = await end()
  const producers = ['a', 'b', 'c'].map(name =>
    kafka.producer({ transactionalId: name, idempotent: true, maxInFlightRequests: 1 })
  )
  for (const producer of producers) await producer.connect()
  const send = (value: string) => ({ topic: TOPIC, messages: [{ value }, { value }] })
  const [a, b, c] = await Promise.all(producers.map(producer => producer.transaction()))
  // A marker follows the answer to its EndTxn, so the log's end tells when it is there.
  const grown = (by: number) => until(async () => (await end()) === start + by, { what: `${by} more offsets` })
  await a!.send(send('aborted first'))
  await c!.send(send('committed'))
  await c!.commit()
  await grown(5)
  await b!.send(send('aborted second'))
  await a!.send(send('aborted first, too'))
  await a!.abort()
  await grown(10)
  await b!.abort()
  await grown(11)
  for (const producer of producers) await producer.disconnect()
}
