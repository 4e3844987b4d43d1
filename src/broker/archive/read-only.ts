// What an archive answers to whoever wants to write to it: a code that every client reports, and where there is room the reason.
import { MillraceError } from '../../errors.ts'
import type { RequestOf, ResponseOf } from '../../kafka/api.ts'
import { KafkaError } from '../../kafka/kafka-errors.ts'
import { initProducerId, produce } from '../../kafka/messages.ts'
import { createPartitions, createTopics, deleteTopics } from '../../kafka/messages-admin.ts'
import type { Handler } from '../handler.ts'
import { handler } from '../handler.ts'
import type { LogStore } from '../log-store.ts'
import { describeArchiveConfigsHandler } from './describe-configs.ts'

const READ_ONLY = 'This is an archive: it can only be read.'
const refused = { errorCode: KafkaError.TOPIC_AUTHORIZATION_FAILED, errorMessage: READ_ONLY }

/** Refuses everything that writes, topic by topic. */
export function readOnlyHandlers(store: LogStore): Handler[] {
  return [
    produceRefusal,
    initProducerIdHandler,
    createTopicsRefusal,
    deleteTopicsRefusal,
    createPartitionsRefusal,
    describeArchiveConfigsHandler(store)
  ]
}

const produceRefusal = handler(produce, async ({ acks, topicData }) => refuseProduce(acks, topicData), {
  advertisedMin: 0
})

function refuseProduce(acks: number, topicData: RequestOf<typeof produce>['topicData']): ResponseOf<typeof produce> {
  // As a broker does: a closed connection is all that such a client can be told.
  if (acks === 0) throw new MillraceError('BROKER_ERROR', `Produce with acks=0: ${READ_ONLY}`)
  return {
    responses: topicData.map(({ name = '', topicId = '', partitionData }) => ({
      name,
      topicId,
      partitionResponses: partitionData.map(({ index }) => ({ index, baseOffset: -1, ...refused }))
    }))
  }
}

/** Any id will do: without one, an idempotent producer would not even ask, and would not hear why it may not produce. */
const initProducerIdHandler = handler(initProducerId, async ({ transactionalId }) =>
  transactionalId === null
    ? { errorCode: KafkaError.NONE, producerId: 0, producerEpoch: 0, throttleTimeMs: 0 }
    : { errorCode: KafkaError.INVALID_REQUEST, producerId: -1, producerEpoch: -1, throttleTimeMs: 0 }
)

const createTopicsRefusal = handler(createTopics, async ({ topics }) => ({
  topics: topics.map(({ name }) => ({ name, ...refused, topicConfigErrorCode: KafkaError.NONE, configs: null }))
}))

const deleteTopicsRefusal = handler(deleteTopics, async ({ topics = [], topicNames = [] }) => ({
  responses: [
    ...topics.map(({ name, topicId }) => ({ name, topicId, ...refused })),
    ...topicNames.map(name => ({ name, ...refused }))
  ]
}))

const createPartitionsRefusal = handler(createPartitions, async ({ topics }) => ({
  throttleTimeMs: 0,
  results: topics.map(({ name }) => ({ name, ...refused }))
}))
