// Walks the records of a produced batch without making anything of them: a broker must know that they are whole, that their
// offsets ascend by one, and which timestamp is the highest. Layout: https://kafka.apache.org/documentation/#record
import { MillraceError } from '../../errors.ts'
import type { CanonicalBatch } from '../../kafka/batch.ts'
import { BATCH_HEADER_BYTES } from '../../kafka/batch.ts'
import { decompress } from '../../kafka/compression.ts'

/**
 * The highest timestamp of the batch's records. Throws BATCH_CORRUPT for records that are not whole or not in order,
 * BATCH_TOO_LARGE for those that grow too large when they are decompressed.
 */
export function highestTimestamp(batch: CanonicalBatch): number {
  const { codec, recordCount, baseTimestamp } = batch.header
  const walk = new RecordWalk(decompress(codec, batch.toWire().subarray(BATCH_HEADER_BYTES)))
  let max = Number.NEGATIVE_INFINITY
  for (let i = 0; i < recordCount; i++) max = Math.max(max, walk.timestampDelta(i))
  walk.finish(recordCount)
  const highest = baseTimestamp + max
  if (!Number.isSafeInteger(highest))
    throw new MillraceError('BATCH_CORRUPT', 'a timestamp of a record is out of range')
  return highest
}

class RecordWalk {
  readonly #data: Buffer
  #position = 0

  constructor(data: Buffer) {
    this.#data = data
  }

  /** Passes over the next record, whose offset delta must be `index`. */
  timestampDelta(index: number): number {
    const length = this.#varint()
    const end = this.#position + length
    if (length < 0 || end > this.#data.length) throw malformed(index, 'it leaves its batch')
    this.#position += 1 // attributes: unused in this format version
    const timestampDelta = this.#varint()
    const offsetDelta = this.#varint()
    if (offsetDelta !== index) throw malformed(index, `its offset delta is ${offsetDelta}`)
    this.#skipBytes(end, index) // key
    this.#skipBytes(end, index) // value
    const headers = this.#varint()
    if (headers < 0) throw malformed(index, `it has ${headers} headers`)
    for (let i = 0; i < headers; i++) {
      if (this.#skipBytes(end, index) < 0) throw malformed(index, 'a header has no key')
      this.#skipBytes(end, index)
    }
    if (this.#position !== end) throw malformed(index, `it ends ${end - this.#position} bytes from where it says`)
    return timestampDelta
  }

  finish(count: number): void {
    const left = this.#data.length - this.#position
    if (left > 0) throw new MillraceError('BATCH_CORRUPT', `${left} bytes are left over after ${count} records`)
  }

  /** Passes over a field of bytes and gives its length, negative for null. */
  #skipBytes(end: number, index: number): number {
    const length = this.#varint()
    if (length > 0) this.#position += length
    if (this.#position > end) throw malformed(index, 'a field leaves it')
    return length
  }

  /** A zigzag varint; exact within ±2^53. What lies beyond the end reads as 0, and the position tells it afterwards. */
  #varint(): number {
    let low = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#data[this.#position++] ?? 0
      low |= (byte & 0x7f) << shift
      if (byte < 0x80) return (low >>> 1) ^ -(low & 1)
    }
    let value = low
    for (let scale = 2 ** 28; scale <= 2 ** 63; scale *= 128) {
      const byte = this.#data[this.#position++] ?? 0
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2
    }
    throw new MillraceError('BATCH_CORRUPT', `malformed varint before ${this.#position}`)
  }
}

function malformed(index: number, what: string): MillraceError {
  return new MillraceError('BATCH_CORRUPT', `record ${index} of the batch is malformed: ${what}`)
}
