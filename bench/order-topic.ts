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

/** Through HTTP: the command's own start would take a processor meanwhile. */
export async function flushed({ httpUrl }: Worker, topic: string): Promise<void> {
  const body = JSON.stringify({ topic, timeoutMs: 300_000 })
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${httpUrl}/v1/flush`, { method: 'POST', headers, body })
  if (!answer.ok) throw new Error(`flush: ${await answer.text()}`)
}
