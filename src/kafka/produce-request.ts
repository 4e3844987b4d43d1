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

/** Reads forward over a row of buffers as if they were one. */
class ChunkCursor {
  readonly #chunks: readonly Buffer[]
  #index = 0
  #at = 0

  constructor(chunks: readonly Buffer[]) {
    this.#chunks = chunks
  }

  /** The next `length` bytes as they lie: one view, or several where they cross a buffer's end. */
  slices(length: number): Buffer[] {
    const slices: Buffer[] = []
    while (length > 0) {
      const chunk = this.#chunks[this.#index]
      if (chunk === undefined) throw new MillraceError('WIRE_CORRUPT', 'a Produce request is shorter than it says')
      const slice = chunk.subarray(this.#at, this.#at + length)
      if (slice.length > 0) slices.push(slice)
      length -= slice.length
      this.#at += slice.length
      if (this.#at === chunk.length) {
        this.#index++
        this.#at = 0
      }
    }
    return slices
  }

  bytes(length: number): Buffer {
    const slices = this.slices(length)
    return slices.length === 1 ? slices[0]! : Buffer.concat(slices)
  }

  uvarint(): number {
    for (let value = 0, shift = 0; shift < 35; shift += 7) {
      const byte = this.bytes(1)[0]!
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new MillraceError('WIRE_CORRUPT', 'malformed varint in a Produce request')
  }

  int16(): number {
    return this.bytes(2).readInt16BE(0)
  }

  int32(): number {
    return this.bytes(4).readInt32BE(0)
  }

  /** A length: compact (one more than it is) or plain; negative for null. */
  length(compact: boolean, plain: () => number): number {
    return compact ? this.uvarint() - 1 : plain()
  }

  string(compact: boolean): string | null {
    const length = this.length(compact, () => this.int16())
    return length < 0 ? null : this.bytes(length).toString('utf8')
  }

  skipTags(compact: boolean): void {
    if (!compact) return
    for (let count = this.uvarint(); count > 0; count--) {
      this.uvarint()
      this.slices(this.uvarint())
    }
  }
}

/** Reads a whole request frame (size field included) given as it arrived. Throws WIRE_CORRUPT. */
export function scanProduceRequest(frame: readonly Buffer[], version: number): ProduceRequest {
  const compact = version >= produce.flexible
  const cursor = new ChunkCursor(frame)
  cursor.slices(12) // size, key, version, correlation id
  cursor.string(false) // the client id stays a plain string in every header version
  cursor.skipTags(compact)
  cursor.string(compact) // transactional id
  const acks = cursor.int16()
  const timeoutMs = cursor.int32()
  const partitions: ProduceRequest['partitions'][number][] = []

  for (let topics = cursor.length(compact, () => cursor.int32()); topics > 0; topics--) {
    const topic = version < 13 ? cursor.string(compact) : null
    const topicId = version < 13 ? null : cursor.bytes(16).toString('base64url')
    for (let count = cursor.length(compact, () => cursor.int32()); count > 0; count--) {
      const partition = cursor.int32()
      const chunks = cursor.slices(
        Math.max(
          0,
          cursor.length(compact, () => cursor.int32())
        )
      )
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
  const head = new ChunkCursor(chunks).bytes(BATCH_HEADER_BYTES)
  if (head[16] !== 2 || head.readInt32BE(8) + 12 !== size) return null
  return { ...at, chunks, lastOffsetDelta: head.readInt32BE(23), recordCount: head.readInt32BE(57) }
}
