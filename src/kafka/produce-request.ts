// Reads a Produce request down to its batch headers, over the socket's own buffers: nothing is copied, no record is looked at.
import { MillraceError } from '../errors.ts'
import { BATCH_HEADER_BYTES } from './batch.ts'
import { produce } from './messages.ts'

/**
 * A request of more topics, partitions and tagged fields than this is none of a real client: no broker leads as many partitions.
 * They may be of a few bytes each, so that a frame has tens of millions. A choice, not a measurement.
 */
const MAX_ITEMS = 100_000

export interface ProduceRequest {
  readonly acks: number
  readonly timeoutMs: number
  /** In request order. */
  readonly batches: readonly ProducedBatch[]
  /** How many partitions have something else than a batch of format 2, which no real client sends. */
  readonly unbatched: number
}

/** Reads forward over a row of buffers as if they were one. It allocates little, for it reads each request. */
class ChunkCursor {
  readonly chunks: readonly Buffer[]
  #index: number
  #at: number
  /** Topics, partitions and tagged fields so far. */
  #items = 0

  constructor(chunks: readonly Buffer[], index = 0, at = 0) {
    this.chunks = chunks
    this.#index = index
    this.#at = at
  }

  /** Where the next byte lies: in which buffer, and where in that. */
  get index(): number {
    return this.#index
  }

  get at(): number {
    return this.#at
  }

  /** A topic, a partition or a tagged field begins. */
  item(): void {
    if (++this.#items <= MAX_ITEMS) return
    const what = `a Produce request has more than ${MAX_ITEMS} topics, partitions and tagged fields`
    throw new MillraceError('WIRE_CORRUPT', what)
  }

  /** The buffer that the next byte lies in. */
  #chunk(): Buffer {
    for (let chunk = this.chunks[this.#index]; chunk !== undefined; chunk = this.chunks[++this.#index]) {
      if (this.#at < chunk.length) return chunk
      this.#at = 0
    }
    throw new MillraceError('WIRE_CORRUPT', 'a Produce request is shorter than it says')
  }

  /** The next `length` bytes as they lie: one view, or several where they cross a buffer's end. */
  slices(length: number): Buffer[] {
    const slices: Buffer[] = []
    while (length > 0) {
      const slice = this.#chunk().subarray(this.#at, this.#at + length)
      slices.push(slice)
      length -= slice.length
      this.#at += slice.length
    }
    return slices
  }

  bytes(length: number): Buffer {
    const slices = this.slices(length)
    return slices.length === 1 ? slices[0]! : Buffer.concat(slices)
  }

  skip(length: number): void {
    while (length > 0) {
      const step = Math.min(length, this.#chunk().length - this.#at)
      length -= step
      this.#at += step
    }
  }

  byte(): number {
    return this.#chunk()[this.#at++]!
  }

  uvarint(): number {
    for (let value = 0, shift = 0; shift < 35; shift += 7) {
      const byte = this.byte()
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new MillraceError('WIRE_CORRUPT', 'malformed varint in a Produce request')
  }

  int16(): number {
    return ((this.byte() << 24) | (this.byte() << 16)) >> 16
  }

  int32(): number {
    return (this.byte() << 24) | (this.byte() << 16) | (this.byte() << 8) | this.byte()
  }

  /** A length: compact (one more than it is), or plain in two or four bytes; negative for null. */
  length(compact: boolean, plainBytes: 2 | 4): number {
    if (compact) return this.uvarint() - 1
    return plainBytes === 2 ? this.int16() : this.int32()
  }

  string(compact: boolean): string {
    const length = this.length(compact, 2)
    if (length < 0) throw new MillraceError('WIRE_CORRUPT', 'a topic without a name in a Produce request')
    return this.bytes(length).toString('utf8')
  }

  skipString(compact: boolean): void {
    this.skip(this.length(compact, 2))
  }

  skipTags(compact: boolean): void {
    if (!compact) return
    for (let count = this.uvarint(); count > 0; count--) {
      this.item()
      this.uvarint()
      this.skip(this.uvarint())
    }
  }
}

/** Reads a whole request frame (size field included) given as it arrived. Throws WIRE_CORRUPT. */
export function scanProduceRequest(frame: readonly Buffer[], version: number): ProduceRequest {
  const compact = version >= produce.flexible
  const cursor = new ChunkCursor(frame)
  cursor.skip(12) // size, key, version, correlation id
  cursor.skipString(false) // the client id stays a plain string in every header version
  cursor.skipTags(compact)
  cursor.skipString(compact) // transactional id
  const acks = cursor.int16()
  const timeoutMs = cursor.int32()
  const batches: ProducedBatch[] = []
  let unbatched = 0

  for (let topics = cursor.length(compact, 4); topics > 0; topics--) {
    cursor.item()
    const topic = version < 13 ? cursor.string(compact) : null
    const topicId = version < 13 ? null : cursor.bytes(16).toString('base64url')
    for (let count = cursor.length(compact, 4); count > 0; count--) {
      cursor.item()
      const partition = cursor.int32()
      const size = Math.max(0, cursor.length(compact, 4)) // null where there are no records
      const batch = size < BATCH_HEADER_BYTES ? null : ProducedBatch.at(cursor, size, { topic, topicId, partition })
      if (batch === null) unbatched++
      else batches.push(batch)
      cursor.skip(size)
      cursor.skipTags(compact)
    }
    cursor.skipTags(compact)
  }
  return { acks, timeoutMs, batches, unbatched }
}

interface ProducedTo {
  /** The topic's name, in versions up to 12. */
  readonly topic: string | null
  /** The topic's id, from version 13 on. */
  readonly topicId: string | null
  readonly partition: number
}

/** One partition's batch within a Produce request. It remembers where it lies, for a request may have a batch in 67 bytes. */
export class ProducedBatch implements ProducedTo {
  readonly topic: string | null
  readonly topicId: string | null
  readonly partition: number
  readonly lastOffsetDelta: number
  readonly recordCount: number
  readonly #frame: readonly Buffer[]
  readonly #index: number
  readonly #at: number
  readonly #size: number

  private constructor(cursor: ChunkCursor, head: Buffer, size: number, { topic, topicId, partition }: ProducedTo) {
    this.topic = topic
    this.topicId = topicId
    this.partition = partition
    this.lastOffsetDelta = head.readInt32BE(23)
    this.recordCount = head.readInt32BE(57)
    this.#frame = cursor.chunks
    this.#index = cursor.index
    this.#at = cursor.at
    this.#size = size
  }

  /**
   * The batch at the beginning of the next `size` bytes, of which there are enough for a header; null where there is none. Brokers
   * take one batch, and cut off what follows it and is none (ProduceRequest.validateRecords, UnifiedLog.trimInvalidBytes).
   */
  static at(cursor: ChunkCursor, size: number, to: ProducedTo): ProducedBatch | null {
    const head = new ChunkCursor(cursor.chunks, cursor.index, cursor.at).bytes(BATCH_HEADER_BYTES)
    const batchSize = head.readInt32BE(8) + 12
    if (head[16] !== 2 || batchSize < BATCH_HEADER_BYTES || batchSize > size) return null
    return new ProducedBatch(cursor, head, batchSize, to)
  }

  /** The batch's bytes, in the pieces in which they arrived. */
  get chunks(): Buffer[] {
    return new ChunkCursor(this.#frame, this.#index, this.#at).slices(this.#size)
  }
}
