// What a worker tells probes and scrapers, on a real Kafka: when it turns unready and why, and that its figures are those
// of what was really produced and archived.
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { proxyMetrics } from '../../connectors/kafka-proxy/metrics.ts'
import type { Reason } from '../../src/server/health.ts'
import { workerMetrics } from '../../src/server/metrics.ts'
import { manifests } from '../support/archived.ts'
import { filesBelow } from '../support/files.ts'
import { kafkaClient } from '../support/kafka-client.ts'
import type { Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { parseMetrics } from '../support/prometheus.ts'
import { describeWith, useKafka, useOwnKafka } from '../support/servers.ts'
import { createTopic, send } from '../support/topics.ts'
import { until } from '../support/until.ts'
import { archiveFolder, dataPath, flush, useWorker } from '../support/workers.ts'

const MiB = 1024 * 1024

/** A probe that waits no longer than an orchestrator's. */
const probe = (worker: Worker, path: string) =>
  fetch(`${worker.httpUrl}${path}`, { signal: AbortSignal.timeout(1_000) })

/** The reasons that /readyz gives; none when it says ready. */
async function reasons(worker: Worker): Promise<readonly Reason[]> {
  const answer = await probe(worker, '/readyz')
  const body = (await answer.json()) as { status: string; reasons?: Reason[] }
  expect(body.status).toBe(answer.status === 200 ? 'ready' : 'not ready')
  expect(answer.status).toBe(body.reasons === undefined ? 200 : 503)
  return body.reasons ?? []
}

/** Waits until the worker is unready for exactly this, and gives the message. */
async function unreadyFor(worker: Worker, what: Reason['what'], timeout = 10_000): Promise<string> {
  let last: readonly Reason[] = []
  const isIt = async () => {
    last = await reasons(worker)
    return last.length === 1 && last[0]!.what === what && last[0]!.message
  }
  return await until(isIt, { what: `${what} alone is why it is unready`, timeout }).catch(cause => {
    throw new Error(`the last answer: ${JSON.stringify(last)}`, { cause })
  })
}

const ready = (worker: Worker, timeout = 10_000) =>
  until(async () => (await reasons(worker)).length === 0, { what: 'the worker is ready', timeout })

async function scrape(worker: Worker): Promise<(sample: string) => number | undefined> {
  const answer = await probe(worker, '/metrics')
  expect(answer.status).toBe(200)
  const families = parseMetrics(await answer.text())
  const samples = new Map([...families.values()].flatMap(({ samples }) => [...samples]))
  return sample => samples.get(sample)
}

describeWith(['kafka-own'], 'a worker whose cluster stops', () => {
  const kafka = useOwnKafka({ nodes: 1 })
  let worker: Worker
  beforeAll(async () => {
    worker = await startMillrace({ bootstrap: kafka().bootstrap })
  })
  afterAll(() => worker?.dispose())

  test('is unready until the cluster is there again, alive all the time, and answers at once', async () => {
    expect(await reasons(worker)).toEqual([])
    await kafka().stop(1)
    expect(await unreadyFor(worker, 'upstream')).toContain(`broker ${kafka().bootstrap}: `)
    expect((await probe(worker, '/livez')).status).toBe(200)
    const down = await scrape(worker)
    expect(down('millrace_not_ready{reason="upstream"}')).toBe(1)
    expect(down('millrace_not_ready{reason="wal"}')).toBe(0)

    await kafka().start(1)
    await ready(worker)
    expect((await scrape(worker))('millrace_not_ready{reason="upstream"}')).toBe(0)
  })
})

describeWith(['kafka', 'kafka-files'], 'the figures of a worker', () => {
  const worker = useWorker(() => ({ worker: { 'wal.max.bytes': '64MiB' } }))

  test('are those of what was produced and archived', async () => {
    const { bootstrap } = useKafka()
    const topic = await createTopic(bootstrap)
    const records = (count: number) => Array.from({ length: count }, (_, i) => ({ value: `record ${i}` }))
    // Past the worker, then three batches through it, then past it again.
    await send(bootstrap, topic, [records(2)])
    await send(worker().bootstrap, topic, [records(1), records(5), records(20)])
    const [log] = await useKafka().segmentFiles(topic, 0)
    const captured = (await batchSizes(log!)).slice(1)
    await send(worker().bootstrap, topic, [records(1)], { acks: 0 })
    await until(async () => (await batchSizes(log!)).length === 5, { what: 'the record without an answer is there' })
    await send(bootstrap, topic, [records(3), records(4)])

    const unsealed = await scrape(worker())
    expect(unsealed('millrace_captured_batches_total{connector="proxy"}')).toBe(3)
    expect(unsealed('millrace_captured_records_total{connector="proxy"}')).toBe(26)
    expect(unsealed('millrace_captured_bytes_total{connector="proxy"}')).toBe(sum(captured))
    expect(unsealed('millrace_proxy_produce_requests_total{connector="proxy",outcome="answered"}')).toBe(3)
    expect(unsealed('millrace_proxy_produce_requests_total{connector="proxy",outcome="unacknowledged"}')).toBe(1)
    expect(unsealed('millrace_proxy_answer_held_seconds_count{connector="proxy"}')).toBe(3)
    expect(unsealed('millrace_proxy_inflight_bytes{connector="proxy"}')).toBe(0)
    expect(unsealed('millrace_wal_commit_seconds_count')).toBe(3)
    expect(unsealed('millrace_unarchived_batches')).toBe(3)
    expect(unsealed('millrace_unarchived_bytes')).toBe(sum(captured))
    expect(unsealed('millrace_unarchived_oldest_seconds')).toBeGreaterThan(0)
    expect(unsealed('millrace_unarchived_oldest_seconds')).toBeLessThan(60)
    expect(unsealed('millrace_unarchived_limit_seconds')).toBe(3 * 600 + 60)
    expect(unsealed('millrace_archived_segments_total')).toBe(0)

    await flush(worker(), topic)
    const sealed = await scrape(worker())
    const archived = await manifests(archiveFolder(worker()), topic, 0)
    expect(archived).toHaveLength(1)
    expect(sealed('millrace_archived_segments_total')).toBe(1)
    expect(sealed('millrace_archived_batches_total')).toBe(archived[0]!.batches)
    expect(sealed('millrace_archived_records_total')).toBe(2 + 26 + 1 + 7)
    expect(sealed('millrace_archived_records_total')).toBe(archived[0]!.records)
    expect(sealed('millrace_archived_bytes_total')).toBe(sum(await batchSizes(log!)))
    expect(sealed('millrace_fetched_batches_total')).toBe(1 + 1 + 2)
    expect(sealed('millrace_uncaptured_offsets')).toBe(0)
    expect(archived[0]!.gaps).toEqual([])
    expect(sealed('millrace_archived_gaps_total{reason="not-requested"}')).toBe(0)
    expect(sealed('millrace_archived_gaps_total{reason="retention"}')).toBe(0)
    expect(sealed('millrace_archived_extras_total')).toBe(0)
    expect(sealed('millrace_sealing_failures_total')).toBe(0)
    expect(sealed('millrace_wal_append_failures_total')).toBe(0)
    for (const name of ['batches', 'bytes', 'oldest_seconds']) expect(sealed(`millrace_unarchived_${name}`)).toBe(0)
    // What is captured does not grow by what is fetched.
    expect(sealed('millrace_captured_batches_total{connector="proxy"}')).toBe(3)
    const files = await filesBelow(dataPath(worker(), 'wal'))
    expect(sealed('millrace_wal_bytes')).toBeLessThanOrEqual(sum(files.map(({ size }) => size)))
    expect(sealed('millrace_wal_bytes')).toBeGreaterThan(sum(captured))
    expect(sealed('millrace_wal_limit_bytes')).toBe(64 * MiB)
  })

  test('are all there, with connections as they come and go', async () => {
    const connections = async () => (await scrape(worker()))('millrace_proxy_connections{connector="proxy"}')
    await until(async () => (await connections()) === 0, { what: 'no client is there' })
    const producer = kafkaClient(worker().bootstrap).producer()
    await producer.connect()
    expect(await connections()).toBeGreaterThan(0)
    // Requests are counted by API and version, so that there are none before a client has asked anything.
    const families = parseMetrics(await (await probe(worker(), '/metrics')).text())
    const silent = Object.keys({ ...workerMetrics, ...proxyMetrics }).filter(name => !families.get(name)?.samples.size)
    expect(silent).toEqual([])
    await producer.disconnect()
    await until(async () => (await connections()) === 0, { what: 'the client is gone' })
  })
})

describeWith(['kafka'], 'a worker whose archive cannot be written', () => {
  const worker = useWorker(() => ({ worker: { 'segment.bytes': '4MiB', 'wal.max.bytes': '64MiB' } }))
  const breakArchive = async () => {
    const folder = archiveFolder(worker())
    await rename(folder, `${folder}.away`)
    await writeFile(folder, 'a file where the folder should be')
  }
  const mendArchive = async () => {
    const folder = archiveFolder(worker())
    await rm(folder)
    await rename(`${folder}.away`, folder)
  }

  test('turns unready when its WAL is full, then says so while it drains, and exits as if all were well', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    await breakArchive()
    const producer = kafkaClient(worker().bootstrap, { retry: { retries: 0 } }).producer()
    await producer.connect()
    const told = { answered: 0, refused: 0, withdrawn: 0 }
    const value = 'x'.repeat(MiB - 1_000)
    for (let i = 0; i < 90 && told.refused < 3; i++) {
      const failure = await producer
        .send({ topic, acks: -1, timeout: 5_000, messages: [{ value }] })
        .then(() => undefined)
        .catch(error => error.cause?.type as string)
      if (failure === undefined) told.answered += 1
      else if (failure === 'NOT_ENOUGH_REPLICAS') told.refused += 1
      else if (failure === 'NOT_ENOUGH_REPLICAS_AFTER_APPEND') told.withdrawn += 1
      else throw new Error(failure)
    }
    expect(await unreadyFor(worker(), 'wal')).toBe(`the WAL has reached its limit of ${64 * MiB} bytes`)
    expect((await probe(worker(), '/livez')).status).toBe(200)
    const full = await scrape(worker())
    expect(full('millrace_not_ready{reason="wal"}')).toBe(1)
    const produced = (outcome: keyof typeof told) =>
      full(`millrace_proxy_produce_requests_total{connector="proxy",outcome="${outcome}"}`)
    for (const [outcome, count] of Object.entries(told)) expect(produced(outcome as keyof typeof told)).toBe(count)
    expect(full('millrace_wal_append_failures_total')).toBe(told.withdrawn)
    expect(full('millrace_wal_bytes')).toBeGreaterThanOrEqual(64 * MiB)
    expect(full('millrace_sealing_failures_total')).toBeGreaterThan(0)
    expect(full('millrace_unarchived_batches')).toBe(told.answered)

    await mendArchive()
    await until(() => flush(worker(), topic).then(() => true), { what: 'the archive takes it all', timeout: 30_000 })
    await ready(worker())

    await producer.send({ topic, acks: -1, messages: [{ value: 'the last' }] })
    await producer.disconnect()
    await breakArchive()
    const stopping = worker().terminate()
    expect(await unreadyFor(worker(), 'draining')).toContain('told to stop')
    expect((await probe(worker(), '/livez')).status).toBe(200)
    await mendArchive()
    expect(await stopping).toBe(0)
  }, 120_000)
})

/** The sizes of the batches in a broker's log file. */
async function batchSizes(file: string): Promise<number[]> {
  const log = await readFile(file)
  const sizes: number[] = []
  for (let at = 0; at + 12 <= log.length; at += sizes.at(-1)!) sizes.push(log.readInt32BE(at + 8) + 12)
  return sizes
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total + size, 0)
}
