// Pairs a Produce request with the broker's answer: which batches were accepted, at which offsets, and what to answer when
// they cannot be made durable.

import type { CapturedBatch } from 'millrace/connect'
import { FrameFlag, MillraceError } from 'millrace/connect'
import type { messages, ProducedBatch, ProduceOutcome, ProduceRequest, ResponseOf } from 'millrace/kafka'
import { KafkaError } from 'millrace/kafka'
import type { Sent, TopicIds, TopicSelection } from './topics.ts'
import { isCaptured } from './topics.ts'

export type ProduceAnswer = ResponseOf<typeof messages.produce>

/** With these the batch stays in the leader's log, although the producer is told to try again (DelayedProduce in Kafka). */
const afterAppend: ReadonlySet<number> = new Set([
  KafkaError.REQUEST_TIMED_OUT,
  KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND
])

export interface Accepted {
  readonly batches: readonly CapturedBatch[]
  /** Why a topic cannot be captured: its id or name cannot be found out, or what was accepted. By what the answer calls it. */
  readonly unnamed: ReadonlyMap<string, unknown>
}

/** The batches that the broker has in its log now, with their offsets, of a request. */
export async function acceptedBatches(
  request: ProduceRequest,
  answer: ProduceOutcome,
  clusterId: string,
  ids: TopicIds,
  selection: TopicSelection,
  sent: Sent
): Promise<Accepted> {
  const requested = requestedOf(request, answer)
  const batches: CapturedBatch[] = []
  const unnamed = new Map<string, unknown>()
  for (const response of answer.responses) {
    const appended = response.partitionResponses.filter(isInLog)
    if (appended.length === 0) continue // the broker may not know the topic either
    try {
      const topic = response.name ?? ids.knownName(response.topicId!) ?? (await ids.nameOf(response.topicId!))
      if (!isCaptured(topic, selection)) continue
      const ofTopic: CapturedBatch[] = []
      for (const answered of appended) {
        const { index, baseOffset } = answered
        const batch = requested.get(calledBy(response))!.get(index)
        if (!batch)
          throw new MillraceError('WIRE_CORRUPT', `the broker accepted what is no batch for partition ${index}`)
        const topicId = response.topicId ?? (await ids.idOf(topic, baseOffset))
        ofTopic.push({
          stream: { clusterId, topic, topicId, partition: index },
          baseOffset,
          lastOffset: baseOffset + batch.lastOffsetDelta,
          recordCount: batch.recordCount,
          flags: isProvisional(answered) ? FrameFlag.PROVISIONAL : 0,
          leaderEpoch: ids.epochBefore(topicId, index, sent),
          chunks: batch.chunks
        })
      }
      batches.push(...ofTopic)
    } catch (error) {
      unnamed.set(calledBy(response), error) // a topic that was deleted meanwhile must not fail the request's other topics
    }
  }
  return { batches, unnamed }
}

/** The batches of topics that are answered, by what these are called and by partition. Where one comes twice, the last counts. */
function requestedOf({ batches }: ProduceRequest, { responses }: ProduceOutcome) {
  const requested = new Map(responses.map(response => [calledBy(response), new Map<number, ProducedBatch>()]))
  for (const batch of batches) requested.get(batch.topic ?? batch.topicId!)?.set(batch.partition, batch)
  return requested
}

/** The topics that should have been captured, by what the answer calls them: the broker has something of them in its log now. */
export function acceptedTopics({ responses }: ProduceOutcome, ids: TopicIds, selection: TopicSelection): string[] {
  return responses
    .filter(({ name, topicId }) => isWanted(name ?? ids.knownName(topicId!), selection))
    .filter(({ partitionResponses }) => partitionResponses.some(isInLog))
    .map(calledBy)
}

type TopicOutcome = ProduceOutcome['responses'][number]
type PartitionOutcome = TopicOutcome['partitionResponses'][number]

/** The topic's name, or its id from version 13 on. */
function calledBy({ name, topicId }: TopicOutcome): string {
  return name ?? topicId!
}

function isInLog({ errorCode, baseOffset }: PartitionOutcome): boolean {
  return baseOffset >= 0 && (errorCode === KafkaError.NONE || afterAppend.has(errorCode))
}

/**
 * Whether the log may hold other bytes at this offset. A time of appending is told for topics that have them for timestamps,
 * which the broker rewrites anyway, and for a repeated batch (UnifiedLog.append): that one is known by its producer and
 * sequence alone, and kafkajs gives records without a timestamp another one when it sends them again.
 */
function isProvisional({ errorCode, logAppendTimeMs = -1 }: PartitionOutcome): boolean {
  return afterAppend.has(errorCode) || logAppendTimeMs !== -1
}

/**
 * Whether anything in the request is to be captured. A topic id that is not known yet counts as captured, and so does what is not
 * one batch, of which no topic is kept.
 */
export function wantsCapture(
  { batches, unbatched }: ProduceRequest,
  ids: TopicIds,
  selection: TopicSelection
): boolean {
  return unbatched > 0 || batches.some(({ topic, topicId }) => isWanted(topic ?? ids.knownName(topicId!), selection))
}

/** The broker's answer with every captured success turned into "in the log, but not safe": the producer sends again. */
export function withdrawn(
  answer: ProduceAnswer,
  reason: string,
  ids: TopicIds,
  selection: TopicSelection
): ProduceAnswer {
  return withdrawnWhere(answer, reason, ({ name, topicId }) => isWanted(name ?? ids.knownName(topicId!), selection))
}

/** The same for topics of which nothing could be captured. */
export function withdrawnUnnamed(answer: ProduceAnswer, reason: string, unnamed: Accepted['unnamed']): ProduceAnswer {
  return withdrawnWhere(answer, reason, response => unnamed.has(calledBy(response)))
}

function withdrawnWhere(
  answer: ProduceAnswer,
  reason: string,
  isLost: (response: TopicOutcome) => boolean
): ProduceAnswer {
  return {
    ...answer,
    responses: answer.responses.map(response => {
      if (!isLost(response)) return response
      const partitionResponses = response.partitionResponses.map(partition =>
        partition.errorCode === KafkaError.NONE
          ? { ...partition, errorCode: KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND, errorMessage: reason }
          : partition
      )
      return { ...response, partitionResponses }
    })
  }
}

function isWanted(topic: string | undefined, selection: TopicSelection): boolean {
  return topic === undefined || isCaptured(topic, selection)
}

/**
 * The answer to a request that was not forwarded, because nothing could be made durable: the producer sends again.
 * Throws WIRE_CORRUPT for one of which not all partitions can be answered.
 */
export function refusal({ batches, unbatched }: ProduceRequest, reason: string): ProduceAnswer {
  if (unbatched > 0) {
    const what = `a Produce request has ${unbatched} partitions without a batch`
    throw new MillraceError('WIRE_CORRUPT', `${what}; it would be refused anyway: ${reason}`)
  }
  const topics = Map.groupBy(batches, ({ topic, topicId }) => topic ?? topicId)
  const responses = [...topics.values()].map(ofTopic => {
    const { topic, topicId } = ofTopic[0]!
    return {
      ...(topic === null ? { topicId: topicId! } : { name: topic }),
      partitionResponses: ofTopic.map(({ partition }) => ({
        index: partition,
        errorCode: KafkaError.NOT_ENOUGH_REPLICAS,
        baseOffset: -1,
        errorMessage: reason
      }))
    }
  })
  return { responses }
}
