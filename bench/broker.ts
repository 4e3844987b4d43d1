// The embedded broker beside a real one: Kafka's own producer and consumer performance tests over each in turn, on one machine.
// Every round reads back all that it wrote.
import { join } from 'node:path'
import { startKafka } from '../test/support/kafka.ts'
import { consumerPerf, kafkaTopics, producerPerf } from '../test/support/kafka-tools.ts'
import { startCommand } from '../test/support/millrace.ts'
import { tempFolder } from '../test/support/temp.ts'
import type { Figure } from './figures.ts'
import { figure } from './figures.ts'
import { writePayloads } from './payloads.ts'
import { consumerReport, producerReport } from './perf-reports.ts'

const ROUNDS = 3
const PARTITIONS = 6
const RECORDS = Number(process.env['BENCH_RECORDS'] ?? 300_000)

const codecs = ['lz4', 'none'] as const

interface Round {
  readonly produced: number
  readonly p99: number
  readonly consumed: number
}

export async function run(): Promise<Figure[]> {
  await using folder = await tempFolder('bench')
  const payloads = join(folder.path, 'payloads.jsonl')
  await writePayloads(payloads)
  await using kafka = await startKafka({ nodes: 1 })
  await using embedded = await startCommand(['broker', '--listen', '127.0.0.1:0'])
  const brokers = [
    { name: 'Kafka', bootstrap: kafka.bootstrap },
    { name: 'embedded broker', bootstrap: embedded.addresses['broker']! }
  ]

  const figures: Figure[] = []
  for (const codec of codecs) {
    const rounds = new Map<string, Round[]>(brokers.map(({ name }) => [name, []]))
    // A first, unmeasured round: virtual machines and page caches warm up.
    for (let round = -1; round < ROUNDS; round++) {
      for (const { name, bootstrap } of round % 2 === 0 ? brokers : brokers.toReversed()) {
        const measured = await measure(bootstrap, codec, payloads, `${codec}-${round + 1}`)
        if (round >= 0) rounds.get(name)!.push(measured)
      }
    }
    for (const { name } of brokers) {
      const of = (what: keyof Round): number[] => rounds.get(name)!.map(round => round[what])
      figures.push(
        figure(`${codec}, ${name}: produced`, 'MB/s', of('produced')),
        figure(`${codec}, ${name}: produce p99`, 'ms', of('p99')),
        figure(`${codec}, ${name}: consumed`, 'MB/s', of('consumed'))
      )
    }
    const [theirs, ours] = [rounds.get('Kafka')!, rounds.get('embedded broker')!]
    for (const what of ['produced', 'consumed'] as const) {
      const ratios = ours.map((round, i) => round[what] / theirs[i]![what])
      figures.push(figure(`${codec}, embedded broker / Kafka: ${what}`, 'x', ratios))
    }
  }
  return figures
}

async function measure(bootstrap: string, codec: string, payloads: string, topic: string): Promise<Round> {
  await kafkaTopics(bootstrap, ['--create', '--topic', topic, '--partitions', String(PARTITIONS)])
  const report = await producerPerf({
    bootstrap,
    topic,
    records: RECORDS,
    settings: { acks: 'all', 'compression.type': codec, 'batch.size': 65_536, 'linger.ms': 5 },
    args: ['--payload-file', payloads]
  })
  const { megabytesPerSecond: produced, p99 } = producerReport(report)
  const { records, megabytesPerSecond: consumed } = consumerReport(
    await consumerPerf({ bootstrap, topic, records: RECORDS })
  )
  if (records < RECORDS) throw new Error(`${records} records were read of ${RECORDS}`)
  await kafkaTopics(bootstrap, ['--delete', '--topic', topic])
  return { produced, p99, consumed }
}
