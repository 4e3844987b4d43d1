// What a broker does to a CreateTime batch whose stated max timestamp is wrong: it puts the true one and a new CRC there.
// Source: LogValidator in apache/kafka; seen with kafkajs when one record has an explicit timestamp and another has not.
import type { CanonicalBatch } from '../kafka/batch.ts'
import type { KafkaRecord } from '../kafka/records.ts'

/** The batch as the broker's log has it; the same object where nothing is wrong. `records` are its own, decoded. */
export function withTrueMaxTimestamp(
  batch: CanonicalBatch,
  records: readonly KafkaRecord[] = [...batch.records()]
): CanonicalBatch {
  const { timestampType, isControl, maxTimestamp, baseOffset, lastOffset } = batch.header
  // A batch that compaction has thinned out keeps the max timestamp of all that was in it.
  const isWhole = records.length === lastOffset - baseOffset + 1
  if (timestampType !== 'CreateTime' || isControl || !isWhole) return batch
  let max = -1
  for (const { timestamp } of records) if (timestamp > max) max = timestamp
  return max === maxTimestamp ? batch : batch.withMaxTimestamp(max)
}
