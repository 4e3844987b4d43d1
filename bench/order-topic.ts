// Order events in a topic, and in the archive.
import type { KafkaCluster } from '../test/support/kafka.ts'
import { kafkaTopics } from '../test/support/kafka-tools.ts'
import { kcat } from '../test/support/kcat.ts'
import type { Worker } from '../test/support/millrace.ts'

/** By kcat, uncompressed, through the worker. */
export async function produce({ bootstrap }: KafkaCluster, worker: Worker, topic: string, file: string): Promise<void> {
  await kafkaTopics(bootstrap, ['--create', '--topic', topic, '--partitions', '1'])
  const settings = ['acks=all', 'linger.ms=20', 'batch.size=65536'].flatMap(setting => ['-X', setting])
  await kcat(['-P', '-b', worker.bootstrap, '-t', topic, ...settings, '-K', '\t', '-l', file])
}

export async function flushed(worker: Worker, topic: string): Promise<void> {
  const { code, stderr } = await worker.command(['flush', '--topic', topic, '--timeout', '5m'], { timeout: 300_000 })
  if (code !== 0) throw new Error(`flush: ${stderr}`)
}
