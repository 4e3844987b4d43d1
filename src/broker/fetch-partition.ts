// One partition's part of a Fetch answer.
import { isMillraceError } from '../errors.ts'
import type { RequestOf, ResponseOf } from '../kafka/api.ts'
import { parseBatchHeader } from '../kafka/batch.ts'
import { KafkaError } from '../kafka/kafka-errors.ts'
import type { fetch } from '../kafka/messages.ts'
import type { PartitionLog } from './log-store.ts'

type AskedPartition = RequestOf<typeof fetch>['topics'][number]['partitions'][number]
type PartitionAnswer = ResponseOf<typeof fetch>['responses'][number]['partitions'][number]

/** The answer but for its records, and these. */
export interface PartitionRead {
  readonly answer: Omit<PartitionAnswer, 'records'>
  readonly batches: readonly Buffer[]
  readonly bytes: number
}

export interface ReadLimits {
  /** What the answer as a whole may still take. */
  readonly maxBytes: number
  /** Whether one batch is given even if it is larger than every limit: else a client could never get past it (KIP-74). */
  readonly atLeastOne: boolean
}

const READ_COMMITTED = 1

/** Reads from where it was asked to. Never rejects: what reading throws is told to `report`. */
export async function readPartition(
  log: PartitionLog,
  asked: AskedPartition,
  isolationLevel: number,
  { maxBytes, atLeastOne }: ReadLimits,
  report: (error: unknown) => void
): Promise<PartitionRead> {
  const { partition, fetchOffset, partitionMaxBytes } = asked
  const committed = isolationLevel === READ_COMMITTED
  const limit = Math.min(partitionMaxBytes, maxBytes)
  try {
    const { startOffset, highWatermark, lastStableOffset } = log
    if (fetchOffset < startOffset || fetchOffset > highWatermark) {
      return fetchFailure(partition, KafkaError.OFFSET_OUT_OF_RANGE)
    }
    const upTo = committed ? lastStableOffset : highWatermark
    const wanted = fetchOffset < upTo && (atLeastOne || limit > 0)
    const found = wanted ? await log.read(fetchOffset, { upTo, maxBytes: limit }) : []
    const size = found.reduce((sum, { length }) => sum + length, 0)
    // A log gives a first batch that is larger than the limit; this answer may not have room for it.
    const batches = atLeastOne || size <= limit ? found : []
    const last = batches.at(-1)
    const to = last === undefined ? fetchOffset : parseBatchHeader(last).lastOffset + 1
    return {
      answer: {
        partitionIndex: partition,
        errorCode: KafkaError.NONE,
        highWatermark,
        lastStableOffset,
        logStartOffset: startOffset,
        abortedTransactions: committed ? [...log.abortedTransactions(fetchOffset, to)] : null
      },
      batches,
      bytes: last === undefined ? 0 : size
    }
  } catch (error) {
    // Deleted while it was to be read. An object that is missing elsewhere is damage: that must not look like an offset to skip.
    if (isMillraceError(error, 'OBJECT_MISSING') && fetchOffset < log.startOffset) {
      return fetchFailure(partition, KafkaError.OFFSET_OUT_OF_RANGE)
    }
    report(error)
    return fetchFailure(partition, KafkaError.KAFKA_STORAGE_ERROR)
  }
}

/** An answer that is an error code and nothing else; the offsets in it are -1, as a broker's are. */
export function fetchFailure(partition: number, errorCode: number): PartitionRead {
  const answer = {
    partitionIndex: partition,
    errorCode,
    highWatermark: -1,
    lastStableOffset: -1,
    logStartOffset: -1,
    abortedTransactions: null
  }
  return { answer, batches: [], bytes: 0 }
}
