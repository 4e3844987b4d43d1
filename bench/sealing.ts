// What producers wait while a large segment is built and archived, by turns with what they wait without, and with what they wait
// while something else takes a processor at the same low priority: so much of it is the machine's.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import os from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startKafka } from '../test/support/kafka.ts'
import { kafkaTopics } from '../test/support/kafka-tools.ts'
import type { Worker } from '../test/support/millrace.ts'
import { startMillrace } from '../test/support/millrace.ts'
import { parseMetrics } from '../test/support/prometheus.ts'
import { tempFolder } from '../test/support/temp.ts'
import { until } from '../test/support/until.ts'
import type { Waits } from './crowd.ts'
import type { Figure } from './figures.ts'
import { figure } from './figures.ts'
import { writeOrderEvents } from './order-events.ts'
import { flushed, produce } from './order-topic.ts'

const execute = promisify(execFile)

/** Many, since what the disk does by itself scatters more than what is measured. */
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 9)
/** Some 240 MB of log. */
const EVENTS = Number(process.env['BENCH_RECORDS'] ?? 750_000)

const load = { partitions: 4, producers: 8, sends: 150, bytes: 16_384, everyMs: 40 }
const TOPIC = 'steady'

export async function run(): Promise<Figure[]> {
  await using folder = await tempFolder('bench')
  const backlog = join(folder.path, 'events.tsv')
  await writeOrderEvents(backlog, EVENTS)
  await using kafka = await startKafka({ nodes: 1 })
  const held = { 'segment.bytes': '1GiB', 'segment.ms': '1h' }
  await using worker = await startMillrace({ bootstrap: kafka.bootstrap, worker: held })
  await kafkaTopics(kafka.bootstrap, ['--create', '--topic', TOPIC, '--partitions', String(load.partitions)])
  const steady = async (): Promise<Waits> => {
    await execute('sync') // or the system writes what the broker has in memory in one run and not in the next
    const args = ['crowd.ts', worker.bootstrap, TOPIC, ...Object.values(load).map(String)]
    return JSON.parse((await execute(process.execPath, args, { cwd: import.meta.dirname })).stdout) as Waits
  }
  await steady() // connections are made, code is compiled
  const alone: Waits[] = []
  const besideLoop: Waits[] = []
  const beside: Waits[] = []
  for (let round = 0; round < ROUNDS; round++) {
    await produce(kafka, worker, `backlog-${round}`, backlog)
    await hotIndexed(worker)
    alone.push(await steady())
    besideLoop.push(await withLoop(steady))
    let builtAt = Number.POSITIVE_INFINITY
    const building = flushed(worker, `backlog-${round}`).then(() => (builtAt = performance.now()))
    while (performance.now() < builtAt) {
      const began = performance.now()
      const waits = await steady()
      if (builtAt > (began + performance.now()) / 2) beside.push(waits)
    }
    await building
    alone.push(await steady())
  }
  return (['p50', 'p99'] as const).flatMap(what => {
    const name = `8 producers of 16 KiB every 40 ms: ${what}`
    const of = (when: string, runs: readonly Waits[]): Figure =>
      figure(
        name + when,
        'ms',
        runs.map(waits => waits[what])
      )
    const without = of('', alone)
    const busy = of(', an empty loop runs', besideLoop)
    const withIt = of(', a segment is built', beside)
    const ratio = (when: string, base: Figure): Figure => figure(withIt.what + when, 'x', [withIt.value / base.value])
    return [without, busy, withIt, ratio(' / not', without), ratio(' / an empty loop runs', busy)]
  })
}

/** Waits until the hot index has what was produced: it is not what producers wait for here. */
async function hotIndexed({ httpUrl }: Worker): Promise<void> {
  const name = 'millrace_hot_index_behind_bytes'
  const isDone = async () => {
    const metrics = parseMetrics(await (await fetch(`${httpUrl}/metrics`)).text())
    return metrics.get(name)!.samples.get(name) === 0
  }
  await until(isDone, { what: 'the hot index has all', timeout: 60_000, interval: 1_000 })
}

/** Does something beside a process that computes all the time, at the priority at which segments are built. */
async function withLoop<T>(work: () => Promise<T>): Promise<T> {
  const loop = spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' })
  try {
    os.setPriority(loop.pid!, os.constants.priority.PRIORITY_BELOW_NORMAL)
    return await work()
  } finally {
    loop.kill('SIGKILL')
    await once(loop, 'exit')
  }
}
