// What a WAL entry belongs to: one partition of one incarnation of a topic in one cluster.

export interface StreamKey {
  readonly clusterId: string
  readonly topic: string
  /** Kafka's base64url form of the topic's UUID, 22 characters. */
  readonly topicId: string
  readonly partition: number
}

/** A string that is equal for equal keys, for use in maps. */
export function streamId({ clusterId, topic, topicId, partition }: StreamKey): string {
  return JSON.stringify([clusterId, topic, topicId, partition])
}

/** The key that `streamId` made a string of. */
export function streamOf(id: string): StreamKey {
  const [clusterId, topic, topicId, partition] = JSON.parse(id) as [string, string, string, number]
  return { clusterId, topic, topicId, partition }
}
