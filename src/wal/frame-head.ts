// What a frame's first bytes say of it, for those who look at many frames and read few.
import { MillraceError, messageOf } from '../errors.ts'
import { Cursor } from '../kafka/cursor.ts'
import { int64 } from '../kafka/wire.ts'
import {
  at,
  BATCH_CRC_AT,
  BATCH_EPOCH_AT,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  frameSize,
  plain,
  rangeType,
  streamType
} from './frame.ts'
import type { StreamKey } from './stream.ts'

export interface FrameHead {
  readonly stream: StreamKey
  readonly flags: number
  readonly baseOffset: number
  readonly lastOffset: number
  /** The batch's own CRC-32C; that of the frame for a single record. */
  readonly crc: number
  /** As the batch says, -1 for a single record. */
  readonly leaderEpoch: number
  /** Bytes of the batch or the single record. */
  readonly bytes: number
}

/** As many bytes of a frame as its head takes, for cluster ids of up to 600 bytes; Kafka's have 22. */
export const HEAD_BYTES = 1024

/** Reads frame heads; equal streams come out as the same object, which is what makes it quick. */
export class HeadReader {
  readonly #streams = new Map<string, StreamKey>()

  /**
   * The head of a frame of `length` bytes, from its first `HEAD_BYTES`, or as many as it has. Its CRC is not looked at.
   * Throws WAL_CORRUPT for what cannot be the head of such a frame.
   */
  read(start: Buffer, length: number): FrameHead {
    const version = start[at.version]
    const known = version === 1 || version === 2
    if (start.readUInt16BE(at.magic) !== FRAME_MAGIC || frameSize(start) !== length || !known) {
      throw new MillraceError('WAL_CORRUPT', `no frame of ${length} bytes begins there`)
    }
    try {
      const cursor = new Cursor(start, FRAME_HEADER_BYTES)
      const stream = this.#stream(cursor)
      const flags = start[at.flags]!
      if (version === 1) {
        const offset = int64.read(cursor, plain)
        const crc = start.readUInt32BE(at.crc)
        const bytes = length - cursor.position
        return { stream, flags, baseOffset: offset, lastOffset: offset, crc, leaderEpoch: -1, bytes }
      }
      const { baseOffset, lastOffset } = rangeType.read(cursor, plain)
      const bytes = length - cursor.position
      const crc = start.readUInt32BE(cursor.position + BATCH_CRC_AT)
      const leaderEpoch = start.readInt32BE(cursor.position + BATCH_EPOCH_AT)
      return { stream, flags, baseOffset, lastOffset, crc, leaderEpoch, bytes }
    } catch (cause) {
      throw new MillraceError('WAL_CORRUPT', `a frame of ${length} bytes is no frame: ${messageOf(cause)}`, { cause })
    }
  }

  #stream(cursor: Cursor): StreamKey {
    const start = cursor.position
    for (let strings = 0; strings < 2; strings++) cursor.advance(cursor.buffer.readUInt16BE(cursor.advance(2)))
    cursor.advance(20)
    const id = cursor.buffer.toString('latin1', start, cursor.position)
    let stream = this.#streams.get(id)
    if (stream === undefined) this.#streams.set(id, (stream = streamType.read(new Cursor(cursor.buffer, start), plain)))
    return stream
  }
}
