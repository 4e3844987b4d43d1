// Produce: every batch is checked, gets its offsets and is answered when it is on the disk.
import { isMillraceError, MillraceError, messageOf } from '../../errors.ts'
import type { RequestOf, ResponseOf } from '../../kafka/api.ts'
import { KafkaError, kafkaErrorName } from '../../kafka/kafka-errors.ts'
import { produce } from '../../kafka/messages.ts'
import type { Handler } from '../handler.ts'
import { handler } from '../handler.ts'
import type { CheckOptions } from './batch-check.ts'
import { checkedBatch, NO_TRANSACTIONS } from './batch-check.ts'
import type { EmbeddedLogs, EmbeddedTopic } from './embedded-logs.ts'
import type { Appended } from './partition.ts'
import type { Refusal } from './refusal.ts'
import { isRefusal, refusal } from './refusal.ts'

type Request = RequestOf<typeof produce>
type Response = ResponseOf<typeof produce>
type PartitionAnswer = Response['responses'][number]['partitionResponses'][number]

/** From this version on a topic is named by its id (KIP-516). */
const TOPIC_ID_VERSION = 13

/**
 * Takes produced batches. All of a request's appends are begun before anything is waited for, so requests that are begun in
 * order are appended in order.
 */
export function produceHandler(logs: EmbeddedLogs, maxDecompressedBytes?: number): Handler {
  return handler(produce, (request, { version }) => answer(logs, request, { version, maxDecompressedBytes }), {
    advertisedMin: 0,
    pipelined: true
  })
}

async function answer(
  logs: EmbeddedLogs,
  request: Request,
  checks: Pick<CheckOptions, 'version' | 'maxDecompressedBytes'>
): Promise<Response | null> {
  const { version } = checks
  const refused = requestFault(request)
  const begun = request.topicData.map(({ name = '', topicId = '', partitionData }) => {
    const topic = version < TOPIC_ID_VERSION ? logs.find(name) : logs.findById(topicId)
    const unknown = version < TOPIC_ID_VERSION ? KafkaError.UNKNOWN_TOPIC_OR_PARTITION : KafkaError.UNKNOWN_TOPIC_ID
    const partitions = partitionData.map(({ index, records }) => ({
      index,
      logStartOffset: topic?.partitions[index]?.startOffset ?? -1,
      outcome: topic === undefined ? refusal(unknown, 'There is no such topic.') : append(topic, index, records)
    }))
    return { name, topicId, partitions }
  })

  /** Refused, or begun. */
  function append(topic: EmbeddedTopic, index: number, records: Buffer | null): Refusal | Promise<Appended> {
    const partition = topic.partitions[index]
    if (partition === undefined) {
      const message = `${topic.name} has ${topic.partitions.length} partitions.`
      return refusal(KafkaError.UNKNOWN_TOPIC_OR_PARTITION, message)
    }
    if (refused !== null) return refused
    const batch = checkedBatch(records, { ...checks, settings: topic.settings, now: Date.now() })
    return isRefusal(batch) ? batch : partition.append(batch)
  }

  const responses = await Promise.all(
    begun.map(async ({ name, topicId, partitions }) => ({
      name,
      topicId,
      partitionResponses: await Promise.all(
        partitions.map(async ({ index, logStartOffset, outcome }) => ({
          index,
          logStartOffset,
          ...partitionAnswer(isRefusal(outcome) ? outcome : await outcome.catch(storageRefusal))
        }))
      )
    }))
  )
  if (request.acks !== 0) return { responses }
  const failed = responses.flatMap(topic => topic.partitionResponses).find(({ errorCode }) => errorCode !== 0)
  if (failed === undefined) return null
  // As a broker does: a closed connection is all that such a client can be told.
  const { errorCode, errorMessage } = failed
  throw new MillraceError('BROKER_ERROR', `Produce with acks=0: ${kafkaErrorName(errorCode)}: ${errorMessage}`)
}

/** Why nothing of a request is taken. */
function requestFault({ acks, transactionalId }: Request): Refusal | null {
  if (acks !== 0 && acks !== 1 && acks !== -1) {
    return refusal(KafkaError.INVALID_REQUIRED_ACKS, `acks can be -1, 0 or 1 (got ${acks})`)
  }
  const transactional = transactionalId !== undefined && transactionalId !== null
  return transactional ? refusal(KafkaError.INVALID_TXN_STATE, NO_TRANSACTIONS) : null
}

function partitionAnswer(outcome: Appended | Refusal): Omit<PartitionAnswer, 'index'> {
  if (isRefusal(outcome)) return { ...outcome, baseOffset: -1 }
  return { errorCode: KafkaError.NONE, errorMessage: null, ...outcome }
}

/** A storage that takes nothing now: clients send the batch again. */
function storageRefusal(error: unknown): Refusal {
  if (!isMillraceError(error)) throw error
  return refusal(KafkaError.KAFKA_STORAGE_ERROR, messageOf(error))
}
