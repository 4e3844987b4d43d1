// What the proxy costs a producer: kafka-producer-perf-test straight to a broker, through a bare pipe, and through Millrace
// without and with capture, in turn, on one machine. Before a figure of a capture counts, it is archived and read back.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { KafkaCluster } from '../test/support/kafka.ts'
import { startKafka } from '../test/support/kafka.ts'
import { kafkaTopics, producerPerf } from '../test/support/kafka-tools.ts'
import type { Worker } from '../test/support/millrace.ts'
import { startMillrace } from '../test/support/millrace.ts'
import { freePortRange } from '../test/support/ports.ts'
import { tempFolder } from '../test/support/temp.ts'
import type { Waits } from './crowd.ts'
import type { Figure } from './figures.ts'
import { figure } from './figures.ts'
import { fillPageCache } from './page-cache.ts'
import { writePayloads } from './payloads.ts'
import type { ProducerReport } from './perf-reports.ts'
import { producerReport } from './perf-reports.ts'
import { processCost } from './process-cost.ts'

const execute = promisify(execFile)

const ROUNDS = 3
const PARTITIONS = 6
/** A topic that is produced to before each run. */
const WARM_UP = 'warm-up'
const RECORDS = Number(process.env['BENCH_RECORDS'] ?? 300_000)

/** Ways to produce, each measured once a round. */
interface Way {
  readonly name: string
  readonly bootstrap: string
  /** The process in between. */
  readonly pid: number | null
  /** What captures: makes sure that the archive holds it all. */
  readonly worker: Worker | null
}

interface Load {
  readonly name: string
  readonly records: number
  readonly settings: Record<string, string | number>
  /** Records a second, unbounded where it is left out. */
  readonly throughput?: number
  /** Each record goes alone, so that costs are told by the batch. */
  readonly single?: boolean
  /** The ways that are of interest, all where it is left out. */
  readonly ways?: readonly string[]
}

const big = { acks: 'all', 'batch.size': 65_536, 'linger.ms': 5 }
const few = ['direct', 'node pipe', 'not captured', 'captured']
const loads: readonly Load[] = [
  { name: 'lz4', records: RECORDS, settings: { ...big, 'compression.type': 'lz4' } },
  { name: 'none', records: RECORDS, settings: big },
  {
    name: 'lz4 at 15 MB/s',
    records: RECORDS / 2,
    throughput: 15_000,
    settings: { ...big, 'compression.type': 'lz4' },
    ways: few
  },
  {
    name: 'batches of 1 KiB',
    records: RECORDS / 5,
    single: true,
    settings: { acks: 'all', 'batch.size': 1, 'linger.ms': 0 },
    ways: few
  }
]

/** One run: what the producer reports, and what it cost the process in between. */
interface Run extends ProducerReport {
  readonly cpuSeconds: number
  readonly peakRssBytes: number
  readonly writtenBytes: number
  /** Bytes of the broker's log, which are those on the wire but for the requests around them. */
  readonly logBytes: number
}

/** Gives the figures of a load when it is through: all of them take a while. */
export async function* run(): AsyncGenerator<Figure> {
  await using folder = await tempFolder('bench')
  const payloads = join(folder.path, 'payloads.jsonl')
  await writePayloads(payloads)
  await using kafka = await startKafka({ nodes: 1 })
  using pipe = await startPipe(kafka)
  // Capturing alone in the one, until a run is over; in the other the hot index and sealing are beside it, as they are by default.
  const held = { 'segment.bytes': '1GiB', 'segment.ms': '1h', 'hot.index': false }
  const upstream = { bootstrap: kafka.bootstrap }
  await using passing = await startMillrace({ ...upstream, worker: held, proxy: { topics: 'no-such-topic' } })
  await using capturing = await startMillrace({ ...upstream, worker: held })
  await using sealing = await startMillrace({ ...upstream, worker: { 'segment.bytes': '16MiB' } })
  const ways: Way[] = [
    { name: 'direct', bootstrap: kafka.bootstrap, pid: null, worker: null },
    { name: 'node pipe', bootstrap: pipe.bootstrap, pid: pipe.pid, worker: null },
    { name: 'not captured', bootstrap: passing.bootstrap, pid: passing.pid!, worker: null },
    { name: 'captured', bootstrap: capturing.bootstrap, pid: capturing.pid!, worker: capturing },
    { name: 'captured, indexed and sealed beside it', bootstrap: sealing.bootstrap, pid: sealing.pid!, worker: sealing }
  ]

  await kafkaTopics(kafka.bootstrap, ['--create', '--topic', WARM_UP, '--partitions', String(PARTITIONS)])
  for (const [number, load] of loads.entries()) {
    const chosen = ways.filter(({ name }) => load.ways?.includes(name) ?? true)
    const runs = new Map<string, Run[]>(chosen.map(({ name }) => [name, []]))
    // A first, unmeasured round: virtual machines and page caches warm up.
    for (let round = -1; round < ROUNDS; round++) {
      // Each way is first, second and last in turn: what ran before leaves its mark.
      for (const way of [...chosen.slice(round), ...chosen.slice(0, round)]) {
        const measured = await measure(way, kafka, load, payloads, `${number}-${round + 1}-${ways.indexOf(way)}`)
        if (round >= 0) runs.get(way.name)!.push(measured)
      }
    }
    yield* compare(load, runs)
  }
  yield* await manySmall(ways, kafka)
  yield await manyLarge(kafka)
}

interface Crowd {
  readonly producers: number
  readonly sends: number
  readonly bytes: number
  /** 0 for as fast as they go. */
  readonly everyMs: number
}

/** What one record of a crowd of producers waits; each run that is captured is archived and read back. */
async function crowd(kafka: KafkaCluster, { bootstrap, worker }: Way, topic: string, load: Crowd): Promise<Waits> {
  await kafkaTopics(kafka.bootstrap, ['--create', '--topic', topic, '--partitions', String(PARTITIONS)])
  const numbers = [PARTITIONS, load.producers, load.sends, load.bytes, load.everyMs].map(String)
  const program = join(import.meta.dirname, 'crowd.ts')
  await settle()
  const { stdout } = await execute(process.execPath, [program, bootstrap, topic, ...numbers])
  const waits = JSON.parse(stdout) as Waits
  if (worker !== null) await readBack(worker, topic, waits.records)
  await kafkaTopics(kafka.bootstrap, ['--delete', '--topic', topic])
  return waits
}

/** Producers that each send a little, steadily. */
async function manySmall(ways: readonly Way[], kafka: KafkaCluster): Promise<Figure[]> {
  const load = { producers: 50, sends: 100, bytes: 1024, everyMs: 100 }
  const chosen = ways.filter(({ name }) => few.includes(name))
  const runs = new Map<string, Waits[]>(chosen.map(({ name }) => [name, []]))
  for (let round = -1; round < ROUNDS; round++) {
    for (const way of [...chosen.slice(round), ...chosen.slice(0, round)]) {
      const waits = await crowd(kafka, way, `small-${round + 1}-${ways.indexOf(way)}`, load)
      if (round >= 0) runs.get(way.name)!.push(waits)
    }
  }
  const direct = runs.get('direct')!
  return [...runs].flatMap(([way, ofWay]) =>
    (['p50', 'p99'] as const).flatMap(what => {
      const name = `50 producers of 1 KiB every 100 ms, ${way}: ${what}`
      const waits = ofWay.map(run => run[what])
      const ratios = waits.map((wait, round) => wait / direct[round]![what])
      return [figure(name, 'ms', waits), ...(way === 'direct' ? [] : [figure(`${name} / direct`, 'x', ratios)])]
    })
  )
}

/** The memory of a worker of its own, sealing included, while many connections send all that they can. */
async function manyLarge(kafka: KafkaCluster): Promise<Figure> {
  await using worker = await startMillrace({ bootstrap: kafka.bootstrap, worker: { 'segment.bytes': '16MiB' } })
  const way = { name: 'captured', bootstrap: worker.bootstrap, pid: worker.pid!, worker }
  const peaks: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    await crowd(kafka, way, `large-${round}`, { producers: 500, sends: 20, bytes: 65_536, everyMs: 0 })
    peaks.push((await processCost(way.pid)).peakRssBytes / 1e6)
  }
  return figure('500 connections of 64 KiB requests, captured: peak RSS', 'MB', peaks)
}

/** A broker names the pipe to those who come through it only by a listener of its own for it. */
async function startPipe({ nodes, restart }: KafkaCluster) {
  const { id, port, logDir } = nodes[0]!
  const properties = join(logDir!, '..', 'server.properties')
  const first = await freePortRange(2)
  const [inner, outer] = [first, first + 1]
  const given = await readFile(properties, 'utf8')
  const value = (key: string): string | undefined => given.match(new RegExp(`^${key}=(.*)$`, 'm'))?.[1]
  await appendFile(
    properties,
    [
      '',
      `listeners=${value('listeners')},PIPE://127.0.0.1:${inner}`,
      `advertised.listeners=PLAINTEXT://127.0.0.1:${port},PIPE://127.0.0.1:${outer}`,
      `listener.security.protocol.map=${value('listener.security.protocol.map')},PIPE:PLAINTEXT`,
      ''
    ].join('\n')
  )
  await restart(id)
  const args = [join(import.meta.dirname, 'pipe.ts'), String(outer), String(inner)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return { bootstrap: `127.0.0.1:${outer}`, pid: child.pid!, [Symbol.dispose]: () => void child.kill() }
}

async function measure(way: Way, kafka: KafkaCluster, load: Load, payloads: string, topic: string): Promise<Run> {
  await kafkaTopics(kafka.bootstrap, ['--create', '--topic', topic, '--partitions', String(PARTITIONS)])
  const { records, settings, throughput = -1 } = load
  const run = { bootstrap: way.bootstrap, settings, args: ['--payload-file', payloads] }
  // V8 lets go of code that has not run for a while, which would be compiled in each run.
  await producerPerf({ ...run, topic: WARM_UP, records: records / 10, throughput: -1 })
  await settle()
  const before = way.pid === null ? null : await processCost(way.pid)
  const report = await producerPerf({ ...run, topic, records, throughput })
  const after = way.pid === null ? null : await processCost(way.pid)
  let logBytes = 0
  for (let partition = 0; partition < PARTITIONS; partition++) {
    for (const file of await kafka.segmentFiles(topic, partition)) logBytes += (await stat(file)).size
  }
  if (way.worker !== null) await readBack(way.worker, topic, records)
  await kafkaTopics(kafka.bootstrap, ['--delete', '--topic', topic])
  const cpuSeconds = (after?.cpuSeconds ?? 0) - (before?.cpuSeconds ?? 0)
  const writtenBytes = (after?.writtenBytes ?? 0) - (before?.writtenBytes ?? 0)
  return { ...producerReport(report), cpuSeconds, writtenBytes, peakRssBytes: after?.peakRssBytes ?? 0, logBytes }
}

/** What ran before is not what a capture's fsync waits for, nor does it leave memory that has to be asked for. */
async function settle(): Promise<void> {
  await execute('sync')
  await fillPageCache()
}

/** Archives the topic and has every byte of it verified. */
async function readBack(worker: Worker, topic: string, records: number): Promise<void> {
  const flushed = await worker.command(['flush', '--topic', topic, '--timeout', '5m'], { timeout: 300_000 })
  if (flushed.code !== 0) throw new Error(`flush: ${flushed.stderr}`)
  const verified = await worker.command(['verify', '--topic', topic, '--json'], { timeout: 300_000 })
  if (verified.code !== 0) throw new Error(`verify: ${verified.stdout}${verified.stderr}`)
  const lines = verified.stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  const archived = lines.reduce((sum: number, { records = 0 }: { records?: number }) => sum + records, 0)
  if (archived !== records) throw new Error(`${archived} records were archived of ${records}`)
}

function compare(load: Load, runs: ReadonlyMap<string, readonly Run[]>): Figure[] {
  const [direct, pipe] = [runs.get('direct')!, runs.get('node pipe')!]
  return [...runs].flatMap(([way, ofWay]) => {
    const of = (what: string, unit: string, value: (run: Run, round: number) => number): Figure =>
      figure(`${load.name}, ${way}: ${what}`, unit, ofWay.map(value))
    const figures = [
      of('rate', 'MB/s', run => run.megabytesPerSecond),
      of('p50', 'ms', run => run.p50),
      of('p95', 'ms', run => run.p95),
      of('p99', 'ms', run => run.p99),
      of('p99.9', 'ms', run => run.p999)
    ]
    if (way === 'direct') return figures
    if (load.throughput === undefined) {
      const rateOf = (run: Run, other: Run | undefined) => run.megabytesPerSecond / other!.megabytesPerSecond
      figures.push(of('rate / direct', 'x', (run, round) => rateOf(run, direct[round])))
      if (way !== 'node pipe') figures.push(of('rate / node pipe', 'x', (run, round) => rateOf(run, pipe[round])))
    }
    const cpu = load.single
      ? of('CPU', 'µs/batch', run => (run.cpuSeconds / load.records) * 1e6)
      : of('CPU', 's/GB', run => run.cpuSeconds / (run.logBytes / 1e9))
    if (way.startsWith('captured')) figures.push(of('disk', 'B/B', run => run.writtenBytes / run.logBytes))
    return [...figures, cpu, of('peak RSS', 'MB', run => run.peakRssBytes / 1e6)]
  })
}
