// DeleteTopics: by name, or from version 6 on by id.
import type { ResponseOf } from '../../kafka/api.ts'
import { KafkaError } from '../../kafka/kafka-errors.ts'
import { deleteTopics } from '../../kafka/messages-admin.ts'
import type { Handler } from '../handler.ts'
import { handler } from '../handler.ts'
import type { EmbeddedLogs } from './embedded-logs.ts'

type Deleted = ResponseOf<typeof deleteTopics>['responses'][number]

/** Deletes topics with all that is in them; what is named twice is not there the second time. */
export function deleteTopicsHandler(logs: EmbeddedLogs): Handler {
  return handler(deleteTopics, async ({ topics = [], topicNames = [] }, { version }) => ({
    responses:
      version < 6
        ? topicNames.map(byName)
        : topics.map(({ name, topicId }) => (name === null ? byId(topicId) : byName(name)))
  }))

  function byName(name: string): Deleted {
    const topic = logs.find(name)
    if (topic !== undefined) logs.deleteTopic(topic)
    const errorCode = topic === undefined ? KafkaError.UNKNOWN_TOPIC_OR_PARTITION : KafkaError.NONE
    return { name, ...(topic && { topicId: topic.topicId }), errorCode, errorMessage: null }
  }

  function byId(topicId: string): Deleted {
    const topic = logs.findById(topicId)
    if (topic !== undefined) logs.deleteTopic(topic)
    const errorCode = topic === undefined ? KafkaError.UNKNOWN_TOPIC_ID : KafkaError.NONE
    return { name: topic?.name ?? null, topicId, errorCode, errorMessage: null }
  }
}
