// The canonical record batch (format version 2): its wire bytes are the truth, its 61-byte header is parsed, its records
// are decoded only when asked for. Layout: https://kafka.apache.org/documentation/#recordbatch
import { crc32c } from '@node-rs/crc32'
import { MillraceError, messageOf } from '../errors.ts'
import type { CodecName } from './compression.ts'
import { Codec, codecName, compress, decompress } from './compression.ts'
import { readInt64, writeInt64 } from './cursor.ts'
import type { KafkaRecord } from './records.ts'
import { encodeRecords, RecordReader } from './records.ts'

/** Bytes of a batch before its records. */
export const BATCH_HEADER_BYTES = 61
/** Base offset and length, which `batchLength` does not count. */
const LOG_OVERHEAD = 12
/** The CRC covers everything from the attributes to the end. */
const CRC_START = 21

/** Where the fields of a batch lie that may be patched or are read alone. */
const at = {
  baseOffset: 0,
  batchLength: 8,
  partitionLeaderEpoch: 12,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  recordCount: 57
} as const

const attribute = { codec: 0x07, logAppendTime: 0x08, transactional: 0x10, control: 0x20, deleteHorizon: 0x40 } as const

export interface BatchHeader {
  readonly baseOffset: number
  /** The bytes after this field, as stored; see `sizeInBytes`. */
  readonly batchLength: number
  /** The last offset that the batch covers, whether or not a record is still there. */
  readonly lastOffset: number
  readonly lastOffsetDelta: number
  /** Of the whole batch. */
  readonly sizeInBytes: number
  readonly partitionLeaderEpoch: number
  readonly magic: 2
  /** CRC-32C as stored, unsigned. */
  readonly crc: number
  /** All bits as stored; the five fields that follow are read from them. */
  readonly attributes: number
  readonly codec: CodecName
  readonly timestampType: 'CreateTime' | 'LogAppendTime'
  readonly isTransactional: boolean
  readonly isControl: boolean
  readonly hasDeleteHorizon: boolean
  /** Infinite beyond ±2^53, like the two that follow: a client may write anything there. */
  readonly baseTimestamp: number
  readonly maxTimestamp: number
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly recordCount: number
}

/**
 * The size of the batch at `position`, from its length field.
 * Throws BATCH_CORRUPT when fewer bytes are there or the length is absurd, BATCH_UNSUPPORTED for message formats 0 and 1.
 */
export function batchSize(data: Buffer, position = 0): number {
  const left = data.length - position
  // Messages of the older formats have their magic at the same place, and can be shorter than a batch's header.
  const magic = data[position + at.magic]
  if (magic === 0 || magic === 1) {
    throw new MillraceError('BATCH_UNSUPPORTED', `message format ${magic} is not supported`, {
      hint: 'Kafka 4 takes only record batches (format 2): use a client of Kafka 0.11 or newer.'
    })
  }
  if (magic === undefined || left < BATCH_HEADER_BYTES) {
    throw new MillraceError('BATCH_CORRUPT', `a batch needs 61 bytes or more (got ${left})`)
  }
  if (magic !== 2) throw new MillraceError('BATCH_CORRUPT', `unknown batch magic ${magic}`)
  const size = data.readInt32BE(position + at.batchLength) + LOG_OVERHEAD
  if (size < BATCH_HEADER_BYTES || size > left) {
    throw new MillraceError('BATCH_CORRUPT', `a batch says it has ${size} bytes, ${left} are there`)
  }
  return size
}

/** Parses the header of the batch at `position`. Throws as `batchSize` does. */
export function parseBatchHeader(data: Buffer, position = 0): BatchHeader {
  const sizeInBytes = batchSize(data, position)
  const attributes = data.readInt16BE(position + at.attributes)
  const baseOffset = offset(data, position + at.baseOffset)
  const lastOffsetDelta = data.readInt32BE(position + at.lastOffsetDelta)
  const recordCount = data.readInt32BE(position + at.recordCount)
  if (lastOffsetDelta < 0 || recordCount < 0) {
    throw new MillraceError(
      'BATCH_CORRUPT',
      `a batch has ${recordCount} records and last offset delta ${lastOffsetDelta}`
    )
  }
  return {
    baseOffset,
    batchLength: sizeInBytes - LOG_OVERHEAD,
    lastOffset: baseOffset + lastOffsetDelta,
    lastOffsetDelta,
    sizeInBytes,
    partitionLeaderEpoch: data.readInt32BE(position + at.partitionLeaderEpoch),
    magic: 2,
    crc: data.readUInt32BE(position + at.crc),
    attributes,
    codec: codecName(attributes & attribute.codec),
    timestampType: attributes & attribute.logAppendTime ? 'LogAppendTime' : 'CreateTime',
    isTransactional: (attributes & attribute.transactional) !== 0,
    isControl: (attributes & attribute.control) !== 0,
    hasDeleteHorizon: (attributes & attribute.deleteHorizon) !== 0,
    baseTimestamp: clientInt64(data, position + at.baseTimestamp),
    maxTimestamp: clientInt64(data, position + at.maxTimestamp),
    producerId: clientInt64(data, position + at.producerId),
    producerEpoch: data.readInt16BE(position + at.producerEpoch),
    baseSequence: data.readInt32BE(position + at.baseSequence),
    recordCount
  }
}

/** What does not fit a number is no offset that a broker gives. */
function offset(data: Buffer, position: number): number {
  try {
    return readInt64(data, position)
  } catch (cause) {
    throw new MillraceError('BATCH_CORRUPT', `a field of the batch header: ${messageOf(cause)}`, { cause })
  }
}

/** A number that clients write and brokers store unseen, such as a base timestamp. Infinite where no number is exact. */
function clientInt64(data: Buffer, position: number): number {
  const value = data.readInt32BE(position) * 2 ** 32 + data.readUInt32BE(position + 4)
  return Number.isSafeInteger(value) ? value : value * Number.POSITIVE_INFINITY
}

export interface ProducerIdentity {
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
}

/** One immutable batch. The `with…` methods give changed copies; only those that touch the CRC'd part recompute it. */
export class CanonicalBatch {
  readonly header: BatchHeader
  readonly #wire: Buffer

  private constructor(wire: Buffer, header: BatchHeader) {
    this.#wire = wire
    this.header = header
  }

  /**
   * Takes the batch at the start of `bytes` (a view, not a copy) and checks its CRC.
   * Throws BATCH_CORRUPT or BATCH_UNSUPPORTED.
   */
  static fromWire(bytes: Buffer): { batch: CanonicalBatch; bytesConsumed: number } {
    const wire = bytes.subarray(0, batchSize(bytes))
    const stored = wire.readUInt32BE(at.crc)
    const actual = crc32c(wire.subarray(CRC_START))
    if (actual !== stored) {
      throw new MillraceError(
        'BATCH_CORRUPT',
        `CRC mismatch in the batch at offset ${wire.readBigInt64BE(at.baseOffset)}: stored ${hex(stored)}, computed ${hex(actual)}`
      )
    }
    return { batch: new CanonicalBatch(wire, parseBatchHeader(wire)), bytesConsumed: wire.length }
  }

  /** The batch's bytes, exactly as they came. Do not write to them. */
  toWire(): Buffer {
    return this.#wire
  }

  /**
   * The records, in order, each decoded when it is asked for; compressed ones are decompressed at once.
   * Throws BATCH_CORRUPT, there and at each record, and BATCH_TOO_LARGE for more than `limit` decompressed bytes.
   * For batches that come from clients see `readRecords`.
   */
  records(limit?: number): RecordReader {
    const { codec, recordCount, baseOffset, lastOffset, baseTimestamp, maxTimestamp, timestampType } = this.header
    const body = this.#wire.subarray(BATCH_HEADER_BYTES)
    // A batch that compaction has emptied has no body, whatever its codec.
    const data = body.length === 0 ? body : decompress(codec, body, limit)
    const appendTime = timestampType === 'LogAppendTime' ? maxTimestamp : undefined
    return new RecordReader(data, recordCount, { baseOffset, lastOffset, baseTimestamp, appendTime })
  }

  withBaseOffset(baseOffset: number): CanonicalBatch {
    return this.#patched(wire => writeInt64(wire, baseOffset, at.baseOffset))
  }

  withLeaderEpoch(epoch: number): CanonicalBatch {
    return this.#patched(wire => wire.writeInt32BE(epoch, at.partitionLeaderEpoch))
  }

  /** As Kafka's LogValidator does when the stated max timestamp is not the true one. */
  withMaxTimestamp(maxTimestamp: number): CanonicalBatch {
    return this.#patched(wire => {
      writeInt64(wire, maxTimestamp, at.maxTimestamp)
      sign(wire)
    })
  }

  /** As the log of a LogAppendTime topic has it: all records get one time (DefaultRecordBatch.setMaxTimestamp in apache/kafka). */
  withLogAppendTime(time: number): CanonicalBatch {
    return this.#patched(wire => {
      wire.writeInt16BE(wire.readInt16BE(at.attributes) | attribute.logAppendTime, at.attributes)
      writeInt64(wire, time, at.maxTimestamp)
      sign(wire)
    })
  }

  /** The batch under another producer, outside any transaction. */
  withProducer({ producerId, producerEpoch, baseSequence }: ProducerIdentity): CanonicalBatch {
    return this.#patched(wire => {
      wire.writeInt16BE(wire.readInt16BE(at.attributes) & ~attribute.transactional, at.attributes)
      writeInt64(wire, producerId, at.producerId)
      wire.writeInt16BE(producerEpoch, at.producerEpoch)
      wire.writeInt32BE(baseSequence, at.baseSequence)
      sign(wire)
    })
  }

  #patched(patch: (wire: Buffer) => void): CanonicalBatch {
    const wire = Buffer.from(this.#wire)
    patch(wire)
    return new CanonicalBatch(wire, parseBatchHeader(wire))
  }
}

function sign(wire: Buffer): void {
  wire.writeUInt32BE(crc32c(wire.subarray(CRC_START)), at.crc)
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, '0')
}

/** Writes the assigned base offset into a raw batch, in place: it lies outside the CRC. */
export function assignBaseOffset(wire: Buffer, position: number, baseOffset: number): void {
  writeInt64(wire, baseOffset, position + at.baseOffset)
}

/** Writes the leader epoch into a raw batch, in place: it lies outside the CRC. */
export function assignLeaderEpoch(wire: Buffer, position: number, epoch: number): void {
  wire.writeInt32BE(epoch, position + at.partitionLeaderEpoch)
}

/**
 * Yields the batches of a stretch of Kafka log, each checked. A last, incomplete batch (as Fetch may return) ends it. What is
 * of the formats 0 and 1 is left out, and told of by its last offset; without `skipped` it throws BATCH_UNSUPPORTED.
 */
export function* batchesOf(log: Buffer, skipped?: (lastOffset: number) => void): Generator<CanonicalBatch> {
  for (let position = 0; position + LOG_OVERHEAD <= log.length; ) {
    const size = log.readInt32BE(position + at.batchLength) + LOG_OVERHEAD
    if (size > log.length - position) return
    // A message that holds compressed ones has the offset of the last of them (Kafka's documentation, "Old Message Format").
    if (skipped !== undefined && size > at.magic && log[position + at.magic]! < 2) {
      skipped(offset(log, position + at.baseOffset))
      position += size
      continue
    }
    const { batch, bytesConsumed } = CanonicalBatch.fromWire(log.subarray(position))
    yield batch
    position += bytesConsumed
  }
}

export interface EncodeOptions extends Partial<ProducerIdentity> {
  readonly codec?: CodecName
  readonly partitionLeaderEpoch?: number
}

/**
 * Makes a batch of records with ascending offsets. The same input gives the same bytes.
 * Throws BATCH_CORRUPT for no records: such a batch exists only after compaction.
 */
export function encodeBatch(records: readonly KafkaRecord[], options: EncodeOptions = {}): CanonicalBatch {
  const [first] = records
  if (first === undefined) throw new MillraceError('BATCH_CORRUPT', 'a batch needs one record or more')
  const codec = options.codec ?? 'none'
  const base = { baseOffset: first.offset, baseTimestamp: first.timestamp }
  const body = compress(codec, encodeRecords(records, base))
  const wire = Buffer.alloc(BATCH_HEADER_BYTES + body.length)
  wire.set(body, BATCH_HEADER_BYTES)
  writeInt64(wire, base.baseOffset, at.baseOffset)
  wire.writeInt32BE(wire.length - LOG_OVERHEAD, at.batchLength)
  wire.writeInt32BE(options.partitionLeaderEpoch ?? -1, at.partitionLeaderEpoch)
  wire[at.magic] = 2
  wire.writeInt16BE(Codec[codec], at.attributes)
  wire.writeInt32BE(records.at(-1)!.offset - base.baseOffset, at.lastOffsetDelta)
  writeInt64(wire, base.baseTimestamp, at.baseTimestamp)
  writeInt64(
    wire,
    records.reduce((max, { timestamp }) => Math.max(max, timestamp), -1),
    at.maxTimestamp
  )
  writeInt64(wire, options.producerId ?? -1, at.producerId)
  wire.writeInt16BE(options.producerEpoch ?? -1, at.producerEpoch)
  wire.writeInt32BE(options.baseSequence ?? -1, at.baseSequence)
  wire.writeInt32BE(records.length, at.recordCount)
  sign(wire)
  return CanonicalBatch.fromWire(wire).batch
}

/** What a control batch says of its transaction; null for control types that Millrace does not need. */
export function transactionMarker(batch: CanonicalBatch): 'abort' | 'commit' | null {
  for (const { key } of batch.records()) {
    if (key !== null && key.length >= 4) {
      const type = key.readInt16BE(2)
      return type === 0 ? 'abort' : type === 1 ? 'commit' : null
    }
  }
  return null
}
