// Lays out all frames of one append in one buffer, for the WAL thread to read: the one copy that a batch goes through.
import type { BufferPool } from './buffer-pool.ts'
import { batchFrameBytes, layBatchFrame, streamPrefix } from './frame.ts'
import type { CapturedBatch, FrameRef } from './messages.ts'
import type { StreamKey } from './stream.ts'
import { streamId } from './stream.ts'

/** Copies the batches into frames whose CRCs are still open. Throws BATCH_CORRUPT for a batch that is too short. */
export function layFrames(
  batches: readonly CapturedBatch[],
  numbers: StreamNumbers,
  pool: BufferPool
): { frames: SharedArrayBuffer; bytes: number; refs: FrameRef[] } {
  const streams = batches.map(batch => numbers.get(batch.stream))
  const sizes = batches.map((batch, i) => batchFrameBytes(streams[i]!.prefix, batch))
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  const frames = pool.take(bytes)
  const target = Buffer.from(frames)
  let start = 0
  const refs = batches.map((batch, i): FrameRef => {
    const { number, prefix } = streams[i]!
    const { baseOffset, lastOffset, flags } = batch
    const begin = layBatchFrame(target, start, sizes[i]!, prefix, batch)
    const ref = { stream: number, start, batch: begin, end: start + sizes[i]!, baseOffset, lastOffset, flags }
    start = ref.end
    return ref
  })
  return { frames, bytes, refs }
}

interface StreamNumber {
  readonly number: number
  readonly prefix: Buffer
}

/** The numbers by which streams are named to the thread, and the bytes that their frames begin with. */
export class StreamNumbers {
  readonly keys: StreamKey[] = []
  readonly #known = new Map<string, StreamNumber>()
  #told: number

  constructor(keys: readonly StreamKey[]) {
    for (const key of keys) this.get(key)
    this.#told = keys.length
  }

  get(key: StreamKey): StreamNumber {
    const id = streamId(key)
    let known = this.#known.get(id)
    if (known === undefined) {
      known = { prefix: streamPrefix(key), number: this.keys.length }
      this.keys.push(key)
      this.#known.set(id, known)
    }
    return known
  }

  /** The streams that the thread has not been told of. */
  takeNew(): StreamKey[] {
    const keys = this.keys.slice(this.#told)
    this.#told = this.keys.length
    return keys
  }
}
