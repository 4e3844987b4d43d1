// Search over a million order events: what the index takes and costs, and how long queries wait, warm, hot and from S3. Every
// record that is found is compared with the one that was written.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { isMissing } from '../test/support/found.ts'
import type { KafkaCluster } from '../test/support/kafka.ts'
import { startKafka } from '../test/support/kafka.ts'
import { kafkaTopics } from '../test/support/kafka-tools.ts'
import { kcat } from '../test/support/kcat.ts'
import type { Worker } from '../test/support/millrace.ts'
import { startMillrace } from '../test/support/millrace.ts'
import { startS3 } from '../test/support/s3.ts'
import { tempFolder } from '../test/support/temp.ts'
import { until } from '../test/support/until.ts'
import { indexCosts, searchedWithin } from './archived-events.ts'
import type { Waits } from './crowd.ts'
import type { Figure } from './figures.ts'
import { figure, median } from './figures.ts'
import type { OrderEvent } from './order-events.ts'
import { everyNth, writeOrderEvents } from './order-events.ts'

const execute = promisify(execFile)

const ROUNDS = 3
const EVENTS = Number(process.env['BENCH_RECORDS'] ?? 1_000_000)
/** Some 256 MiB of log. */
const HOT_EVENTS = Math.round(EVENTS * 0.75)
/** In a round, each asks for another event's trace id. */
const QUERIES = 20
const TOPIC = 'orders'
/** In one of six events. */
const COMMON = 'shipped'

export async function* run(): AsyncGenerator<Figure> {
  await using folder = await tempFolder('bench')
  const file = join(folder.path, 'events.tsv')
  await writeOrderEvents(file, EVENTS)
  const asked = everyNth(EVENTS, ROUNDS * QUERIES)
  await using kafka = await startKafka({ nodes: 1 })
  const s3 = await startS3()
  if (isMissing(s3)) throw new Error(`no S3 server: ${s3.missing}`)
  try {
    const archiveUrl = `s3://${await s3.createBucket()}/archive`
    await using worker = await startMillrace({
      bootstrap: kafka.bootstrap,
      archiveUrl,
      s3,
      worker: { 'segment.bytes': '32MiB' }
    })
    await produce(kafka, worker, TOPIC, file)
    await flushed(worker, TOPIC)
    const place = { url: archiveUrl, s3 }
    yield* indexCosts(place, ROUNDS)
    yield* searched('warm', worker, asked)
    yield* searchedWithin(place, asked, ROUNDS)
    yield await grepped(kafka, asked)
  } finally {
    await s3.dispose()
  }
  const hotFile = join(folder.path, 'hot.tsv')
  await writeOrderEvents(hotFile, HOT_EVENTS)
  const held = { 'segment.bytes': '1GiB', 'segment.ms': '1h' }
  await using worker = await startMillrace({ bootstrap: kafka.bootstrap, worker: held })
  await produce(kafka, worker, 'hot', hotFile)
  yield* searched('hot', worker, everyNth(HOT_EVENTS, ROUNDS * QUERIES))
  await flushed(worker, 'hot')
  yield* sealedBeside(kafka, worker, hotFile)
}

/** By kcat, uncompressed, through the worker. */
async function produce({ bootstrap }: KafkaCluster, worker: Worker, topic: string, file: string): Promise<void> {
  await kafkaTopics(bootstrap, ['--create', '--topic', topic, '--partitions', '1'])
  const settings = ['acks=all', 'linger.ms=20', 'batch.size=65536'].flatMap(setting => ['-X', setting])
  await kcat(['-P', '-b', worker.bootstrap, '-t', topic, ...settings, '-K', '\t', '-l', file])
}

async function flushed(worker: Worker, topic: string): Promise<void> {
  const { code, stderr } = await worker.command(['flush', '--topic', topic, '--timeout', '5m'], { timeout: 300_000 })
  if (code !== 0) throw new Error(`flush: ${stderr}`)
}

/** Through HTTP, as any program would; the first round, which fills caches, does not count. */
async function* searched(tier: string, worker: Worker, asked: readonly OrderEvent[]): AsyncGenerator<Figure> {
  const topic = tier === 'hot' ? 'hot' : TOPIC
  const ask = async (query: string, limit: number) => {
    const begun = performance.now()
    const answer = await fetch(`${worker.httpUrl}/v1/search?topic=${topic}&q=${query}&limit=${limit}`)
    const { records } = (await answer.json()) as { records: { value: string; tier: string }[] }
    const took = performance.now() - begun
    const elsewhere = records.find(record => record.tier !== tier)
    if (elsewhere !== undefined) throw new Error(`a record was found in tier ${elsewhere.tier}, not ${tier}`)
    return { took, values: records.map(({ value }) => value) }
  }
  await until(async () => (await ask(asked[0]!.trace, 1)).values.length === 1, { what: 'the first answer' })
  const rare: number[] = []
  const common: number[] = []
  for (let round = -1; round < ROUNDS; round++) {
    const first = Math.max(0, round) * QUERIES
    const waits: Record<'rare' | 'common', number[]> = { rare: [], common: [] }
    for (const { trace, value } of asked.slice(first, first + QUERIES)) {
      const found = await ask(trace, 100)
      if (found.values.length !== 1 || found.values[0] !== value) throw new Error(`${trace}: found ${found.values}`)
      waits.rare.push(found.took)
      const page = await ask(COMMON, 100)
      if (page.values.length !== 100 || !page.values.every(text => text.includes(`"${COMMON}"`))) {
        throw new Error(`${COMMON}: a page of ${page.values.length}`)
      }
      waits.common.push(page.took)
    }
    if (round < 0) continue
    rare.push(median(waits.rare))
    common.push(median(waits.common))
  }
  yield figure(`${tier}, a trace id, through HTTP: p50`, 'ms', rare)
  yield figure(`${tier}, first 100 of a common word, through HTTP: p50`, 'ms', common)
}

/** For scale: what reads the topic through. */
async function grepped({ bootstrap }: KafkaCluster, asked: readonly OrderEvent[]): Promise<Figure> {
  const seconds: number[] = []
  for (const { trace } of asked.slice(0, ROUNDS)) {
    const begun = performance.now()
    const pipeline = `kcat -C -b ${bootstrap} -t ${TOPIC} -o beginning -e -q | grep -c ${trace}`
    const { stdout } = await execute('sh', ['-c', pipeline])
    if (stdout.trim() !== '1') throw new Error(`${trace}: grep found ${stdout}`)
    seconds.push((performance.now() - begun) / 1_000)
  }
  return figure('kcat -C | grep for a trace id', 's', seconds)
}

/** What producers wait while a large segment is built of what was captured before, and what they wait without. */
async function* sealedBeside(kafka: KafkaCluster, worker: Worker, backlog: string): AsyncGenerator<Figure> {
  const load = { partitions: 4, producers: 8, sends: 150, bytes: 16_384, everyMs: 40 }
  await kafkaTopics(kafka.bootstrap, ['--create', '--topic', 'steady', '--partitions', String(load.partitions)])
  const steady = async (): Promise<Waits> => {
    const args = ['crowd.ts', worker.bootstrap, 'steady', ...Object.values(load).map(String)]
    return JSON.parse((await execute(process.execPath, args, { cwd: import.meta.dirname })).stdout) as Waits
  }
  await steady() // connections are made, code is compiled
  const alone: Waits[] = []
  const beside: Waits[] = []
  for (let round = 0; round < ROUNDS; round++) {
    await produce(kafka, worker, `backlog-${round}`, backlog)
    await execute('sync') // what was produced is not what is waited for
    alone.push(await steady())
    await execute('sync')
    const building = flushed(worker, `backlog-${round}`).then(() => true)
    beside.push(await steady())
    if (await Promise.race([building, false]))
      throw new Error('the segment was built before the producers were through')
    await building
  }
  for (const what of ['p50', 'p99'] as const) {
    const of = (runs: readonly Waits[]): number[] => runs.map(waits => waits[what])
    const ratios = beside.map((waits, round) => waits[what] / alone[round]![what])
    yield figure(`8 producers of 16 KiB every 40 ms: ${what}`, 'ms', of(alone))
    yield figure(`8 producers of 16 KiB every 40 ms, a segment is built: ${what}`, 'ms', of(beside))
    yield figure(`8 producers of 16 KiB every 40 ms, a segment is built / not: ${what}`, 'x', ratios)
  }
}
