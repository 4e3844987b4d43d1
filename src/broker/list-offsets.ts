// ListOffsets: where a partition's log begins and ends, and from which offset on its records are as young as asked.
import type { RequestOf, ResponseOf } from '../kafka/api.ts'
import { KafkaError } from '../kafka/kafka-errors.ts'
import { listOffsets } from '../kafka/messages.ts'
import type { Handler, ReportError } from './handler.ts'
import { handler } from './handler.ts'
import type { LogStore, PartitionLog, TimedOffset } from './log-store.ts'

type AskedPartition = RequestOf<typeof listOffsets>['topics'][number]['partitions'][number]
type PartitionAnswer = ResponseOf<typeof listOffsets>['topics'][number]['partitions'][number]

/** Timestamps that stand for places (ListOffsetsRequest). */
const place = { latest: -1, earliest: -2, maxTimestamp: -3, earliestLocal: -4, latestTiered: -5, pendingUpload: -6 }

/** The version that each of them came with. */
const placeSince = new Map([
  [place.latest, 1],
  [place.earliest, 1],
  [place.maxTimestamp, 7],
  [place.earliestLocal, 8],
  [place.latestTiered, 9],
  [place.pendingUpload, 11]
])

const READ_COMMITTED = 1
const NOWHERE: TimedOffset = { offset: -1, timestamp: -1 }

/** Answers from the logs of a store. What reading throws is reported, and answered as a storage error. */
export function listOffsetsHandler(store: LogStore, { onError }: { onError: ReportError }): Handler {
  return handler(listOffsets, async ({ topics, isolationLevel }, { version }) => {
    const answers = topics.map(async ({ name, partitions }) => {
      const topic = await store.topic(name)
      const one = (asked: AskedPartition) => answer(name, topic?.partitions[asked.partitionIndex], asked)
      return { name, partitions: await Promise.all(partitions.map(one)) }
    })
    return { topics: await Promise.all(answers) }

    async function answer(
      name: string,
      log: PartitionLog | undefined,
      asked: AskedPartition
    ): Promise<PartitionAnswer> {
      const { partitionIndex, timestamp } = asked
      if (log === undefined) return { partitionIndex, errorCode: KafkaError.UNKNOWN_TOPIC_OR_PARTITION }
      if (timestamp < 0 && version < (placeSince.get(timestamp) ?? Number.POSITIVE_INFINITY)) {
        return { partitionIndex, errorCode: KafkaError.UNSUPPORTED_VERSION }
      }
      try {
        const found = await find(
          log,
          timestamp,
          isolationLevel === READ_COMMITTED ? log.lastStableOffset : log.highWatermark
        )
        return {
          partitionIndex,
          errorCode: KafkaError.NONE,
          ...found,
          leaderEpoch: found.offset < 0 ? -1 : store.leaderEpoch
        }
      } catch (error) {
        onError(error, `ListOffsets of ${name}-${partitionIndex}`)
        return { partitionIndex, errorCode: KafkaError.KAFKA_STORAGE_ERROR }
      }
    }
  })
}

/** `end` is the first offset that this client cannot read. */
async function find(log: PartitionLog, timestamp: number, end: number): Promise<TimedOffset> {
  switch (timestamp) {
    case place.latest:
      return { offset: end, timestamp: -1 }
    case place.earliest:
    case place.earliestLocal:
      return { offset: log.startOffset, timestamp: -1 }
    case place.latestTiered:
    case place.pendingUpload:
      return NOWHERE // nothing is tiered
    default: {
      const found = timestamp === place.maxTimestamp ? await log.maxTimestamp() : await log.offsetForTime(timestamp)
      return found === null || found.offset >= end ? NOWHERE : found
    }
  }
}
