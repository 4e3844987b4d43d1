// Workers for the tests of one describe, and the questions that most of these tests ask them.
import { join } from 'node:path'
import { afterAll, beforeAll, expect } from 'vitest'
import { archivedLog, logDifference, logWithoutEpochs } from './archived.ts'
import type { Worker, WorkerOptions } from './millrace.ts'
import { startMillrace } from './millrace.ts'
import { parseMetrics } from './prometheus.ts'
import { useKafka } from './servers.ts'
import type { Acknowledged } from './topics.ts'
import { until } from './until.ts'

/** A worker in front of the run's Kafka, over a folder unless told. Call the result inside a test. */
export function useWorker(options: () => Partial<WorkerOptions> | Promise<Partial<WorkerOptions>> = () => ({})) {
  let worker: Worker | undefined
  beforeAll(async () => {
    worker = await startMillrace({ bootstrap: useKafka().bootstrap, ...(await options()) })
  })
  afterAll(() => worker?.dispose())
  return (): Worker => worker!
}

/** The folder of a worker that has one for its archive. */
export function archiveFolder({ archiveUrl }: Worker): string {
  return archiveUrl.replace(/^file:/, '')
}

/** The address at which a worker's proxy offers a node of the cluster. */
export function nodeAddress({ bootstrap }: Worker, nodeId: number): string {
  const [host, port] = bootstrap.split(':')
  return `${host}:${Number(port) + 1 + nodeId}`
}

export async function flush(worker: Worker, topic: string): Promise<void> {
  const { code, stderr } = await worker.command(['flush', '--topic', topic])
  expect(code, stderr).toBe(0)
}

export async function expectClean(worker: Worker, topic: string): Promise<void> {
  const { code, stdout, stderr } = await worker.command(['verify', '--topic', topic])
  expect(code, stdout + stderr).toBe(0)
}

/** The archived log of a partition, all segments together, is byte for byte the broker's own file. */
export async function expectBrokersLog(worker: Worker, topic: string, partition = 0): Promise<void> {
  const [file, ...more] = await useKafka().segmentFiles(topic, partition)
  expect(more, 'one log file at the broker').toEqual([])
  const brokers = await logWithoutEpochs(file!)
  const archived = await archivedLog(archiveFolder(worker), topic, partition)
  expect(logDifference(archived, brokers), `${topic}-${partition} equals the broker's log`).toBeNull()
}

/** What was acknowledged stands at the broker where the producer was told. */
export async function expectAcknowledged(topic: string, acknowledged: Acknowledged): Promise<void> {
  const consumer = useKafka().client().consumer({ groupId: crypto.randomUUID() })
  const seen = new Map<string, string>()
  try {
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run({
      eachMessage: async ({ partition, message }) =>
        void seen.set(`${partition}@${message.offset}`, String(message.value))
    })
    const isThere = () => [...acknowledged.keys()].every(place => seen.has(place))
    await until(isThere, { what: 'every acknowledged offset is consumed', timeout: 30_000 })
  } finally {
    await consumer.disconnect()
  }
  expect([...acknowledged].filter(([place, value]) => seen.get(place) !== value)).toEqual([])
}

/** What a worker counts, by name and labels as `name{label="value"}`. */
export async function figuresOf({ httpUrl }: Worker): Promise<Map<string, number>> {
  const families = parseMetrics(await (await fetch(`${httpUrl}/metrics`)).text())
  return new Map([...families.values()].flatMap(({ samples }) => [...samples]))
}

/** How many gaps a worker says that it has archived, by their reasons; those that there are. */
export async function countedGaps(worker: Worker): Promise<Record<string, number>> {
  const counts = [...(await figuresOf(worker))].flatMap(([name, count]): [string, number][] => {
    const [, reason] = /^millrace_archived_gaps_total\{reason="(.+)"\}$/.exec(name) ?? []
    return reason !== undefined && count > 0 ? [[reason, count]] : []
  })
  return Object.fromEntries(counts)
}

/** A file or folder of a worker's data. */
export const dataPath = (worker: Worker, ...names: string[]): string => join(worker.folder, 'data', ...names)
