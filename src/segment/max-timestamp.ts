// What a broker does to a CreateTime batch whose stated max timestamp is wrong: it puts the true one and a new CRC there.
// Source: LogValidator in apache/kafka; seen with kafkajs when one record has an explicit timestamp and another has not.
import type { CanonicalBatch } from '../kafka/batch.ts'
import type { KafkaRecord } from '../kafka/records.ts'

/** The batch as the broker's log has it; the same object where nothing is wrong. `records` are its own, decoded. */
export function withTrueMaxTimestamp(
  batch: CanonicalBatch,
  records: readonly KafkaRecord[] = [...batch.records()]
): CanonicalBatch {
  const { timestampType, isControl, maxTimestamp } = batch.header
  if (timestampType !== 'CreateTime' || isControl || records.length === 0) return batch
  let max = -1
  for (const { timestamp } of records) if (timestamp > max) max = timestamp
  return max === maxTimestamp ? batch : batch.withMaxTimestamp(max)
}
