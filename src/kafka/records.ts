// The records inside a batch: decoded lazily and in one pass, encoded deterministically.
// Layout: https://kafka.apache.org/documentation/#record
import { MillraceError } from '../errors.ts'
import { Sink } from './cursor.ts'

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
  /** The batch's own, which no record is beyond. */
  readonly lastOffset: number
  readonly baseTimestamp: number
  /** The one timestamp of all records of a LogAppendTime batch. */
  readonly appendTime?: number | undefined
}

/** What records without headers share. */
const NO_HEADERS: readonly Header[] = Object.freeze([])

/**
 * Yields exactly `count` records of a batch from its uncompressed bytes, each decoded when it is asked for; buffers are views.
 * `next` throws BATCH_CORRUPT when a record leaves its bounds or does not fill them, its offset does not ascend, its timestamp
 * is beyond ±2^53, where numbers are not exact, or bytes are left over at the end. Nothing is allocated by a length or count
 * that the bytes state. It is no generator because that takes about a third more time a record (npm run bench -- batch).
 */
export class RecordReader implements IterableIterator<KafkaRecord, undefined> {
  readonly #data: Buffer
  readonly #count: number
  readonly #base: RecordBase
  #position = 0
  #index = 0
  #nextOffset: number

  constructor(data: Buffer, count: number, base: RecordBase) {
    this.#data = data
    this.#count = count
    this.#base = base
    this.#nextOffset = base.baseOffset
  }

  [Symbol.iterator](): this {
    return this
  }

  /** Another reader of the same records, from the first on. */
  again(): RecordReader {
    return new RecordReader(this.#data, this.#count, this.#base)
  }

  next(): IteratorResult<KafkaRecord, undefined> {
    if (this.#index < this.#count) return { done: false, value: this.#record() }
    const left = this.#data.length - this.#position
    if (left > 0) {
      throw new MillraceError('BATCH_CORRUPT', `${left} bytes are left over after ${this.#count} records`)
    }
    return { done: true, value: undefined }
  }

  #record(): KafkaRecord {
    const length = this.#varint()
    const end = this.#position + length
    if (length < 0 || end > this.#data.length) throw this.#malformed(`it says it has ${length} bytes`)
    this.#position += 1 // attributes: unused in this format version
    const delta = this.#varint()
    const timestamp = this.#base.appendTime ?? this.#base.baseTimestamp + delta
    if (!Number.isSafeInteger(timestamp)) throw this.#malformed('its timestamp is beyond 2^53')
    const offset = this.#base.baseOffset + this.#varint()
    if (offset < this.#nextOffset || offset > this.#base.lastOffset) throw this.#malformed(`its offset is ${offset}`)
    const key = this.#bytes(end)
    const value = this.#bytes(end)
    const headers = this.#headers(end)
    if (this.#position !== end) throw this.#malformed(`it ends ${end - this.#position} bytes from where it says`)
    this.#index++
    this.#nextOffset = offset + 1
    return { offset, timestamp, key, value, headers }
  }

  #headers(end: number): readonly Header[] {
    const count = this.#varint()
    if (count === 0) return NO_HEADERS
    if (count < 0) throw this.#malformed(`it has ${count} headers`)
    const headers: Header[] = []
    for (let i = 0; i < count; i++) {
      const name = this.#bytes(end)
      if (name === null) throw this.#malformed('a header has no key')
      headers.push([name.toString('utf8'), this.#bytes(end)])
    }
    return headers
  }

  #bytes(end: number): Buffer | null {
    const length = this.#varint()
    if (length < 0) return null
    const start = this.#position
    if (length > end - start) throw this.#malformed(`a field of ${length} bytes leaves it`)
    this.#position = start + length
    return this.#data.subarray(start, this.#position)
  }

  /** A zigzag varint, which has up to 64 bits; only what is exact as a number is taken. */
  #varint(): number {
    let low = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#data[this.#position++]
      if (byte === undefined) throw this.#malformed('its batch ends within it')
      low |= (byte & 0x7f) << shift
      if (byte < 0x80) return (low >>> 1) ^ -(low & 1)
    }
    return this.#longVarint(low)
  }

  /** The rest of a varint of more than four bytes: beyond what JavaScript's bit operations hold. */
  #longVarint(low: number): number {
    let value = low
    for (let scale = 2 ** 28; scale <= 2 ** 63; scale *= 128) {
      const byte = this.#data[this.#position++]
      if (byte === undefined) throw this.#malformed('its batch ends within it')
      value += (byte & 0x7f) * scale
      if (byte >= 0x80) continue
      // The lowest bit is the sign, so it has to be exact too.
      if (!Number.isSafeInteger(value)) throw this.#malformed('a varint is beyond 2^53')
      return value % 2 === 0 ? value / 2 : -(value + 1) / 2
    }
    throw this.#malformed('a varint has more than ten bytes')
  }

  #malformed(what: string): MillraceError {
    return new MillraceError('BATCH_CORRUPT', `record ${this.#index} of the batch is malformed: ${what}`)
  }
}

/** Encodes records relative to a base. The same records always give the same bytes. */
export function encodeRecords(
  records: readonly KafkaRecord[],
  base: Pick<RecordBase, 'baseOffset' | 'baseTimestamp'>
): Buffer {
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
