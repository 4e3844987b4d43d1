// Batches for the WAL's tests: encoded here, since nothing in the WAL depends on who encoded them, and cut into pieces as a
// socket's buffers cut them.
import { createHash } from 'node:crypto'
import { CanonicalBatch, encodeBatch } from '../../src/kafka/batch.ts'
import type { CapturedBatch } from '../../src/wal/messages.ts'
import type { StreamKey } from '../../src/wal/stream.ts'

export const orders: StreamKey = {
  clusterId: 'test-cluster',
  topic: 'orders',
  topicId: 'AAECAwQFBgcICQoLDA0ODw',
  partition: 0
}

export interface BatchOptions {
  stream?: StreamKey
  /** Bytes of the one value. */
  size?: number
  flags?: number
  /** Another seed, another content. */
  seed?: string
}

/** A batch of one record at `baseOffset`, its bytes still carrying the producer's base offset 0. */
export function captured(baseOffset: number, options: BatchOptions = {}): CapturedBatch {
  const { stream = orders, size = 100, flags = 0, seed = '' } = options
  const value = content(`${seed}/${stream.partition}/${baseOffset}`, size)
  const wire = encodeBatch([{ offset: 0, timestamp: 1_764_000_000_000, key: null, value, headers: [] }]).toWire()
  const chunks = [wire.subarray(0, 5), wire.subarray(5, 70), wire.subarray(70)]
  return { stream, baseOffset, lastOffset: baseOffset, recordCount: 1, flags, chunks }
}

/** What the WAL should give back for a captured batch: the same bytes with the assigned base offset. */
export function expected({ chunks, baseOffset }: CapturedBatch): Buffer {
  return CanonicalBatch.fromWire(Buffer.concat(chunks)).batch.withBaseOffset(baseOffset).toWire()
}

function content(seed: string, size: number): Buffer {
  const block = createHash('sha512').update(seed).digest()
  return Buffer.alloc(size, block)
}
