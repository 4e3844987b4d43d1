// Search over a million order events: what the index takes and costs, and how long queries wait, warm, hot and from S3. Every
// record that is found is compared with the one that was written.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { isMissing } from '../test/support/found.ts'
import type { KafkaCluster } from '../test/support/kafka.ts'
import { startKafka } from '../test/support/kafka.ts'
import type { Worker } from '../test/support/millrace.ts'
import { startMillrace } from '../test/support/millrace.ts'
import { startS3 } from '../test/support/s3.ts'
import { tempFolder } from '../test/support/temp.ts'
import { until } from '../test/support/until.ts'
import { indexCosts, searchedWithin } from './archived-events.ts'
import type { Figure } from './figures.ts'
import { figure, median } from './figures.ts'
import type { OrderEvent } from './order-events.ts'
import { everyNth, writeOrderEvents } from './order-events.ts'
import { flushed, produce } from './order-topic.ts'

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
