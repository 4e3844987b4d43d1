// Handlers of committed offsets: OffsetCommit, OffsetFetch, OffsetDelete.
import type { RequestOf, ResponseOf } from '../../kafka/api.ts'
import { KafkaError } from '../../kafka/kafka-errors.ts'
import { offsetCommit, offsetDelete, offsetFetch } from '../../kafka/messages-groups.ts'
import type { Handler } from '../handler.ts'
import { handler } from '../handler.ts'
import type { LogStore, TopicLog } from '../log-store.ts'
import type { Coordinator } from './coordinator.ts'
import type { CommittedOffset } from './offset-store.ts'
import { isSubscribed } from './subscription.ts'

/** As in Kafka: offset.metadata.max.bytes, which it counts in UTF-16 units too. */
const MAX_METADATA_LENGTH = 4096

type CommitRequest = RequestOf<typeof offsetCommit>
type FetchRequest = RequestOf<typeof offsetFetch>
type FetchedGroup = NonNullable<ResponseOf<typeof offsetFetch>['groups']>[number]

/** A topic as a request names it: by its name, or in later versions by its id. */
interface TopicName {
  readonly name?: string
  readonly topicId?: string
}

export function offsetHandlers(coordinator: Coordinator, store: LogStore): Handler[] {
  const { offsets, scope } = coordinator

  return [
    handler(offsetCommit, async request => {
      const topics = await Promise.all(request.topics.map(async given => ({ given, topic: await find(store, given) })))
      const isThere = ({ topic, given }: (typeof topics)[number]) => given.partitions.some(p => has(topic, p))
      const groupError = topics.some(isThere) ? admit(coordinator, request) : KafkaError.NONE

      const accepted: CommittedOffset[] = []
      const answers = topics.map(({ given, topic }) => ({
        ...given,
        partitions: given.partitions.map(partition => {
          const { partitionIndex, committedMetadata } = partition
          if (topic === undefined || !has(topic, partition)) return { partitionIndex, errorCode: unknown(given, topic) }
          if (groupError !== KafkaError.NONE) return { partitionIndex, errorCode: groupError }
          if (committedMetadata !== null && committedMetadata.length > MAX_METADATA_LENGTH) {
            return { partitionIndex, errorCode: KafkaError.OFFSET_METADATA_TOO_LARGE }
          }
          accepted.push({
            topic: topic.name,
            topicId: topic.topicId,
            partition: partitionIndex,
            offset: partition.committedOffset,
            leaderEpoch: partition.committedLeaderEpoch ?? -1,
            metadata: committedMetadata ?? ''
          })
          return { partitionIndex, errorCode: KafkaError.NONE }
        })
      }))
      if (accepted.length > 0) await offsets.put(scope, request.groupId, accepted)
      return { topics: answers }
    }),

    handler(offsetFetch, async request => {
      // One group before version 8. That nothing unstable is returned needs no waiting: there are no transactional commits.
      const asked = request.groups ?? [{ groupId: request.groupId!, topics: request.topics ?? null }]
      const groups = await Promise.all(asked.map(group => fetchOffsets(coordinator, store, group)))
      const { topics, errorCode } = groups[0] ?? { topics: [], errorCode: KafkaError.NONE }
      return { groups, topics: topics.map(topic => ({ ...topic, name: topic.name! })), errorCode }
    }),

    handler(offsetDelete, async ({ groupId, topics }) => {
      const found = await Promise.all(topics.map(({ name }) => store.topic(name)))
      const group = coordinator.find(groupId)
      if (group === undefined) return { errorCode: KafkaError.GROUP_ID_NOT_FOUND, topics: [] }
      if (group.state !== 'Empty' && group.roster.protocolType !== 'consumer') {
        return { errorCode: KafkaError.NON_EMPTY_GROUP, topics: [] }
      }
      const deleted: { topic: string; partition: number }[] = []
      const answers = topics.map(({ name, partitions }, i) => ({
        name,
        partitions: partitions.map(({ partitionIndex }) => {
          let errorCode: number = KafkaError.NONE
          if (!has(found[i], { partitionIndex })) errorCode = KafkaError.UNKNOWN_TOPIC_OR_PARTITION
          else if (isSubscribed(group, name)) errorCode = KafkaError.GROUP_SUBSCRIBED_TO_TOPIC
          else deleted.push({ topic: name, partition: partitionIndex })
          return { partitionIndex, errorCode }
        })
      }))
      if (deleted.length > 0) await offsets.remove(scope, groupId, deleted)
      return { errorCode: KafkaError.NONE, topics: answers }
    })
  ]
}

/** Whether the group takes the commit, as an error code. */
function admit(coordinator: Coordinator, request: CommitRequest): number {
  const { groupId, memberId = '', groupInstanceId = null, generationIdOrMemberEpoch: generation = -1 } = request
  const group = generation < 0 ? coordinator.findOrCreate(groupId) : coordinator.find(groupId)
  // Kafka's GROUP_ID_NOT_FOUND is the end for a Java consumer. There a group with members cannot vanish; here a restart
  // forgets them, and on this code they join again.
  return group?.commit(memberId, groupInstanceId, generation) ?? KafkaError.UNKNOWN_MEMBER_ID
}

async function fetchOffsets(
  { offsets, scope }: Coordinator,
  store: LogStore,
  { groupId, topics }: Pick<NonNullable<FetchRequest['groups']>[number], 'groupId' | 'topics'>
): Promise<FetchedGroup> {
  const committed = Map.groupBy(offsets.offsets(scope, groupId), ({ topic }) => topic)
  const asked: readonly (TopicName & { partitionIndexes?: number[] })[] =
    topics ?? [...committed.keys()].map(name => ({ name }))

  const answers = asked.map(async ({ partitionIndexes, ...given }) => {
    const topic = await find(store, given)
    // Offsets of a topic that was deleted since are as good as deleted with it, as they are in Kafka.
    const rows = (committed.get(topic?.name ?? '') ?? []).filter(row => row.topicId === topic?.topicId)
    const byPartition = new Map(rows.map(row => [row.partition, row]))
    const errorCode = topic === undefined && given.topicId !== undefined ? KafkaError.UNKNOWN_TOPIC_ID : KafkaError.NONE
    return {
      name: given.name ?? topic?.name ?? '',
      topicId: given.topicId ?? topic?.topicId ?? '',
      partitions: (partitionIndexes ?? [...byPartition.keys()]).map(partitionIndex => {
        const row = byPartition.get(partitionIndex)
        return {
          partitionIndex,
          committedOffset: row?.offset ?? -1,
          committedLeaderEpoch: row?.leaderEpoch ?? -1,
          metadata: row?.metadata ?? '',
          errorCode
        }
      })
    }
  })
  const all = await Promise.all(answers)
  return {
    groupId,
    topics: topics === null ? all.filter(t => t.partitions.length > 0) : all,
    errorCode: KafkaError.NONE
  }
}

function find(store: LogStore, { name, topicId }: TopicName): Promise<TopicLog | undefined> {
  return topicId === undefined ? store.topic(name!) : store.topicById(topicId)
}

function has(topic: TopicLog | undefined, { partitionIndex }: { partitionIndex: number }): boolean {
  return topic?.partitions[partitionIndex] !== undefined
}

/** The error code for a partition that is not there. */
function unknown({ topicId }: TopicName, topic: TopicLog | undefined): number {
  const noSuchId = topic === undefined && topicId !== undefined
  return noSuchId ? KafkaError.UNKNOWN_TOPIC_ID : KafkaError.UNKNOWN_TOPIC_OR_PARTITION
}
