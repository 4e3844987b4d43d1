// The records inside a batch: decoded lazily and in one pass, encoded deterministically.
// Layout: https://kafka.apache.org/documentation/#record
import { MillraceError } from '../errors.ts'
import { Cursor, Sink } from './cursor.ts'

export type Header = readonly [key: string, value: Buffer | null]

export interface KafkaRecord {
  readonly offset: number
  /** Milliseconds since the epoch; -1 where the producer set none. */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** In order; keys may repeat and values may be null. */
  readonly headers: readonly Header[]
}

/** What a record's deltas are relative to. */
export interface RecordBase {
  readonly baseOffset: number
  readonly baseTimestamp: number
  /** The one timestamp of all records of a LogAppendTime batch. */
  readonly appendTime?: number | undefined
}

/**
 * Yields exactly `count` records from uncompressed bytes; buffers are views into `data`.
 * Throws BATCH_CORRUPT when a record leaves its bounds or bytes are left over.
 */
export function* decodeRecords(data: Buffer, count: number, base: RecordBase): Generator<KafkaRecord> {
  const cursor = new Cursor(data)
  for (let i = 0; i < count; i++) {
    yield corruptWhenShort(() => decodeRecord(cursor, base), i)
  }
  if (cursor.remaining > 0) {
    throw new MillraceError('BATCH_CORRUPT', `${cursor.remaining} bytes are left over after ${count} records`)
  }
}

function corruptWhenShort<T>(read: () => T, index: number): T {
  try {
    return read()
  } catch (cause) {
    throw new MillraceError('BATCH_CORRUPT', `record ${index} of the batch is malformed`, { cause })
  }
}

function decodeRecord(cursor: Cursor, base: RecordBase): KafkaRecord {
  const length = varint(cursor)
  const end = cursor.position + length
  if (length < 0 || end > cursor.buffer.length) {
    throw new MillraceError('BATCH_CORRUPT', `a record of ${length} bytes leaves its batch`)
  }
  cursor.advance(1) // attributes: unused in this format version
  const timestamp = base.baseTimestamp + varint(cursor)
  const offset = base.baseOffset + varint(cursor)
  const key = nullableBytes(cursor)
  const value = nullableBytes(cursor)
  const headerCount = varint(cursor)
  if (headerCount < 0) throw new MillraceError('BATCH_CORRUPT', `a record has ${headerCount} headers`)
  const headers: Header[] = []
  for (let i = 0; i < headerCount; i++) {
    const name = nullableBytes(cursor)
    if (name === null) throw new MillraceError('BATCH_CORRUPT', 'a record header has no key')
    headers.push([name.toString('utf8'), nullableBytes(cursor)])
  }
  if (cursor.position !== end) {
    throw new MillraceError('BATCH_CORRUPT', `a record ends ${end - cursor.position} bytes from where it says`)
  }
  return { offset, timestamp: base.appendTime ?? timestamp, key, value, headers }
}

/** A zigzag varint of up to 64 bits; exact within ±2^53. */
function varint(cursor: Cursor): number {
  let low = 0
  for (let shift = 0; shift < 28; shift += 7) {
    const byte = cursor.buffer[cursor.advance(1)]!
    low |= (byte & 0x7f) << shift
    if (byte < 0x80) return (low >>> 1) ^ -(low & 1)
  }
  let value = low
  for (let scale = 2 ** 28; scale <= 2 ** 63; scale *= 128) {
    const byte = cursor.buffer[cursor.advance(1)]!
    value += (byte & 0x7f) * scale
    if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }
  throw new MillraceError('BATCH_CORRUPT', `malformed varint before ${cursor.position}`)
}

function nullableBytes(cursor: Cursor): Buffer | null {
  const length = varint(cursor)
  return length < 0 ? null : cursor.take(length)
}

/** Encodes records relative to a base. The same records always give the same bytes. */
export function encodeRecords(records: readonly KafkaRecord[], base: RecordBase): Buffer {
  const all = new Sink()
  for (const record of records) {
    const body = new Sink()
    body.append(Buffer.of(0))
    writeVarint(body, record.timestamp - base.baseTimestamp)
    writeVarint(body, record.offset - base.baseOffset)
    writeBytes(body, record.key)
    writeBytes(body, record.value)
    writeVarint(body, record.headers.length)
    for (const [key, value] of record.headers) {
      writeBytes(body, Buffer.from(key, 'utf8'))
      writeBytes(body, value)
    }
    const encoded = body.finish()
    writeVarint(all, encoded.length)
    all.append(encoded)
  }
  return all.finish()
}

function writeVarint(sink: Sink, value: number): void {
  sink.uvarint(value >= 0 ? value * 2 : -value * 2 - 1)
}

function writeBytes(sink: Sink, value: Buffer | null): void {
  writeVarint(sink, value === null ? -1 : value.length)
  if (value !== null) sink.append(value)
}
