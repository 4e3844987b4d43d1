// The rows of a WAL file: what is known of each of its frames. A scan looks at frames whole, for a start and for `verify`, or
// only at their heads, for readers beside a writer.
import { crc32c } from '@node-rs/crc32'
import { MillraceError, messageOf } from '../errors.ts'
import { BATCH_HEADER_BYTES } from '../kafka/batch.ts'
import { BATCH_CRC_START, FRAME_HEADER_BYTES, frameSize, WalRecord } from './frame.ts'
import type { HeadReader } from './frame-head.ts'
import { HEAD_BYTES } from './frame-head.ts'
import type { TakeMemory } from './reused-memory.ts'
import type { StreamKey } from './stream.ts'
import type { FramePlace, WalFile } from './wal-file.ts'

/** What is known of a frame without reading it. */
export interface WalEntry {
  readonly file: number
  /** Counts from 1 through the file. */
  readonly id: number
  /** Where in the file the frame begins. */
  readonly position: number
  readonly baseOffset: number
  readonly lastOffset: number
  /** The batch's own CRC-32C. */
  readonly crc: number
  /** Of a capture, the epoch that was known before the batch was sent; of a fetched batch, that of the broker's log. */
  readonly leaderEpoch: number
  readonly flags: number
  /** Bytes of the batch. */
  readonly bytes: number
  readonly appendedMs: number
}

/** The outcome for one frame; without an entry, for bytes of which nothing can be said. */
export interface FrameCheck {
  readonly file: number
  readonly key?: StreamKey
  readonly entry?: WalEntry
  readonly error?: MillraceError
  /** The damage is in the batch itself: what the head before it says still holds. */
  readonly isInBatch?: boolean
}

export interface ScanOptions {
  readonly heads: HeadReader
  /** Where the file's bytes end that count. */
  readonly end: number
  /** True when all bytes up to there are known to have counted: nothing is left of a commit that failed. */
  readonly isSettled: boolean
  /** Check the frames' CRCs. */
  readonly whole: boolean
}

/** How much is read at once where frames are read one after the other. */
const READ_AHEAD_BYTES = 1024 * 1024
/** A batch's length counts from here on. */
const BATCH_LENGTH_END = 12

/** The outcomes for all frames from a point on, by id. Returns the point from which a later scan goes on. */
export function* scanRows(file: WalFile, from: number, options: ScanOptions): Generator<FrameCheck, number> {
  const { end, isSettled } = options
  const scan = file.scan(from, end, isSettled)
  for (;;) {
    const { done, value } = scan.next()
    if (done) return value
    if (value.kind === 'frame') yield checkFrame(file, value.place, options)
    else if (value.kind === 'damage' || isSettled) {
      const what = `bytes ${value.position} to ${value.end - 1} hold no frame that can be read`
      yield { file: file.file, error: new MillraceError('WAL_CORRUPT', `${file.path}: ${what}`) }
    }
  }
}

function checkFrame(file: WalFile, place: FramePlace, { heads, whole }: ScanOptions): FrameCheck {
  const { id, position, length, appendedMs } = place
  const bytes = whole
    ? file.peek(position, length, READ_AHEAD_BYTES)
    : file.peek(position, Math.min(length, HEAD_BYTES), HEAD_BYTES)
  const where = `${file.path}: frame ${id}, at byte ${position}`
  try {
    const { stream: key, ...head } = heads.read(bytes, length)
    const entry = { file: file.file, id, position, ...head, appendedMs }
    if (!whole || WalRecord.verifyChecksum(bytes)) return { file: file.file, key, entry }
    // Its head may be what is damaged.
    const name = `${key.topic}-${key.partition}, offset ${head.baseOffset}`
    return {
      file: file.file,
      entry,
      key,
      isInBatch: isInBatch(bytes.subarray(length - entry.bytes), entry),
      error: new MillraceError('WAL_CORRUPT', `${where}, fails its CRC; it says it is of ${name}`)
    }
  } catch (cause) {
    return { file: file.file, error: new MillraceError('WAL_CORRUPT', `${where}: ${messageOf(cause)}`, { cause }) }
  }
}

/**
 * Whether the damage of a frame is in its batch, which begins as its head says and fails its own CRC. Where the batch is
 * sound it is in the head, and nobody knows what the frame was.
 */
function isInBatch(batch: Buffer, { baseOffset, crc }: WalEntry): boolean {
  if (batch.length < BATCH_HEADER_BYTES || batch.readBigInt64BE(0) !== BigInt(baseOffset)) return false
  return batch.readInt32BE(8) === batch.length - BATCH_LENGTH_END && crc32c(batch.subarray(BATCH_CRC_START)) !== crc
}

/** What is known of a frame that is known to be there; reads its head. Throws WAL_CORRUPT. */
export function readEntry(
  file: WalFile,
  { id, position, appendedMs }: Pick<WalEntry, 'id' | 'position' | 'appendedMs'>,
  heads: HeadReader
): WalEntry {
  const length = frameSize(file.peek(position, FRAME_HEADER_BYTES, HEAD_BYTES))
  const { stream, ...head } = heads.read(file.peek(position, Math.min(length, HEAD_BYTES), HEAD_BYTES), length)
  return { file: file.file, id, position, ...head, appendedMs }
}

/** Reads the frame of an entry into memory and checks it. Throws WAL_CORRUPT that names file and frame. */
export function readFrame(file: WalFile, entry: WalEntry, memory?: TakeMemory): WalRecord {
  const where = `${file.path}: frame ${entry.id}, at byte ${entry.position}`
  const record = WalRecord.decode(file.frameAt(entry.position, memory), where)
  const offset = record.version === 2 ? record.baseOffset : record.offset
  const isOurs =
    offset === entry.baseOffset &&
    record.flags === entry.flags &&
    (record.version === 1 || (record.lastOffset === entry.lastOffset && record.batch.length === entry.bytes))
  if (isOurs) return record
  const { topic, partition } = record.stream
  throw new MillraceError('WAL_CORRUPT', `${where} is another one, of ${topic}-${partition} at offset ${offset}`)
}
