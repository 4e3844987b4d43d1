// `millrace serve` over an archived topic beside the broker that has the same topic: kafka-consumer-perf-test over each in
// turn. `serve` starts anew for each round, so its cache is cold; the memory it took is read from the system.
import { join } from 'node:path'
import { startKafka } from '../test/support/kafka.ts'
import { consumerPerf, kafkaTopics, producerPerf } from '../test/support/kafka-tools.ts'
import { startCommand, startMillrace } from '../test/support/millrace.ts'
import { tempFolder } from '../test/support/temp.ts'
import type { Figure } from './figures.ts'
import { figure } from './figures.ts'
import { writePayloads } from './payloads.ts'
import { consumerReport } from './perf-reports.ts'
import { processCost } from './process-cost.ts'

const ROUNDS = 3
const PARTITIONS = 6
/** Of 1 KiB each: 1 GiB. */
const RECORDS = Number(process.env['BENCH_RECORDS'] ?? 1_048_576)
const TOPIC = 'served'
/** As it goes into the archive; small enough that the WAL never is too full for the producer. */
const RECORDS_PER_FLUSH = 131_072

const codecs = ['lz4', 'none'] as const

export async function run(): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const codec of codecs) figures.push(...(await ofCodec(codec)))
  return figures
}

async function ofCodec(codec: string): Promise<Figure[]> {
  await using folder = await tempFolder('bench')
  const payloads = join(folder.path, 'payloads.jsonl')
  await writePayloads(payloads)
  await using kafka = await startKafka({ nodes: 1 })
  const archiveUrl = `file:${join(folder.path, 'archive')}`
  await archive(kafka.bootstrap, archiveUrl, codec, payloads)

  const direct: number[] = []
  const served: number[] = []
  const memory: number[] = []
  for (let round = -1; round < ROUNDS; round++) {
    const fromBroker = await consume(kafka.bootstrap)
    await using server = await startCommand(['serve', '--archive', archiveUrl, '--listen', '127.0.0.1:0'])
    const fromArchive = await consume(server.addresses['serve']!)
    const { peakRssBytes } = await processCost(server.pid!)
    if (round < 0) continue // virtual machines and page caches warm up
    direct.push(fromBroker)
    served.push(fromArchive)
    memory.push(peakRssBytes / 2 ** 20)
  }
  const ratios = served.map((rate, round) => rate / direct[round]!)
  return [
    figure(`${codec}, from the broker`, 'MB/s', direct),
    figure(`${codec}, from millrace serve`, 'MB/s', served),
    figure(`${codec}, millrace serve / broker`, 'x', ratios),
    figure(`${codec}, millrace serve: peak RSS`, 'MiB', memory)
  ]
}

async function archive(bootstrap: string, archiveUrl: string, codec: string, payloads: string): Promise<void> {
  await using worker = await startMillrace({ bootstrap, archiveUrl })
  await kafkaTopics(bootstrap, ['--create', '--topic', TOPIC, '--partitions', String(PARTITIONS)])
  for (let sent = 0; sent < RECORDS; sent += RECORDS_PER_FLUSH) {
    await producerPerf({
      bootstrap: worker.bootstrap,
      topic: TOPIC,
      records: Math.min(RECORDS_PER_FLUSH, RECORDS - sent),
      settings: { acks: 'all', 'compression.type': codec, 'batch.size': 65_536, 'linger.ms': 5 },
      args: ['--payload-file', payloads]
    })
    const flushed = await worker.command(['flush', '--timeout', '5m'], { timeout: 300_000 })
    if (flushed.code !== 0) throw new Error(`flush: ${flushed.stderr}`)
  }
  await worker.terminate()
}

async function consume(bootstrap: string): Promise<number> {
  const report = consumerReport(await consumerPerf({ bootstrap, topic: TOPIC, records: RECORDS }))
  if (report.records < RECORDS) throw new Error(`${report.records} records were read of ${RECORDS}`)
  return report.megabytesPerSecond
}
