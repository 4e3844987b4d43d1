// What Millrace costs a producer: kafka-producer-perf-test straight to a broker and through Millrace with capture on, in turn,
// on one machine. Before a figure counts, what was sent is archived, and read back from the archive.
import { join } from 'node:path'
import { startKafka } from '../test/support/kafka.ts'
import { kafkaTopics, producerPerf } from '../test/support/kafka-tools.ts'
import type { Worker } from '../test/support/millrace.ts'
import { startMillrace } from '../test/support/millrace.ts'
import { tempFolder } from '../test/support/temp.ts'
import type { Figure } from './figures.ts'
import { figure } from './figures.ts'
import { writePayloads } from './payloads.ts'
import type { ProducerReport } from './perf-reports.ts'
import { producerReport } from './perf-reports.ts'

const ROUNDS = 3
const PARTITIONS = 6
const RECORDS = Number(process.env['BENCH_RECORDS'] ?? 300_000)

const codecs = ['lz4', 'none'] as const

/** Ways to produce, each measured once a round. */
interface Way {
  readonly name: string
  readonly bootstrap: string
  /** For what went through it: makes sure that the archive holds it all. */
  readonly worker: Worker | null
}

export async function run(): Promise<Figure[]> {
  await using folder = await tempFolder('bench')
  const payloads = join(folder.path, 'payloads.jsonl')
  await writePayloads(payloads)
  await using kafka = await startKafka({ nodes: 1 })
  // Sealing is held off until a run is over in the one, and goes on beside it in the other.
  await using held = await startMillrace({
    bootstrap: kafka.bootstrap,
    worker: { 'segment.bytes': '1GiB', 'segment.ms': '1h' }
  })
  await using sealing = await startMillrace({ bootstrap: kafka.bootstrap, worker: { 'segment.bytes': '16MiB' } })
  const ways: Way[] = [
    { name: 'direct', bootstrap: kafka.bootstrap, worker: null },
    { name: 'through millrace', bootstrap: held.bootstrap, worker: held },
    { name: 'through millrace, sealing beside it', bootstrap: sealing.bootstrap, worker: sealing }
  ]

  const figures: Figure[] = []
  for (const codec of codecs) {
    const runs = new Map<string, ProducerReport[]>(ways.map(({ name }) => [name, []]))
    // A first, unmeasured round: virtual machines and page caches warm up.
    for (let round = -1; round < ROUNDS; round++) {
      // Each way is first, second and last in turn: what ran before leaves its mark.
      for (const way of [...ways.slice(round), ...ways.slice(0, round)]) {
        const measured = await measure(
          way,
          kafka.bootstrap,
          codec,
          payloads,
          `${codec}-${round + 1}-${ways.indexOf(way)}`
        )
        if (round >= 0) runs.get(way.name)!.push(measured)
      }
    }
    figures.push(...compare(codec, runs))
  }
  return figures
}

async function measure(
  way: Way,
  direct: string,
  codec: string,
  payloads: string,
  topic: string
): Promise<ProducerReport> {
  await kafkaTopics(direct, ['--create', '--topic', topic, '--partitions', String(PARTITIONS)])
  const report = await producerPerf({
    bootstrap: way.bootstrap,
    topic,
    records: RECORDS,
    settings: { acks: 'all', 'compression.type': codec, 'batch.size': 65_536, 'linger.ms': 5 },
    args: ['--payload-file', payloads]
  })
  if (way.worker !== null) await readBack(way.worker, topic)
  await kafkaTopics(direct, ['--delete', '--topic', topic])
  return producerReport(report)
}

/** Archives the topic and has every byte of it verified. */
async function readBack(worker: Worker, topic: string): Promise<void> {
  const flushed = await worker.command(['flush', '--topic', topic, '--timeout', '5m'], { timeout: 300_000 })
  if (flushed.code !== 0) throw new Error(`flush: ${flushed.stderr}`)
  const verified = await worker.command(['verify', '--topic', topic, '--json'], { timeout: 300_000 })
  if (verified.code !== 0) throw new Error(`verify: ${verified.stdout}${verified.stderr}`)
  const lines = verified.stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  const records = lines.reduce((sum: number, { records = 0 }: { records?: number }) => sum + records, 0)
  if (records !== RECORDS) throw new Error(`${records} records were archived of ${RECORDS}`)
}

function compare(codec: string, runs: ReadonlyMap<string, readonly ProducerReport[]>): Figure[] {
  const direct = runs.get('direct')!
  return [...runs].flatMap(([name, ofWay]) => {
    const of = (what: keyof ProducerReport): number[] => ofWay.map(run => run[what])
    const figures = [
      figure(`${codec}, ${name}: rate`, 'MB/s', of('megabytesPerSecond')),
      figure(`${codec}, ${name}: p50`, 'ms', of('p50')),
      figure(`${codec}, ${name}: p99`, 'ms', of('p99'))
    ]
    if (name === 'direct') return figures
    const ratios = ofWay.map((run, round) => run.megabytesPerSecond / direct[round]!.megabytesPerSecond)
    return [...figures, figure(`${codec}, ${name} / direct`, 'x', ratios)]
  })
}
