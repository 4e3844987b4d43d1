// ListOffsets for many partitions of one broker.
import type { Connection } from './connection.ts'
import { KafkaError } from './kafka-errors.ts'
import { listOffsets } from './messages.ts'

interface Place {
  readonly topic: string
  readonly partition: number
}

/** The offsets that a leader gives for a timestamp, by `topic/partition`; those are left out for which it gives none now. */
export async function askOffsets(
  connection: Connection,
  places: readonly Place[],
  { timestamp, timeoutMs }: { readonly timestamp: number; readonly timeoutMs: number }
): Promise<Map<string, number>> {
  const topics = [...Map.groupBy(places, ({ topic }) => topic)].map(([topic, its]) => ({
    name: topic,
    partitions: its.map(({ partition }) => ({ partitionIndex: partition, timestamp }))
  }))
  const answer = await connection.request(listOffsets, { isolationLevel: 0, topics, timeoutMs })
  return new Map(
    answer.topics.flatMap(({ name, partitions }) =>
      partitions
        .filter(({ errorCode, offset = -1 }) => errorCode === KafkaError.NONE && offset >= 0)
        .map(({ partitionIndex, offset }) => [`${name}/${partitionIndex}`, offset!] as const)
    )
  )
}
