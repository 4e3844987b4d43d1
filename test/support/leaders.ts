// What the leaders of a cluster of our own hold, and whether a worker's archive holds the same.
import { expect } from 'vitest'
import { archivedLog, logDifference, logWithoutEpochs } from './archived.ts'
import type { KafkaCluster } from './kafka.ts'
import type { Worker } from './millrace.ts'
import type { Acknowledged } from './topics.ts'
import { withAdmin } from './topics.ts'
import { archiveFolder, expectClean, flush } from './workers.ts'

/** The leaders of a topic's partitions, -1 for one that has none, in the order of the partitions. */
export async function leadersOf({ bootstrap }: { bootstrap: string }, topic: string): Promise<number[]> {
  const { topics } = await withAdmin(bootstrap, admin => admin.fetchTopicMetadata({ topics: [topic] }))
  return topics[0]!.partitions.toSorted((a, b) => a.partitionId - b.partitionId).map(({ leader }) => leader)
}

/** The archived log of each partition, all segments together, is byte for byte its leader's own file. */
export async function expectLeadersLogs(worker: Worker, cluster: KafkaCluster, topic: string): Promise<void> {
  for (const [partition, leader] of (await leadersOf(cluster, topic)).entries()) {
    const [file, ...more] = await cluster.segmentFiles(topic, partition, leader)
    expect(more, 'one log file at the leader').toEqual([])
    const archived = await archivedLog(archiveFolder(worker), topic, partition)
    const difference = logDifference(archived, await logWithoutEpochs(file!))
    expect(difference, `${topic}-${partition} equals the log of its leader, node ${leader}`).toBeNull()
  }
}

/** The values that the archive holds of a topic of so many partitions, by `partition@offset`. */
export async function archivedValues(worker: Worker, topic: string, partitions = 1): Promise<Map<string, string>> {
  const valuesOf = async (partition: number) => {
    const where = ['--topic', topic, '--partition', String(partition), '--archive', worker.archiveUrl]
    const { code, stdout, stderr } = await worker.command(['read', ...where, '--count', '1000000', '--output', 'json'])
    expect(code, stderr).toBe(0)
    const records = stdout
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line))
    return records.map(({ offset, value }): [string, string] => [`${partition}@${offset}`, value])
  }
  const values = await Promise.all(Array.from({ length: partitions }, (_, partition) => valuesOf(partition)))
  return new Map(values.flat())
}

/**
 * Seals what there is: every acknowledged record is archived at its offset and nowhere else, and the archive equals the
 * leaders' logs.
 */
export async function expectArchived(
  worker: Worker,
  cluster: KafkaCluster,
  topic: string,
  acknowledged: Acknowledged
): Promise<void> {
  await flush(worker, topic)
  await expectClean(worker, topic)
  await expectLeadersLogs(worker, cluster, topic)
  const archived = await archivedValues(worker, topic, (await leadersOf(cluster, topic)).length)
  expect([...acknowledged].filter(([place, value]) => archived.get(place) !== value)).toEqual([])
  const times = Map.groupBy(archived.values(), value => value)
  const twice = [...acknowledged.values()].filter(value => times.get(value)!.length > 1)
  expect(twice, 'nothing that was acknowledged stands twice').toEqual([])
}
