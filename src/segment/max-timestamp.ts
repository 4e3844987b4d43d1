// What a broker does to a CreateTime batch whose stated max timestamp is wrong: it puts the true one and a new CRC there.
// Source: LogValidator in apache/kafka; seen with kafkajs when one record has an explicit timestamp and another has not.
import { MillraceError } from '../errors.ts'
import type { CanonicalBatch } from '../kafka/batch.ts'
import type { ReadRecords } from '../kafka/read-records.ts'
import { readRecords } from '../kafka/read-records.ts'

/** The batch as the broker's log has it; the same object where nothing is wrong, or cannot be told. `read` are its own records. */
export function withTrueMaxTimestamp(
  batch: CanonicalBatch,
  read: ReadRecords | MillraceError = readRecords(batch)
): CanonicalBatch {
  if (read instanceof MillraceError) return batch
  const { timestampType, isControl, maxTimestamp, baseOffset, lastOffset } = batch.header
  // A batch that compaction has thinned out keeps the max timestamp of all that was in it.
  const isWhole = read.count === lastOffset - baseOffset + 1
  if (timestampType !== 'CreateTime' || isControl || !isWhole) return batch
  const max = Math.max(-1, read.maxTimestamp)
  return max === maxTimestamp ? batch : batch.withMaxTimestamp(max)
}
