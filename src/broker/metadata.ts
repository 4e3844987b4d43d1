// Metadata and DescribeCluster: the one node there is, and the topics of a log store.
import { MillraceError } from '../errors.ts'
import type { RequestOf, ResponseOf } from '../kafka/api.ts'
import { KafkaError } from '../kafka/kafka-errors.ts'
import { describeCluster, metadata } from '../kafka/messages.ts'
import { isTopicId } from '../kafka/topic-ids.ts'
import { isTopicName } from '../kafka/topic-name.ts'
import { NO_TOPIC_ID } from '../kafka/wire.ts'
import type { Handler } from './handler.ts'
import { handler } from './handler.ts'
import type { LogStore, TopicLog } from './log-store.ts'

/** The node id of everything that Millrace serves. */
export const NODE_ID = 1

type AskedTopic = NonNullable<RequestOf<typeof metadata>['topics']>[number]
type TopicAnswer = ResponseOf<typeof metadata>['topics'][number]

export interface MetadataOptions {
  /** Makes a topic on its first use; gives an error code where it does not. Without it, no topic is made so. */
  readonly create?: ((name: string) => Promise<TopicLog | number>) | undefined
}

/** Tells of all topics or of those asked for. */
export function metadataHandler(store: LogStore, { create }: MetadataOptions = {}): Handler {
  return handler(metadata, async (request, { version, advertised }) => {
    const { topics: asked, allowAutoTopicCreation = true } = request
    // Version 0 has no null: there, no names are all of them.
    const all = asked === null || (version === 0 && asked.length === 0)
    return {
      brokers: [{ nodeId: NODE_ID, ...advertised, rack: null }],
      clusterId: store.clusterId,
      controllerId: NODE_ID,
      topics: all
        ? (await store.topics()).map(known)
        : await answerAll(asked, version, allowAutoTopicCreation ? create : undefined)
    }
  })

  async function answerAll(
    asked: readonly AskedTopic[],
    version: number,
    create: MetadataOptions['create']
  ): Promise<TopicAnswer[]> {
    const answers: TopicAnswer[] = []
    for (const { name, topicId } of asked) {
      if (name !== null && !isTopicId(topicId)) answers.push(await byName(name, create))
      else if (version >= 12) answers.push(await byId(topicId!))
      else throw new MillraceError('WIRE_CORRUPT', `Metadata ${version} asks for a topic without its name`)
    }
    return answers
  }

  async function byName(name: string, create: MetadataOptions['create']): Promise<TopicAnswer> {
    if (!isTopicName(name)) return unknown(KafkaError.INVALID_TOPIC_EXCEPTION, name)
    const topic = (await store.topic(name)) ?? (await create?.(name)) ?? KafkaError.UNKNOWN_TOPIC_OR_PARTITION
    return typeof topic === 'number' ? unknown(topic, name) : known(topic)
  }

  async function byId(topicId: string): Promise<TopicAnswer> {
    const topic = await store.topicById(topicId)
    return topic === undefined ? unknown(KafkaError.UNKNOWN_TOPIC_ID, null, topicId) : known(topic)
  }

  function known({ name, topicId, partitions }: TopicLog): TopicAnswer {
    return {
      errorCode: KafkaError.NONE,
      name,
      topicId,
      partitions: partitions.map((_, partitionIndex) => ({
        errorCode: KafkaError.NONE,
        partitionIndex,
        leaderId: NODE_ID,
        leaderEpoch: store.leaderEpoch,
        replicaNodes: [NODE_ID],
        isrNodes: [NODE_ID]
      }))
    }
  }
}

/** Tells of the one node, which is broker and controller. */
export function describeClusterHandler(store: LogStore): Handler {
  return handler(describeCluster, async ({ endpointType = BROKERS }, { advertised }) => {
    if (endpointType === CONTROLLERS) return wrongEndpoint(KafkaError.MISMATCHED_ENDPOINT_TYPE)
    if (endpointType !== BROKERS) return wrongEndpoint(KafkaError.UNSUPPORTED_ENDPOINT_TYPE)
    return {
      throttleTimeMs: 0,
      errorCode: KafkaError.NONE,
      errorMessage: null,
      clusterId: store.clusterId,
      controllerId: NODE_ID,
      brokers: [{ brokerId: NODE_ID, ...advertised, rack: null }]
    }
  })
}

function wrongEndpoint(errorCode: number): ResponseOf<typeof describeCluster> {
  return {
    throttleTimeMs: 0,
    errorCode,
    errorMessage: 'Only brokers can be asked for here.',
    clusterId: '',
    brokers: []
  }
}

/** Endpoint types of DescribeCluster (KIP-919). */
const BROKERS = 1
const CONTROLLERS = 2

function unknown(errorCode: number, name: string | null, topicId = NO_TOPIC_ID): TopicAnswer {
  return { errorCode, name, topicId, partitions: [] }
}
