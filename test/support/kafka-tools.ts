// Kafka's own command line tools, run as classes of its jars: the outside oracle of the tests.

import { runOrThrow } from './child.ts'
import { isMissing } from './found.ts'
import { findKafkaJars, javaArgs } from './kafka-jars.ts'

export interface ToolOptions {
  input?: string | Uint8Array
  /** System properties of its Java. */
  systemProperties?: Readonly<Record<string, string>>
  /** Milliseconds, 60,000 unless told. */
  timeout?: number
}

/** Runs a class of Kafka's jars and gives its standard output; rejects with its standard error when it fails. */
export async function kafkaTool(
  className: string,
  args: readonly string[],
  options: ToolOptions = {}
): Promise<string> {
  const jars = await findKafkaJars()
  if (isMissing(jars)) throw new Error(`Kafka's tools cannot be run: ${jars.missing}`)
  const { systemProperties = {}, ...run } = options
  const output = await runOrThrow('java', javaArgs(jars, className, args, { systemProperties }), run)
  return output.toString()
}

export interface ConsoleOptions {
  bootstrap: string
  topic: string
  /** More arguments for the tool. */
  args?: readonly string[]
  systemProperties?: Readonly<Record<string, string>>
}

/** kafka-console-producer: one record per line of `input`. */
export async function consoleProduce(options: ConsoleOptions & { input: string | Uint8Array }): Promise<void> {
  const { bootstrap, topic, args = [], input, systemProperties = {} } = options
  const where = ['--bootstrap-server', bootstrap, '--topic', topic]
  // Without this a failed send only logs an error, and the tool ends with 0.
  const strict = ['--sync']
  await kafkaTool('org.apache.kafka.tools.ConsoleProducer', [...where, ...strict, ...args], {
    input,
    systemProperties
  })
}

/** kafka-console-consumer from the beginning until it has `count` records: their lines. */
export async function consoleConsume(options: ConsoleOptions & { count: number }): Promise<string[]> {
  const { bootstrap, topic, args = [], count, systemProperties = {} } = options
  const where = ['--bootstrap-server', bootstrap, '--topic', topic, '--from-beginning']
  const until = ['--max-messages', String(count), '--timeout-ms', '30000']
  const all = [...where, ...until, ...args]
  const output = await kafkaTool('org.apache.kafka.tools.consumer.ConsoleConsumer', all, { systemProperties })
  return output.split('\n').slice(0, -1)
}

export interface PerfOptions {
  bootstrap: string
  topic: string
  records: number
  /** Bytes of each record's random value; or give `--payload-file` in `args`. */
  recordSize?: number
  /** Records per second; -1, the default, is as fast as it goes. */
  throughput?: number
  /** Producer settings such as `acks=all`. */
  settings?: Record<string, string | number>
  args?: readonly string[]
  systemProperties?: Readonly<Record<string, string>>
  timeout?: number
}

/** kafka-producer-perf-test: its report. */
export async function producerPerf(options: PerfOptions): Promise<string> {
  const {
    bootstrap,
    topic,
    records,
    recordSize,
    throughput = -1,
    settings = {},
    args = [],
    systemProperties = {},
    timeout = 300_000
  } = options
  const size = recordSize === undefined ? [] : ['--record-size', String(recordSize)]
  const load = ['--topic', topic, '--num-records', String(records), '--throughput', String(throughput), ...size]
  const pairs = Object.entries({ 'bootstrap.servers': bootstrap, ...settings }).map(([key, value]) => `${key}=${value}`)
  const all = [...load, ...args, '--producer-props', ...pairs]
  return await kafkaTool('org.apache.kafka.tools.ProducerPerformance', all, { timeout, systemProperties })
}

/** kafka-dump-log: `dumpLog(['--deep-iteration', '--files', path])`. */
export async function dumpLog(args: readonly string[]): Promise<string> {
  return await kafkaTool('org.apache.kafka.tools.DumpLogSegments', args)
}

/** kafka-topics. */
export async function kafkaTopics(bootstrap: string, args: readonly string[]): Promise<string> {
  return await kafkaTool('org.apache.kafka.tools.TopicCommand', ['--bootstrap-server', bootstrap, ...args])
}

/** kafka-consumer-perf-test over a topic from its beginning: its report, a header line and one line of figures. */
export async function consumerPerf(options: {
  bootstrap: string
  topic: string
  records: number
  timeout?: number
}): Promise<string> {
  const { bootstrap, topic, records, timeout = 300_000 } = options
  const args = ['--bootstrap-server', bootstrap, '--topic', topic, '--num-records', String(records)]
  return await kafkaTool('org.apache.kafka.tools.ConsumerPerformance', [...args, '--timeout', '60000'], { timeout })
}
