// What never passed through the proxy, or was not acknowledged: the archive has it all the same, byte for byte, and says of
// what the broker no longer has that it is missing, and why.
import { randomBytes } from 'node:crypto'
import { appendFile, readdir, readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { manifests } from '../support/archived.ts'
import { kafkaTool } from '../support/kafka-tools.ts'
import type { Worker, WorkerOptions } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { describeWith, useKafka } from '../support/servers.ts'
import { createTopic, deleteRecordsBelow, deleteTopic, send, withAdmin } from '../support/topics.ts'
import { until } from '../support/until.ts'
import { archiveFolder, countedGaps, dataPath, expectBrokersLog, expectClean, flush } from '../support/workers.ts'

const needs = ['kafka', 'kafka-files'] as const

const batches = (...names: string[]) => names.map(name => [1, 2, 3].map(i => ({ key: `${i}`, value: `${name} ${i}` })))

let worker: Worker | undefined

async function start(options: Partial<WorkerOptions> = {}): Promise<Worker> {
  worker = await startMillrace({ bootstrap: useKafka().bootstrap, ...options })
  return worker
}

afterEach(() => worker?.dispose())

/** Both batches get into the archive without anybody asking for it. */
async function expectDue(worker: Worker, topic: string): Promise<void> {
  const segments = () => manifests(archiveFolder(worker), topic, 0)
  await until(async () => (await segments()).at(-1)?.nextOffset === 6, { what: `all of ${topic} is archived` })
  expect((await segments()).flatMap(({ gaps }) => gaps)).toEqual([])
  await expectBrokersLog(worker, topic)
  await expectClean(worker, topic)
}

describeWith(needs, 'what is not captured', () => {
  test('acks=0 alone is archived when it is due', async () => {
    const worker = await start({ worker: { 'segment.ms': '500ms' } })
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker.bootstrap, topic, batches('a', 'b'), { acks: 0 })
    await expectDue(worker, topic)
  })

  test.each(['terminate', 'kill9'] as const)('acks=0 alone is archived also after a restart by %s', async how => {
    const worker = await start()
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker.bootstrap, topic, batches('a', 'b'), { acks: 0 })
    await withAdmin(useKafka().bootstrap, async admin => {
      const end = async () => (await admin.fetchTopicOffsets(topic))[0]!.high
      await until(async () => (await end()) === '6', { what: 'the broker has them' })
    })
    if (how === 'kill9') {
      const noted = async () =>
        (await readFile(dataPath(worker, 'reached.json'), 'utf8').catch(() => '')).includes(topic)
      await until(noted, { what: `${topic} is noted` })
    }
    await worker[how]()
    await worker.start()
    await flush(worker, topic)
    await expectBrokersLog(worker, topic)
    await expectClean(worker, topic)
  })

  test('with backfill: earliest a topic that only others write to is archived when it is due', async () => {
    const { bootstrap } = useKafka()
    const topic = await createTopic(bootstrap)
    const worker = await start({ worker: { 'segment.ms': '500ms' }, proxy: { topics: topic, backfill: 'earliest' } })
    await send(bootstrap, topic, batches('a', 'b'))
    await expectDue(worker, topic)
  })

  test('what others write behind the last capture, and while the worker is down, is archived without another capture', async () => {
    const { bootstrap } = useKafka()
    const topic = await createTopic(bootstrap)
    const worker = await start()
    await send(worker.bootstrap, topic, batches('through'))
    await flush(worker, topic)
    await send(bootstrap, topic, batches('past'))
    await flush(worker, topic)
    await expectBrokersLog(worker, topic)
    expect(await worker.terminate()).toBe(0)
    await send(bootstrap, topic, batches('meanwhile'))
    await worker.start()
    await flush(worker, topic)
    await expectBrokersLog(worker, topic)
    expect(await worker.terminate()).toBe(0)

    await send(bootstrap, topic, batches('again'))
    await rm(dataPath(worker, 'reached.json'))
    await worker.start()
    await send(worker.bootstrap, topic, batches('through'))
    await flush(worker, topic)
    await expectBrokersLog(worker, topic)
    await expectClean(worker, topic)
  })

  test.for([
    ['captured', 6, [{ from: 0, to: 6, reason: 'not-requested' }]],
    ['earliest', 0, []]
  ] as const)('backfill: %s begins a topic that was there before at offset %d', async ([backfill, first, gaps]) => {
    const { bootstrap } = useKafka()
    const topic = await createTopic(bootstrap)
    await send(bootstrap, topic, batches('before', 'us'))
    const worker = await start({ proxy: { topics: topic, backfill } })
    await send(bootstrap, topic, batches('past'))
    await send(worker.bootstrap, topic, batches('through'))
    await flush(worker, topic)
    const [segment, ...more] = await manifests(archiveFolder(worker), topic, 0)
    expect(more).toEqual([])
    expect(segment).toMatchObject({ baseOffset: 0, firstBatchOffset: first, nextOffset: 12, gaps })
    expect(await countedGaps(worker)).toEqual(gaps.length > 0 ? { 'not-requested': 1 } : {})
    if (backfill === 'earliest') await expectBrokersLog(worker, topic)
    await expectClean(worker, topic)
  })

  test('what the quota of the worker does not allow now is archived later', { timeout: 120_000 }, async () => {
    const { bootstrap } = useKafka()
    const topic = await createTopic(bootstrap)
    const client = ['--entity-type', 'clients', '--entity-name', 'millrace']
    const alter = (...change: string[]) =>
      kafkaTool('kafka.admin.ConfigCommand', ['--bootstrap-server', bootstrap, '--alter', ...change, ...client])
    await alter('--add-config', 'consumer_byte_rate=100000')
    try {
      for (let i = 0; i < 2; i++) await send(bootstrap, topic, [[{ value: randomBytes(700_000) }]])
      const worker = await start({ proxy: { topics: topic, backfill: 'earliest' } })
      await flush(worker, topic)
      await expectBrokersLog(worker, topic)
      const [first, ...more] = await manifests(archiveFolder(worker), topic, 0)
      expect([first?.nextOffset, more]).toEqual([2, []])
      const logs = await worker.logs()
      expect(logs).not.toContain('sealing failed')
      expect(logs).toMatch(new RegExp(`${topic}-0 waits [\\d.]+ s: the quota of client id millrace is used up`))
    } finally {
      await alter('--delete-config', 'consumer_byte_rate')
    }
  })

  test('with backfill: earliest after captured, a partition of which nothing is archived yet is archived whole', async () => {
    const { bootstrap } = useKafka()
    const topic = await createTopic(bootstrap, { partitions: 2 })
    await send(bootstrap, topic, batches('before', 'us'), { partition: 1 })
    const worker = await start({ proxy: { topics: topic } })
    await send(worker.bootstrap, topic, batches('through'))
    await flush(worker, topic) // sees both partitions
    expect(await manifests(archiveFolder(worker), topic, 1)).toEqual([])
    expect(await worker.terminate()).toBe(0)
    await appendFile(join(dirname(worker.configFile), 'connectors', 'proxy.yaml'), 'backfill: earliest\n')
    await worker.start()
    await flush(worker, topic)
    for (const partition of [0, 1]) await expectBrokersLog(worker, topic, partition)
    await expectClean(worker, topic)
  })

  test('what the broker has deleted is a gap', async () => {
    const { bootstrap } = useKafka()
    const topic = await createTopic(bootstrap)
    const worker = await start({ proxy: { topics: topic, backfill: 'earliest' } })
    await send(bootstrap, topic, batches('lost', 'kept'))
    await deleteRecordsBelow(bootstrap, topic, 3)
    await flush(worker, topic)
    await send(bootstrap, topic, batches('lost'))
    await deleteRecordsBelow(bootstrap, topic, 9)
    await send(bootstrap, topic, batches('kept'))
    await flush(worker, topic)
    const segments = await manifests(archiveFolder(worker), topic, 0)
    expect(segments).toMatchObject([
      { baseOffset: 3, nextOffset: 6, gaps: [] },
      {
        baseOffset: 6,
        nextOffset: 12,
        gaps: [{ from: 6, to: 9, reason: 'retention', foundAt: expect.stringMatching(/^\d{4}-.*Z$/) }]
      }
    ])
    expect(await countedGaps(worker)).toEqual({ retention: 1 })
  })

  test('an archive begins with the batch of which the broker has deleted the first records', async () => {
    const { bootstrap } = useKafka()
    const topic = await createTopic(bootstrap)
    const worker = await start({ proxy: { topics: topic, backfill: 'earliest' } })
    await send(bootstrap, topic, batches('cut', 'whole'))
    await deleteRecordsBelow(bootstrap, topic, 1)
    await flush(worker, topic)
    const segments = await manifests(archiveFolder(worker), topic, 0)
    expect(segments).toMatchObject([{ baseOffset: 0, firstBatchOffset: 0, nextOffset: 6, gaps: [] }])
    await expectBrokersLog(worker, topic)
    await expectClean(worker, topic)
  })

  test('a topic made anew under its name is another stream, also when nothing of it is captured', async () => {
    const { bootstrap } = useKafka()
    const topic = await createTopic(bootstrap)
    const worker = await start({ proxy: { topics: topic, backfill: 'earliest' } })
    await send(bootstrap, topic, batches('first'))
    await flush(worker, topic)
    await deleteTopic(bootstrap, topic)
    await createTopic(bootstrap, { name: topic })
    await send(bootstrap, topic, batches('second', 'third'))
    await flush(worker, topic)
    const segments = await manifests(archiveFolder(worker), topic, 0)
    expect(segments.map(({ nextOffset }) => nextOffset).sort()).toEqual([3, 6])
    expect(new Set(segments.map(({ topicId }) => topicId)).size).toBe(2)
  })

  test.for(['while the worker runs', 'while it is down'])(
    'what a topic had without its being captured is a gap when the topic has been deleted %s',
    async when => {
      const { bootstrap } = useKafka()
      const topic = await createTopic(bootstrap)
      const worker = await start({ worker: { 'segment.ms': '5s' }, proxy: { topics: topic, backfill: 'earliest' } })
      await send(bootstrap, topic, batches('past', 'past'))
      const metrics = async () => await (await fetch(`${worker.httpUrl}/metrics`)).text()
      await until(async () => (await metrics()).includes('\nmillrace_uncaptured_offsets 6\n'), {
        what: 'a look finds them'
      })
      if (when === 'while it is down') await worker.kill9()
      await deleteTopic(bootstrap, topic)
      if (when === 'while it is down') await worker.start()
      await flush(worker, topic)
      const segments = await manifests(archiveFolder(worker), topic, 0)
      const gaps = [{ from: 0, to: 6, reason: 'unavailable' }]
      expect(segments).toMatchObject([{ baseOffset: 0, nextOffset: 6, batches: 0, gaps }])
      expect(await countedGaps(worker)).toEqual({ unavailable: 1 })
    }
  )

  test('topics that are not to be archived, and those that nobody sends through the worker, are left alone', async () => {
    const { bootstrap } = useKafka()
    const [excluded, unmet, met] = [
      await createTopic(bootstrap),
      await createTopic(bootstrap),
      await createTopic(bootstrap)
    ]
    const worker = await start({ proxy: { 'topics.exclude': excluded } })
    for (const topic of [excluded, unmet, met]) await send(bootstrap, topic, batches('past'))
    for (const topic of [excluded, met]) await send(worker.bootstrap, topic, batches('through'))
    const { code, stderr } = await worker.command(['flush'])
    expect(code, stderr).toBe(0)
    const topics = (await readdir(archiveFolder(worker), { recursive: true })).flatMap(name => name.split('/')[1] ?? [])
    expect([...new Set(topics)].filter(name => !name.startsWith('.'))).toEqual([met])
  })
})
