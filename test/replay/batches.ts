// Batches as a broker's log has them and as our encoder does not make them: attribute bits and fields set by hand.
import { crc32c } from '@node-rs/crc32'
import type { EncodeOptions } from '../../src/kafka/batch.ts'
import { CanonicalBatch, encodeBatch } from '../../src/kafka/batch.ts'
import type { KafkaRecord } from '../../src/kafka/records.ts'

export const NOON = 1_764_072_000_000

export function record(offset: number, more: Partial<KafkaRecord> = {}): KafkaRecord {
  return { offset, timestamp: NOON + offset, key: Buffer.from(`k${offset}`), value: null, headers: [], ...more }
}

/** Records with these offsets. */
export function batchOf(offsets: readonly number[], options: EncodeOptions = {}): CanonicalBatch {
  return encodeBatch(
    offsets.map(offset => record(offset)),
    options
  )
}

/** The fields by their place in the batch header: https://kafka.apache.org/documentation/#recordbatch */
export interface RawFields {
  attributes?: number
  lastOffsetDelta?: number
  baseTimestamp?: number
  maxTimestamp?: number
  recordCount?: number
}

export const bits = { logAppendTime: 0x08, transactional: 0x10, control: 0x20, deleteHorizon: 0x40 }

/** The batch with fields set to other values, and its CRC to match; bits are added to the attributes that it has. */
export function withFields(batch: CanonicalBatch, fields: RawFields): CanonicalBatch {
  const wire = Buffer.from(batch.toWire())
  if (fields.attributes !== undefined) wire.writeInt16BE(wire.readInt16BE(21) | fields.attributes, 21)
  if (fields.lastOffsetDelta !== undefined) wire.writeInt32BE(fields.lastOffsetDelta, 23)
  if (fields.baseTimestamp !== undefined) wire.writeBigInt64BE(BigInt(fields.baseTimestamp), 27)
  if (fields.maxTimestamp !== undefined) wire.writeBigInt64BE(BigInt(fields.maxTimestamp), 35)
  if (fields.recordCount !== undefined) wire.writeInt32BE(fields.recordCount, 57)
  wire.writeUInt32BE(crc32c(wire.subarray(21)), 17)
  return CanonicalBatch.fromWire(wire).batch
}
