// CreateTopics and CreatePartitions: which topics can be made and how far they can grow.
import type { RequestOf, ResponseOf } from '../../kafka/api.ts'
import { KafkaError } from '../../kafka/kafka-errors.ts'
import { createPartitions, createTopics } from '../../kafka/messages-admin.ts'
import { topicNameFault } from '../../kafka/topic-name.ts'
import type { Handler } from '../handler.ts'
import { handler } from '../handler.ts'
import { describeTopicConfigs } from './describe-configs.ts'
import type { EmbeddedLogs, EmbeddedTopic } from './embedded-logs.ts'
import type { Refusal } from './refusal.ts'
import { isRefusal, refusal } from './refusal.ts'
import type { TopicSettings } from './topic-configs.ts'
import { topicSettings } from './topic-configs.ts'

type NewTopic = RequestOf<typeof createTopics>['topics'][number]
type Created = ResponseOf<typeof createTopics>['topics'][number]
type GrowingTopic = RequestOf<typeof createPartitions>['topics'][number]

const MAX_PARTITIONS = 1000
/** Stands for the broker's own choice. */
const DEFAULT = -1

interface Wanted {
  readonly partitionCount: number
  readonly settings: TopicSettings
}

/** Makes topics. */
export function createTopicsHandler(logs: EmbeddedLogs): Handler {
  return handler(createTopics, async ({ topics, validateOnly = false }) => {
    const repeated = repeatedNames(topics)
    return { topics: topics.map(topic => create(topic, repeated, validateOnly)) }
  })

  function create(topic: NewTopic, repeated: ReadonlySet<string>, validateOnly: boolean): Created {
    const { name } = topic
    const wanted = repeated.has(name) ? twice(name) : wantedTopic(logs, topic)
    if (isRefusal(wanted)) return { name, ...wanted, configs: null }
    const { partitionCount, settings } = wanted
    const made = validateOnly ? {} : { topicId: logs.createTopic(name, partitionCount, settings).topicId }
    return {
      name,
      ...made,
      errorCode: KafkaError.NONE,
      errorMessage: null,
      numPartitions: partitionCount,
      replicationFactor: 1,
      configs: describeTopicConfigs(settings)
    }
  }
}

function wantedTopic(logs: EmbeddedLogs, topic: NewTopic): Wanted | Refusal {
  const { name, numPartitions, replicationFactor, assignments, configs } = topic
  const fault = topicNameFault(name)
  if (fault !== null) return refusal(KafkaError.INVALID_TOPIC_EXCEPTION, `Topic name is invalid: ${fault}`)
  if (logs.find(name) !== undefined) {
    return refusal(KafkaError.TOPIC_ALREADY_EXISTS, `Topic '${name}' already exists.`)
  }
  if (assignments.length > 0) return refusal(KafkaError.INVALID_REPLICA_ASSIGNMENT, NO_ASSIGNMENTS)
  if (replicationFactor !== 1 && replicationFactor !== DEFAULT) {
    const message = `The embedded broker is one node: the replication factor can only be 1 (got ${replicationFactor}).`
    return refusal(KafkaError.INVALID_REPLICATION_FACTOR, message)
  }
  const partitionCount = numPartitions === DEFAULT ? 1 : numPartitions
  return countFault(partitionCount) ?? withSettings(partitionCount, topicSettings(configs))
}

function withSettings(partitionCount: number, settings: TopicSettings | Refusal): Wanted | Refusal {
  return isRefusal(settings) ? settings : { partitionCount, settings }
}

const NO_ASSIGNMENTS = 'The embedded broker is one node: partitions cannot be assigned.'

function countFault(count: number): Refusal | null {
  if (count >= 1 && count <= MAX_PARTITIONS) return null
  return refusal(
    KafkaError.INVALID_PARTITIONS,
    `A topic can have 1 to ${MAX_PARTITIONS} partitions here (got ${count}).`
  )
}

/** Gives topics more partitions. */
export function createPartitionsHandler(logs: EmbeddedLogs): Handler {
  return handler(createPartitions, async ({ topics, validateOnly }) => {
    const repeated = repeatedNames(topics)
    return { results: topics.map(topic => ({ name: topic.name, ...grow(topic, repeated, validateOnly) })) }
  })

  function grow(growing: GrowingTopic, repeated: ReadonlySet<string>, validateOnly: boolean) {
    const { name, count } = growing
    const topic = logs.find(name)
    if (topic === undefined) return refusal(KafkaError.UNKNOWN_TOPIC_OR_PARTITION, `There is no topic '${name}'.`)
    const fault = repeated.has(name) ? twice(name) : growthFault(topic, growing)
    if (fault !== null) return fault
    if (!validateOnly) logs.addPartitions(topic, count)
    return { errorCode: KafkaError.NONE, errorMessage: null }
  }
}

function growthFault({ partitions }: EmbeddedTopic, { name, count, assignments }: GrowingTopic): Refusal | null {
  if (count <= partitions.length) {
    const message = `Topic '${name}' has ${partitions.length} partitions, and can only get more (got ${count}).`
    return refusal(KafkaError.INVALID_PARTITIONS, message)
  }
  return assignments === null ? countFault(count) : refusal(KafkaError.INVALID_REPLICA_ASSIGNMENT, NO_ASSIGNMENTS)
}

function repeatedNames(topics: readonly { readonly name: string }[]): Set<string> {
  const names = topics.map(({ name }) => name)
  return new Set(names.filter((name, i) => names.indexOf(name) !== i))
}

function twice(name: string): Refusal {
  return refusal(KafkaError.INVALID_REQUEST, `Topic '${name}' is named twice.`)
}
