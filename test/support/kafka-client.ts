// kafkajs with a logger of ours: while a coordinator loads it prints errors that it then retries, which are no news.

import type { KafkaConfig } from 'kafkajs'
import { Kafka, logLevel } from 'kafkajs'

/** A silent kafkajs client of the brokers at `bootstrap` (addresses parted by commas). */
export function kafkaClient(bootstrap: string, config: Partial<KafkaConfig> = {}): Kafka {
  return new Kafka({ brokers: bootstrap.split(','), clientId: 'millrace-test', logLevel: logLevel.NOTHING, ...config })
}

export interface ClusterView {
  clusterId: string
  nodes: { id: number; host: string; port: number }[]
}

/** What the brokers at `bootstrap` say about their cluster: one real round trip, without retries. */
export async function askCluster(bootstrap: string): Promise<ClusterView> {
  const admin = kafkaClient(bootstrap, { retry: { retries: 0 }, connectionTimeout: 2_000 }).admin()
  try {
    await admin.connect()
    const { clusterId, brokers } = await admin.describeCluster()
    return { clusterId, nodes: brokers.map(({ nodeId, host, port }) => ({ id: nodeId, host, port })) }
  } finally {
    await admin.disconnect()
  }
}
