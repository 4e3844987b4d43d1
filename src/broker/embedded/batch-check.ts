// Which batches the embedded broker takes, and what it makes of their timestamps. Source: ProduceRequest.validateRecords,
// UnifiedLog.analyzeAndValidateRecords and LogValidator in apache/kafka; beyond them, no transactions and no odd offsets.
import { isMillraceError, MillraceError, messageOf } from '../../errors.ts'
import type { BatchHeader } from '../../kafka/batch.ts'
import { BATCH_HEADER_BYTES, CanonicalBatch, parseBatchHeader } from '../../kafka/batch.ts'
import { KafkaError } from '../../kafka/kafka-errors.ts'
import { readRecords } from '../../kafka/read-records.ts'
import { withTrueMaxTimestamp } from '../../segment/max-timestamp.ts'
import type { Refusal } from './refusal.ts'
import { refusal } from './refusal.ts'
import type { TopicSettings } from './topic-configs.ts'
import { settingOf } from './topic-configs.ts'

export interface CheckOptions {
  /** Of the Produce request. */
  readonly version: number
  readonly settings: TopicSettings
  /** The time that a batch gets under LogAppendTime. */
  readonly now: number
  /** What the batch may grow to. */
  readonly maxDecompressedBytes?: number | undefined
}

const MAGIC_AT = 16
const LENGTH_AT = 8
const LOG_OVERHEAD = 12
/** Since this version, zstd may be used (KIP-110). */
const ZSTD_VERSION = 7

/** The batch as the log is to have it, but for its offsets; or why it is not taken. */
export function checkedBatch(records: Buffer | null, options: CheckOptions): CanonicalBatch | Refusal {
  const shape = shapeFault(records)
  if (shape !== null) return shape
  try {
    const header = parseBatchHeader(records!)
    const fault = headerFault(header, options)
    if (fault !== null) return fault
  } catch (error) {
    return invalid(error)
  }
  let batch: CanonicalBatch
  try {
    batch = CanonicalBatch.fromWire(records!).batch
  } catch (error) {
    return corrupt(error)
  }
  return timed(batch, options)
}

/** There must be exactly one batch of format 2. */
function shapeFault(records: Buffer | null): Refusal | null {
  if (records === null || records.length <= MAGIC_AT) {
    return refusal(KafkaError.INVALID_RECORD, 'there must be one record batch for each partition')
  }
  const magic = records[MAGIC_AT]
  if (magic !== 2) return refusal(KafkaError.INVALID_RECORD, `only record batches of format 2 are taken (got ${magic})`)
  const size = records.readInt32BE(LENGTH_AT) + LOG_OVERHEAD
  if (size < BATCH_HEADER_BYTES) return refusal(KafkaError.CORRUPT_MESSAGE, `a batch says it has ${size} bytes`)
  if (size === records.length) return null
  return refusal(KafkaError.INVALID_RECORD, `a batch of ${size} bytes must fill its ${records.length} bytes`)
}

function headerFault(header: BatchHeader, { version, settings }: CheckOptions): Refusal | null {
  const { baseOffset, lastOffset, recordCount, sizeInBytes, producerId, baseSequence } = header
  if (header.codec === 'zstd' && version < ZSTD_VERSION) {
    return refusal(KafkaError.UNSUPPORTED_COMPRESSION_TYPE, `zstd needs Produce ${ZSTD_VERSION} (got ${version})`)
  }
  if (header.isTransactional) return refusal(KafkaError.INVALID_TXN_STATE, NO_TRANSACTIONS)
  const maxBytes = settingOf(settings, 'max.message.bytes')
  if (sizeInBytes > Number(maxBytes)) {
    return refusal(KafkaError.MESSAGE_TOO_LARGE, `the batch has ${sizeInBytes} bytes, max.message.bytes is ${maxBytes}`)
  }
  if (baseOffset !== 0) return refusal(KafkaError.INVALID_RECORD, `the base offset must be 0 (got ${baseOffset})`)
  if (recordCount === 0 || recordCount !== lastOffset - baseOffset + 1) {
    return refusal(KafkaError.INVALID_RECORD, `${recordCount} records do not fill the offsets up to ${lastOffset}`)
  }
  if (header.isControl) return refusal(KafkaError.INVALID_RECORD, 'clients may not write control records')
  if (!Number.isFinite(producerId)) return refusal(KafkaError.INVALID_RECORD, 'the producer id is beyond 2^53')
  if (producerId >= 0 && baseSequence < 0) {
    return refusal(KafkaError.INVALID_RECORD, `producer ${producerId} sent the sequence number ${baseSequence}`)
  }
  if (header.timestampType === 'LogAppendTime') {
    return refusal(KafkaError.INVALID_TIMESTAMP, 'producers may not set the timestamp type LogAppendTime')
  }
  return null
}

/** What a client is told who wants a transaction. */
export const NO_TRANSACTIONS =
  'The embedded broker has no transactions: use Apache Kafka, or a producer without transactional.id.'

function timed(batch: CanonicalBatch, { settings, now, maxDecompressedBytes }: CheckOptions): CanonicalBatch | Refusal {
  // Records that are whole and in order, and as many as there are offsets, leave none out.
  const read = readRecords(batch, maxDecompressedBytes)
  if (read instanceof MillraceError) return invalid(read)
  const isLogAppendTime = settingOf(settings, 'message.timestamp.type') === 'LogAppendTime'
  return isLogAppendTime ? batch.withLogAppendTime(now) : withTrueMaxTimestamp(batch, read)
}

function invalid(error: unknown): Refusal {
  return refused(KafkaError.INVALID_RECORD, error)
}

function corrupt(error: unknown): Refusal {
  return refused(KafkaError.CORRUPT_MESSAGE, error)
}

/** What is wrong with a batch is the client's; anything else that is thrown is a bug of ours. */
function refused(errorCode: number, error: unknown): Refusal {
  if (!isMillraceError(error)) throw error
  return refusal(errorCode, messageOf(error))
}
