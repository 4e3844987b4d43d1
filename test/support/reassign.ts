// Moves partitions and their leaderships between the nodes of a cluster, as operators do.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { kafkaTool } from './kafka-tools.ts'
import { tempFolder } from './temp.ts'
import { withAdmin } from './topics.ts'
import { until } from './until.ts'

/** Lets a cluster's controller give leaderships back to the preferred replicas at once, not within five minutes. */
export const promptElections = { 'leader.imbalance.check.interval.seconds': '1' }

/**
 * Gives each partition of a topic its replicas, of which the first leads when this resolves. A test that calls it needs
 * `kafka-tools` and `promptElections`.
 */
export async function reassign(bootstrap: string, topic: string, replicas: readonly number[][]): Promise<void> {
  await using folder = await tempFolder('reassign')
  const file = join(folder.path, 'plan.json')
  const partitions = replicas.map((its, partition) => ({ topic, partition, replicas: its }))
  await writeFile(file, JSON.stringify({ version: 1, partitions }))
  await kafkaTool('org.apache.kafka.tools.reassign.ReassignPartitionsCommand', [
    ...['--bootstrap-server', bootstrap, '--reassignment-json-file', file, '--execute']
  ])
  await untilAssigned(bootstrap, topic, replicas)
}

/** Waits until each partition has exactly these replicas, all in sync, and the first leads. */
export async function untilAssigned(bootstrap: string, topic: string, replicas: readonly number[][]): Promise<void> {
  const isAssigned = async () => {
    const { topics } = await withAdmin(bootstrap, admin => admin.fetchTopicMetadata({ topics: [topic] }))
    return topics[0]!.partitions.every(({ partitionId, leader, replicas: now, isr }) => {
      const wanted = replicas[partitionId]!
      return leader === wanted[0] && String(now) === String(wanted) && wanted.every(id => isr.includes(id))
    })
  }
  await until(isAssigned, { what: `the partitions of ${topic} are at ${JSON.stringify(replicas)}`, timeout: 30_000 })
}
