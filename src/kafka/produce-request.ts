// Reads a Produce request down to its batch headers, over the socket's own buffers: nothing is copied, no record is looked at.
import { MillraceError } from '../errors.ts'
import { BATCH_HEADER_BYTES } from './batch.ts'
import { produce } from './messages.ts'

/** One partition's batch within a Produce request. */
export interface ProducedBatch {
  /** The topic's name, in versions up to 12. */
  readonly topic: string | null
  /** The topic's id, from version 13 on. */
  readonly topicId: string | null
  readonly partition: number
  /** The batch's bytes, in the pieces in which they arrived. */
  readonly chunks: readonly Buffer[]
  readonly lastOffsetDelta: number
  readonly recordCount: number
}

export interface ProduceRequest {
  readonly acks: number
  readonly timeoutMs: number
  /** Partitions in request order; the batch is null where the bytes are not exactly one batch of format 2. */
  readonly partitions: readonly {
    topic: string | null
    topicId: string | null
    partition: number
    batch: ProducedBatch | null
  }[]
}

/** Reads forward over a row of buffers as if they were one. It allocates little, for it reads each request. */
class ChunkCursor {
  readonly #chunks: readonly Buffer[]
  #index = 0
  #at = 0

  constructor(chunks: readonly Buffer[]) {
    this.#chunks = chunks
  }

  /** The buffer that the next byte lies in. */
  #chunk(): Buffer {
    for (let chunk = this.#chunks[this.#index]; chunk !== undefined; chunk = this.#chunks[++this.#index]) {
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

  string(compact: boolean): string | null {
    const length = this.length(compact, 2)
    return length < 0 ? null : this.bytes(length).toString('utf8')
  }

  skipString(compact: boolean): void {
    this.skip(this.length(compact, 2))
  }

  skipTags(compact: boolean): void {
    if (!compact) return
    for (let count = this.uvarint(); count > 0; count--) {
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
  const partitions: ProduceRequest['partitions'][number][] = []

  for (let topics = cursor.length(compact, 4); topics > 0; topics--) {
    const topic = version < 13 ? cursor.string(compact) : null
    const topicId = version < 13 ? null : cursor.bytes(16).toString('base64url')
    for (let count = cursor.length(compact, 4); count > 0; count--) {
      const partition = cursor.int32()
      const chunks = cursor.slices(cursor.length(compact, 4)) // none where there are no records
      cursor.skipTags(compact)
      partitions.push({ topic, topicId, partition, batch: singleBatch({ topic, topicId, partition }, chunks) })
    }
    cursor.skipTags(compact)
  }
  return { acks, timeoutMs, partitions }
}

function singleBatch(
  at: { topic: string | null; topicId: string | null; partition: number },
  chunks: Buffer[]
): ProducedBatch | null {
  const size = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  if (size < BATCH_HEADER_BYTES) return null
  const [first] = chunks as [Buffer]
  const head = first.length < BATCH_HEADER_BYTES ? new ChunkCursor(chunks).bytes(BATCH_HEADER_BYTES) : first
  if (head[16] !== 2 || head.readInt32BE(8) + 12 !== size) return null
  return { ...at, chunks, lastOffsetDelta: head.readInt32BE(23), recordCount: head.readInt32BE(57) }
}
