// What becomes the record, against a real broker: several workers on one archive, crashes at the worst moment, captures
// that the broker contradicts, and what the broker has changed, deleted or compacted before it was sealed.
import { watch } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import kafkajs from 'kafkajs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseAddress } from '../../src/kafka/address.ts'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { batchesOf, encodeBatch } from '../../src/kafka/batch.ts'
import { Cluster, EARLIEST, LATEST } from '../../src/kafka/cluster.ts'
import type { SegmentManifest } from '../../src/segment/manifest.ts'
import { WalReader } from '../../src/wal/reader.ts'
import type { StreamKey } from '../../src/wal/stream.ts'
import { Wal } from '../../src/wal/wal.ts'
import { unreadable } from '../kafka/unreadable.ts'
import { archivedLog, logDifference, manifests } from '../support/archived.ts'
import { flipBit, flipInWal } from '../support/flip.ts'
import { kafkaClient } from '../support/kafka-client.ts'
import type { Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { describeWith, useKafka, useOwnKafka } from '../support/servers.ts'
import type { Acknowledged } from '../support/topics.ts'
import { createTopic, deleteRecordsBelow, deleteTopic, produceUntil, send, withAdmin } from '../support/topics.ts'
import { until } from '../support/until.ts'
import {
  archiveFolder,
  countedGaps,
  dataPath,
  expectAcknowledged,
  expectBrokersLog,
  expectClean,
  figuresOf,
  flush,
  useWorker
} from '../support/workers.ts'

const needs = ['kafka', 'kafka-files'] as const

/** The records of a search in everything that the worker reaches, oldest first. */
async function found(worker: Worker, topic: string, query: string, ...more: string[]) {
  const flags = ['--topic', topic, '--json', '--order', 'oldest', '--limit', '1000000', ...more]
  const { code, stdout, stderr } = await worker.command(['search', query, ...flags])
  expect(code, stderr).toBe(0)
  const lines = stdout.split('\n').filter(Boolean)
  return lines.map(line => JSON.parse(line) as { topicId: string; partition: number; offset: number; value: string })
}

/** Nothing of a topic waits in the worker's WAL: all of it was released. */
async function expectReleased(worker: Worker, topic: string): Promise<void> {
  const { code, stdout, stderr } = await worker.command(['flush', '--topic', topic, '--json'])
  expect(code, stderr).toBe(0)
  expect(JSON.parse(stdout)).toEqual({ partitions: [] })
}

/** The names of a topic's objects in the archive that this matches, without the folder of the topic. */
async function objects(worker: Worker, topic: string, pattern: RegExp): Promise<string[]> {
  const names = await readdir(archiveFolder(worker), { recursive: true })
  return names
    .flatMap(name => name.split(`${topic}/`)[1] ?? [])
    .filter(name => pattern.test(name))
    .sort()
}

/** From the root on each begins where the one before ends, and together they cover [0, end). */
function expectContiguous(segments: readonly SegmentManifest[], end: number): void {
  expect(segments.map(({ baseOffset }) => baseOffset)).toEqual([0, ...segments.slice(0, -1).map(one => one.nextOffset)])
  expect(segments.at(-1)?.nextOffset).toBe(end)
}

function clusterAt(bootstrap: string): Cluster {
  return new Cluster(bootstrap.split(',').map(parseAddress))
}

/** The batches that a broker has of a topic of one partition. */
async function logOf(bootstrap: string, topic: string): Promise<CanonicalBatch[]> {
  using cluster = clusterAt(bootstrap)
  const at = { topic, partition: 0 }
  const end = await cluster.listOffset(at, LATEST)
  const batches: CanonicalBatch[] = []
  for (let offset = await cluster.listOffset(at, EARLIEST); offset < end; ) {
    batches.push(...batchesOf((await cluster.fetchLog(at, offset)).records))
    offset = batches.at(-1)!.header.lastOffset + 1
  }
  return batches
}

async function endOf(topic: string, partition = 0): Promise<number> {
  const offsets = await withAdmin(useKafka().bootstrap, admin => admin.fetchTopicOffsets(topic))
  return Number(offsets.find(one => one.partition === partition)!.high)
}

describeWith(needs, 'two workers with one archive', () => {
  const one = useWorker(() => ({ worker: { 'segment.bytes': '1MiB' } }))
  let other: Worker
  beforeAll(async () => {
    other = await startMillrace({ bootstrap: useKafka().bootstrap, archiveUrl: one().archiveUrl })
  })
  afterAll(() => other?.dispose())

  test('make one chain of what each captured of the same partitions, with every record in it once', async () => {
    const topic = await createTopic(useKafka().bootstrap, { partitions: 2 })
    for (const partition of [0, 1]) {
      await send(one().bootstrap, topic, [[{ value: 'the first record decides where the archive begins' }]], {
        partition
      })
    }
    await flush(one(), topic)
    const acknowledged: Acknowledged = new Map()
    for (let round = 0; round < 3; round++) {
      const running = new AbortController()
      const load = Promise.all(
        [one(), one(), other, other].map(({ bootstrap }, i) =>
          produceUntil(running.signal, { bootstrap, topic, name: `${round} ${i}` }, acknowledged)
        )
      )
      const before = acknowledged.size
      await until(() => acknowledged.size > before + 200, { what: 'records are acknowledged', timeout: 30_000 })
      // Both at once, while the load goes on: each meets what the other has just put.
      await Promise.all([flush(one(), topic), flush(other, topic)])
      running.abort()
      await load
    }
    await Promise.all([flush(one(), topic), flush(other, topic)])
    await expectAcknowledged(topic, acknowledged)
    for (const partition of [0, 1]) {
      expectContiguous(await manifests(archiveFolder(one()), topic, partition), await endOf(topic, partition))
      await expectBrokersLog(one(), topic, partition)
    }
    for (const worker of [one(), other]) {
      await expectReleased(worker, topic)
      await expectClean(worker, topic)
      const records = await found(worker, topic, 'load')
      const byPlace = new Map(records.map(({ partition, offset, value }) => [`${partition}@${offset}`, value]))
      expect(byPlace.size).toBe(records.length)
      for (const [place, value] of acknowledged) expect(byPlace.get(place)).toBe(value)
    }
    expect(await objects(one(), topic, /extra\//)).toEqual([])
  })

  test('keep what one captured before the archive began with the other', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    await send(one().bootstrap, topic, [[{ value: 'early' }], [{ value: 'earlier than the archive' }]])
    await using late = await startMillrace({ bootstrap: useKafka().bootstrap, archiveUrl: one().archiveUrl })
    await send(late.bootstrap, topic, [[{ value: 'late' }]])
    await flush(late, topic)
    expect((await manifests(archiveFolder(one()), topic, 0)).map(({ gaps }) => gaps)).toMatchObject([
      [{ from: 0, to: 2, reason: 'not-requested' }]
    ])
    await flush(one(), topic)
    await expectReleased(one(), topic)
    await expectClean(one(), topic)
    expect(await objects(one(), topic, /extra\//)).toEqual([
      expect.stringMatching(/^[\w-]{22}\/0\/extra\/0{20}-[0-9a-f]{8}\.tar\.gz$/),
      expect.stringMatching(/^[\w-]{22}\/0\/extra\/0{19}1-[0-9a-f]{8}\.tar\.gz$/)
    ])
  })
})

describeWith(needs, 'a worker that dies when a segment has just been put', () => {
  const worker = useWorker(() => ({ worker: { 'segment.bytes': '1MiB' } }))

  test('finds it after the restart, releases what it holds, and puts none twice', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    const folder = archiveFolder(worker())
    const value = () => crypto.randomUUID().repeat(200)
    let restarts = 0
    for (let round = 0; round < 4; round++) {
      const batches = Array.from({ length: 6 }, () => Array.from({ length: 60 }, () => ({ value: value() })))
      await send(worker().bootstrap, topic, batches)
      const put = Promise.withResolvers<void>()
      const watcher = watch(folder, { recursive: true }, (_, name) => {
        if (name?.includes(topic) && name.endsWith('.tar.gz')) put.resolve()
      })
      const flushed = worker().command(['flush', '--topic', topic])
      await put.promise
      watcher.close()
      await worker().kill9()
      const { code } = await flushed
      if (code !== 0) restarts++
      await worker().start()
    }
    // A flush that was answered before the kill tests nothing; most are not.
    expect(restarts).toBeGreaterThan(0)
    await flush(worker(), topic)
    expectContiguous(await manifests(folder, topic, 0), await endOf(topic))
    await expectBrokersLog(worker(), topic)
    await expectClean(worker(), topic)
    await expectReleased(worker(), topic)
    expect(await objects(worker(), topic, /extra\//)).toEqual([])
  })
})

describeWith(needs, 'a capture that the broker contradicts', () => {
  const worker = useWorker()

  /** Puts a batch into the WAL of a worker that does not run, as if it had been captured. */
  async function capture(stream: StreamKey, baseOffset: number, batch: CanonicalBatch): Promise<void> {
    await using wal = await Wal.open({ directory: dataPath(worker(), 'wal'), maxBytes: 1024 ** 3 })
    const lastOffset = baseOffset + batch.header.lastOffset
    const { recordCount } = batch.header
    await wal.append([{ stream, baseOffset, lastOffset, recordCount, flags: 0, chunks: [batch.toWire()] }])
  }

  function streamOf(topic: string): StreamKey {
    using wal = WalReader.open(dataPath(worker(), 'wal'))
    return wal.streams().find(stream => stream.topic === topic)!
  }

  const wrong = (count: number): CanonicalBatch =>
    encodeBatch(
      Array.from({ length: count }, (_, offset) => ({
        offset,
        timestamp: 1_764_072_000_000,
        key: null,
        value: Buffer.from('never accepted'),
        headers: []
      }))
    )

  test.each([
    ['at the offset of another', 1, 1],
    ['over two others', 0, 2],
    ['in the place of one that was not captured, and into the next', 2, 3]
  ])('%s is put beside the main line, which has the broker’s own', async (_, offset, count) => {
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker().bootstrap, topic, [[{ value: 'a' }], [{ value: 'b' }]])
    await send(useKafka().bootstrap, topic, [[{ value: 'c' }, { value: 'd' }]])
    await send(worker().bootstrap, topic, [[{ value: 'e' }, { value: 'f' }]])
    await worker().kill9()
    await capture(streamOf(topic), offset, wrong(count))
    await worker().start()
    await flush(worker(), topic)
    await expectBrokersLog(worker(), topic)
    await expectExtra(topic, offset)
  })

  test('when the archive already has the other one is put beside it too', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker().bootstrap, topic, [[{ value: 'a' }], [{ value: 'b' }]])
    await worker().kill9()
    const stream = streamOf(topic)
    await worker().start()
    await flush(worker(), topic)
    await worker().kill9()
    await capture(stream, 1, wrong(1))
    await worker().start()
    await flush(worker(), topic)
    await expectBrokersLog(worker(), topic)
    await expectExtra(topic, 1)
  })

  test('of a repeat with other bytes, which the broker answers with the offset of the first', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    using direct = clusterAt(useKafka().bootstrap)
    using throughProxy = clusterAt(worker().bootstrap)
    const producer = await direct.initProducerId()
    const repeat = (value: string) =>
      encodeBatch([{ offset: 0, timestamp: Date.now(), key: null, value: Buffer.from(value), headers: [] }], {
        ...producer,
        baseSequence: 0
      }).toWire()
    const at = { topic, partition: 0 }
    // As when the leader dies before it could answer, and the producer sends again.
    expect(await direct.produceBatch(at, repeat('the first attempt'))).toBe(0)
    expect(await throughProxy.produceBatch(at, repeat('the second one'))).toBe(0)
    await flush(worker(), topic)
    await expectBrokersLog(worker(), topic)
    await expectExtra(topic, 0)
  })

  async function expectExtra(topic: string, offset: number): Promise<void> {
    const name = String(offset).padStart(20, '0')
    expect(await objects(worker(), topic, /extra\//)).toEqual([
      expect.stringMatching(new RegExp(`^[\\w-]{22}/0/extra/${name}-[0-9a-f]{8}\\.tar\\.gz$`))
    ])
    const warnings = (await worker().logs())
      .split('\n')
      .filter(line => line.includes('"level":40') && line.includes(topic))
    expect(warnings.map(line => JSON.parse(line))).toMatchObject([
      { offset, msg: expect.stringMatching('as an extra') }
    ])
    expect((await figuresOf(worker())).get('millrace_archived_extras_total')).toBeGreaterThanOrEqual(1)
    await expectReleased(worker(), topic)
    await expectClean(worker(), topic)
  }
})

describeWith(needs, 'what the broker changes', () => {
  const worker = useWorker()

  test('a wrong max timestamp is set right as the broker does, and noted', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    // kafkajs writes the first and the last timestamp into the header, whatever lies between.
    const now = Date.now()
    await send(worker().bootstrap, topic, [
      [{ value: 'in order', timestamp: String(now) }],
      [{ value: 'explicit', timestamp: '1700000000000' }, { value: 'by default' }],
      [{ value: 'by default' }, { value: 'explicit', timestamp: '1700000000000' }],
      [
        { value: 'ahead', timestamp: String(now + 1_000) },
        { value: 'behind', timestamp: String(now) }
      ]
    ])
    await flush(worker(), topic)
    await expectBrokersLog(worker(), topic)
    const [segment] = await manifests(archiveFolder(worker()), topic, 0)
    expect(segment!.rewrittenByBroker.length).toBeGreaterThan(0)
    for (const { field } of segment!.rewrittenByBroker) expect(field).toBe('maxTimestamp')
    await expectReleased(worker(), topic)
    expect(await objects(worker(), topic, /extra\//)).toEqual([])
    await expectClean(worker(), topic)
  })

  test('what a codec of the topic’s own makes of it, also when that has been changed since, or just now', async () => {
    const { bootstrap } = useKafka()
    const topic = await createTopic(bootstrap)
    const sendOne = (name: string) => send(worker().bootstrap, topic, [[{ value: name.repeat(1_000) }]])
    await sendOne('a')
    await flush(worker(), topic)
    for (const [before, compressionType, behind] of [
      ['b', 'gzip', 'c'],
      ['d', 'producer', 'e']
    ] as const) {
      await sendOne(before)
      await changeSetting(topic, 'compression.type', compressionType)
      await sendOne(behind)
      await flush(worker(), topic)
    }
    await expectBrokersLog(worker(), topic)
    await expectReleased(worker(), topic)
    expect(await objects(worker(), topic, /extra\//)).toEqual([])
  })

  test.each(['producer', 'zstd'])(
    'the times that the broker gives, with compression.type=%s',
    async compressionType => {
      const { bootstrap } = useKafka()
      const settings = { 'message.timestamp.type': 'LogAppendTime', 'compression.type': compressionType }
      const topic = await createTopic(bootstrap, { settings })
      const headers = { header: 'of the producer' }
      const sent = Array.from({ length: 3 }, (_, i) => [{ value: `${i}` }, { key: `${i}`, value: `${i}`, headers }])
      await send(worker().bootstrap, topic, sent)
      await flush(worker(), topic)
      await expectBrokersLog(worker(), topic)
      await expectReleased(worker(), topic)
      expect(await objects(worker(), topic, /extra\//)).toEqual([])
    }
  )

  async function changeSetting(topic: string, name: string, value: string): Promise<void> {
    const resource = { type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }
    await withAdmin(useKafka().bootstrap, async admin => {
      await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries: [{ name, value }] }] })
      const told = async () => {
        const { resources } = await admin.describeConfigs({
          includeSynonyms: false,
          resources: [{ ...resource, configNames: [name] }]
        })
        return resources[0]!.configEntries[0]!.configValue
      }
      await until(async () => (await told()) === value, { what: `${name} is ${value}` })
    })
  }

  test('what was deleted before it was sealed is a gap with its reason, unless it was captured', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    const direct = useKafka().bootstrap
    const three = [{ value: 'x' }, { value: 'y' }, { value: 'z' }]
    await send(worker().bootstrap, topic, [[{ value: 'captured' }]])
    await send(direct, topic, [three, three])
    await send(worker().bootstrap, topic, [[{ value: 'captured' }]])
    // Into the middle of the second batch of three: the broker keeps that batch whole.
    await deleteRecordsBelow(useKafka().bootstrap, topic, 5)
    await flush(worker(), topic)
    const [segment, ...more] = await manifests(archiveFolder(worker()), topic, 0)
    expect(more).toEqual([])
    expect(segment).toMatchObject({ baseOffset: 0, nextOffset: 8, records: 5, batches: 3 })
    expect(segment!.gaps).toMatchObject([{ from: 1, to: 4, reason: 'retention' }])
    await expectReleased(worker(), topic)
    // A loss is something that verify must not be silent about.
    const { code, stdout } = await worker().command(['verify', '--topic', topic])
    expect(code).toBe(1)
    expect(stdout).toMatch(`gap: ${topic}-0 offsets 1 to 3: retention, lost`)
  })

  test('all that was deleted at the end of the log is a gap too', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    const direct = useKafka().bootstrap
    await send(worker().bootstrap, topic, [[{ value: 'captured' }]])
    await send(direct, topic, [[{ value: 'x' }, { value: 'y' }]])
    await deleteRecordsBelow(useKafka().bootstrap, topic, 3)
    await flush(worker(), topic)
    const [segment] = await manifests(archiveFolder(worker()), topic, 0)
    expect(segment).toMatchObject({ baseOffset: 0, nextOffset: 3, records: 1 })
    expect(segment!.gaps).toMatchObject([{ from: 1, to: 3, reason: 'retention' }])
  })

  test('a topic that is deleted and made again is two, and searches find the newer', async () => {
    const direct = useKafka().bootstrap
    const topic = await createTopic(direct)
    await send(worker().bootstrap, topic, [[{ value: 'incarnation one' }], [{ value: 'incarnation one' }]])
    await send(worker().bootstrap, topic, [[{ value: 'captured, and not sealed yet' }]])
    await deleteTopic(direct, topic)
    await createTopic(direct, { name: topic })
    await send(worker().bootstrap, topic, [[{ value: 'incarnation two' }]])
    await flush(worker(), topic)
    await expectReleased(worker(), topic)
    await expectClean(worker(), topic)
    expect(await objects(worker(), topic, /root\.json$/)).toHaveLength(2)
    const newest = await found(worker(), topic, 'incarnation OR captured')
    expect(newest.map(({ offset, value }) => [offset, value])).toEqual([[0, 'incarnation two']])
    const all = await found(worker(), topic, 'incarnation OR captured', '--all-incarnations')
    expect(all.map(({ offset, value }) => [offset, value]).sort()).toEqual([
      [0, 'incarnation one'],
      [0, 'incarnation two'],
      [1, 'incarnation one'],
      [2, 'captured, and not sealed yet']
    ])
    expect(new Set(all.map(({ topicId }) => topicId)).size).toBe(2)
  })
})

describeWith(needs, 'a client that does not know yet that its topic was made anew', () => {
  const worker = useWorker()

  test.each([
    ['behind', 1],
    ['before', 6]
  ])('has what it sends archived with the new topic, %s the end of the old one', async (_, sentBefore) => {
    const direct = useKafka().bootstrap
    const topic = await createTopic(direct)
    const producer = kafkaClient(worker().bootstrap).producer()
    await producer.connect()
    const sendOne = (value: string) => producer.send({ topic, acks: -1, messages: [{ value }] })
    for (let sent = 0; sent < sentBefore; sent++) await sendOne('incarnation one')
    await flush(worker(), topic)
    await deleteTopic(direct, topic)
    await createTopic(direct, { name: topic })
    // Others come first, not through the worker, so that it cannot tell by the offset.
    const three = Array.from({ length: 3 }, () => ({ value: 'incarnation two' }))
    await send(direct, topic, [three])
    await sendOne('incarnation two')
    await producer.disconnect()
    await flush(worker(), topic)
    await expectReleased(worker(), topic)
    const segments = await manifests(archiveFolder(worker()), topic, 0)
    const reach = segments.map(({ nextOffset, records, gaps }) => ({ nextOffset, records, gaps }))
    expect(reach.sort((a, b) => a.records - b.records)).toEqual(
      [sentBefore, 4].sort().map(records => ({ nextOffset: records, records, gaps: [] }))
    )
    expect(await objects(worker(), topic, /extra\//)).toEqual([])
  })
})

describeWith(needs, 'batches that cannot be read', () => {
  const worker = useWorker(() => ({ worker: { 'max.decompressed.bytes': '1MiB' } }))

  test('are archived and replayed byte for byte, and stop neither the partition nor its search', async () => {
    const { bootstrap } = useKafka()
    const forever = String(2n ** 63n - 1n)
    const topic = await createTopic(bootstrap, { settings: { 'message.timestamp.after.max.ms': forever } })
    const producer = kafkaClient(worker().bootstrap).producer()
    await producer.connect()
    const messages = [{ value: Buffer.alloc(4 * 1024 * 1024) }]
    await producer.send({ topic, acks: -1, compression: kafkajs.CompressionTypes.GZIP, messages })
    await producer.disconnect()
    using throughProxy = clusterAt(worker().bootstrap)
    using direct = clusterAt(bootstrap)
    const at = { topic, partition: 0 }
    const others = unreadable.slice(1).map(([, make]) => make(0).toWire())
    for (const wire of others) await throughProxy.produceBatch(at, wire)
    // One that is not captured, so that it is fetched.
    await direct.produceBatch(at, others[0]!)
    await send(worker().bootstrap, topic, [[{ value: 'behind them' }]])

    const notSearched = 2 + others.length
    for (const isSealed of [false, true]) {
      if (isSealed) await flush(worker(), topic)
      const records = await found(worker(), topic, 'behind')
      expect(records).toEqual([
        expect.objectContaining({ offset: 2 * notSearched - 1, value: 'behind them' }),
        { notSearched: isSealed ? notSearched : notSearched - 1 }
      ])
    }
    // In more files than one at the broker, which begins another at a time so far ahead.
    const brokers = Buffer.concat((await logOf(bootstrap, topic)).map(batch => batch.withLeaderEpoch(0).toWire()))
    expect(logDifference(await archivedLog(archiveFolder(worker()), topic, 0), brokers)).toBeNull()
    await expectReleased(worker(), topic)
    const verified = await worker().command(['verify', '--topic', topic])
    expect(verified).toMatchObject({ code: 0, stdout: expect.stringContaining(`${notSearched} batches not indexed`) })

    const restored = `${topic}-restored`
    const replayed = await worker().command(['replay', '--topic', topic, '--to-topic', restored])
    expect(replayed.code, replayed.stderr).toBe(0)
    // All but the offset and the producer, which are new: attributes and times, then the records.
    const contents = async (topic: string) =>
      (await logOf(bootstrap, topic))
        .map(batch => batch.toWire())
        .map(wire => [wire.subarray(21, 43), wire.subarray(57)])
    expect(await contents(restored)).toEqual(await contents(topic))
  })
})

describeWith(needs, 'what a disk spoils in the WAL', () => {
  const worker = useWorker(() => ({ worker: { 'segment.ms': '1h' } }))
  const wal = () => dataPath(worker(), 'wal')
  const values = (name: string) => Array.from({ length: 6 }, (_, i) => `${name} number ${i}`)

  /** The archive has all of it, and the worker let go of the file, which stays under another name. */
  async function expectHealed(topic: string, sent: readonly string[], damaged: string): Promise<void> {
    await expectBrokersLog(worker(), topic)
    expect((await manifests(archiveFolder(worker()), topic, 0)).flatMap(({ gaps }) => gaps)).toEqual([])
    expect((await found(worker(), topic, 'number')).map(({ value }) => value)).toEqual(sent)
    // All topics: others may have something in the same file.
    expect(await worker().command(['flush'])).toMatchObject({ code: 0 })
    await until(async () => (await readdir(wal())).includes(damaged), { what: `${damaged} is set aside` })
    await until(async () => (await worker().logs()).includes(damaged), { what: 'the log says so' })
    await expectClean(worker(), topic)
  }

  /** The log names a frame that begins before this place, with its topic and offset. */
  async function expectNamed(topic: string, offset: number, { file, position }: { file: string; position: number }) {
    const lines = (await worker().logs()).split('\n').filter(line => line.includes('damaged: ') && line.includes(topic))
    const named = lines.flatMap(line => {
      const [, byte] = line.includes(file) ? (/frame \d+, at byte (\d+)/.exec(line) ?? []) : []
      const isOfOffset = line.includes(`${topic}-0, offset ${offset};`) || line.includes(`"offset":${offset},`)
      return byte !== undefined && isOfOffset ? Number(byte) : []
    })
    expect(named).toEqual([expect.any(Number)])
    expect(named[0]).toBeLessThan(position)
  }

  test('while the worker is down comes from the broker after the next start, whichever batches it is', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    const sent = values('down')
    await send(
      worker().bootstrap,
      topic,
      sent.map(value => [{ value }])
    )
    await worker().kill9()
    const flipped = new Map<number, { file: string; position: number }>()
    for (const offset of [0, 3, 5]) flipped.set(offset, await flipInWal(wal(), sent[offset]!))
    const { file } = flipped.get(0)!
    await flipBit(file, (await readFile(file)).indexOf('MRGR', flipped.get(0)!.position))
    await worker().start()
    await flush(worker(), topic)
    for (const [offset, place] of flipped) await expectNamed(topic, offset, place)
    await expectHealed(topic, sent, basename(file).replace('.wal', '.damaged'))
  })

  test('while the worker runs is found when it seals, and comes from the broker at once', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    const sent = values('running')
    await send(
      worker().bootstrap,
      topic,
      sent.map(value => [{ value }])
    )
    const flipped = await flipInWal(wal(), sent[4]!)
    await flush(worker(), topic)
    await expectNamed(topic, 4, flipped)
    await expectBrokersLog(worker(), topic)
    // The file that takes appends cannot go; after a start it takes none any more.
    await worker().kill9()
    await worker().start()
    await flush(worker(), topic)
    await expectHealed(topic, sent, basename(flipped.file).replace('.wal', '.damaged'))
  })
})

describeWith(['kafka-own'], 'a compacted topic', () => {
  // Kafka's own pauses would make this test wait for half a minute.
  const kafka = useOwnKafka({ nodes: 1, settings: { 'log.cleaner.backoff.ms': '100' } })

  test('keeps what was captured; what compaction removed of the rest is a gap', async () => {
    const { bootstrap } = kafka()
    await using worker = await startMillrace({ bootstrap })
    const settings = { 'cleanup.policy': 'compact', 'segment.ms': '100', 'min.cleanable.dirty.ratio': '0.01' }
    const topic = await createTopic(bootstrap, { settings })
    const batch = (value: string) => [
      { key: 'a', value },
      { key: 'b', value }
    ]
    await send(worker.bootstrap, topic, [batch('captured')])
    await send(bootstrap, topic, [batch('removed'), batch('removed too'), batch('kept')])
    // The newest segment is never compacted, so a record of another key rolls it, again and again until it is done.
    const isCompacted = async () => {
      await send(worker.bootstrap, topic, [[{ key: 'c', value: 'roll' }]])
      return (await consumed(bootstrap, topic)).every(value => !value.startsWith('removed'))
    }
    await until(isCompacted, { what: 'the log is compacted', timeout: 30_000, interval: 200 })
    await flush(worker, topic)
    const segments = await manifests(archiveFolder(worker), topic, 0)
    expect(segments.flatMap(({ gaps }) => gaps)).toMatchObject([{ from: 2, to: 6, reason: 'compacted' }])
    expect(await countedGaps(worker)).toEqual({ compacted: 1 })
    await expectClean(worker, topic)
    await expectReleased(worker, topic)
    const records = await found(worker, topic, 'captured OR kept OR removed')
    expect(records.map(({ offset, value }) => [offset, value])).toEqual([
      [0, 'captured'],
      [1, 'captured'],
      [6, 'kept'],
      [7, 'kept']
    ])
  })

  /** The values that a consumer sees now. */
  async function consumed(bootstrap: string, topic: string): Promise<string[]> {
    const batches = await logOf(bootstrap, topic)
    return batches.flatMap(batch => [...batch.records()].map(({ value }) => String(value)))
  }
})
