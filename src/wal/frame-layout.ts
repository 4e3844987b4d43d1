// Lays out all frames of one append in one region of memory, for the WAL thread to read: the one copy that a batch goes through.
import { isMillraceError, MillraceError } from '../errors.ts'
import { batchFrameBytes, layBatchFrame, sealBatchFrame, streamPrefix } from './frame.ts'
import type { FrameMemory, Region } from './frame-memory.ts'
import type { CapturedBatch, FrameRef } from './messages.ts'
import type { StreamKey } from './stream.ts'
import { streamId } from './stream.ts'

/** Copies the batches into frames. Throws BATCH_CORRUPT for a batch that is too short, or fails its CRC. */
export function layFrames(
  batches: readonly CapturedBatch[],
  numbers: StreamNumbers,
  memory: FrameMemory
): { region: Region; bytes: number; refs: FrameRef[] } {
  const streams = batches.map(batch => numbers.get(batch.stream))
  const sizes = batches.map((batch, i) => batchFrameBytes(streams[i]!.prefix, batch))
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  const region = memory.take(bytes)
  try {
    let { start } = region
    const refs = batches.map((batch, i): FrameRef => {
      const { number, prefix } = streams[i]!
      const end = start + sizes[i]!
      const { begin, crc } = layFrame(Buffer.from(region.memory, start, sizes[i]!), prefix, batch)
      const { baseOffset, lastOffset, flags } = batch
      const ref = { stream: number, start, batch: start + begin, end, baseOffset, lastOffset, crc, flags }
      start = end
      return ref
    })
    return { region, bytes, refs }
  } catch (error) {
    memory.give(region)
    throw error
  }
}

function layFrame(frame: Buffer, prefix: Buffer, batch: CapturedBatch): { begin: number; crc: number } {
  const begin = layBatchFrame(frame, prefix, batch)
  try {
    return { begin, crc: sealBatchFrame(frame, begin) }
  } catch (error) {
    if (!isMillraceError(error, 'BATCH_CORRUPT')) throw error
    const { topic, partition } = batch.stream
    throw new MillraceError('BATCH_CORRUPT', `${topic}-${partition} at offset ${batch.baseOffset}: ${error.message}`)
  }
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
