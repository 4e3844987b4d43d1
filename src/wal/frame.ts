// The WAL record: a self-checking frame around one canonical batch (V2) or one single record (V1).
// The layout is written down byte by byte in docs/formats.md, "WAL frame"; any change of it is a new version.
import { crc32c } from '@node-rs/crc32'
import { MillraceError, messageOf } from '../errors.ts'
import { assignBaseOffset, BATCH_HEADER_BYTES, CanonicalBatch } from '../kafka/batch.ts'
import { Cursor, Sink, writeInt64 } from '../kafka/cursor.ts'
import type { Header, KafkaRecord } from '../kafka/records.ts'
import { array, bytes, int32, int64, string, struct, uuid } from '../kafka/wire.ts'
import type { CapturedBatch } from './messages.ts'
import type { StreamKey } from './stream.ts'

export const FRAME_MAGIC = 0xca7e
export const FRAME_HEADER_BYTES = 12

/** Bits of a frame's flags byte. */
export const FrameFlag = {
  /** The bytes are the broker's own log, read by Fetch. */
  FETCHED: 0x01,
  /** The broker's log may have other bytes there: its answer was an error that comes after appending (7, 20), or a repeat's. */
  PROVISIONAL: 0x02
} as const

const at = { magic: 0, version: 2, flags: 3, length: 4, crc: 8 } as const
/** Base offset, last offset and record count: what stands between a V2 frame's stream and its batch. */
const RANGE_BYTES = 20
/** Where in a batch its CRC stands. */
const BATCH_CRC_AT = 17

const plain = { version: 0, flexible: false }
const streamFields = { clusterId: string, topic: string, topicId: uuid, partition: int32 }
const streamType = struct(streamFields)
const rangeType = struct({ baseOffset: int64, lastOffset: int64, recordCount: int32 })
const singleType = struct({
  offset: int64,
  timestamp: int64,
  key: bytes.nullable,
  value: bytes.nullable,
  headers: array(struct({ key: bytes, value: bytes.nullable }))
})

/** A single record from a source that has no batches. */
export interface SingleRecord extends KafkaRecord {
  readonly version: 1
  readonly flags: number
  readonly stream: StreamKey
}

/** A record batch with the offsets that the broker gave it. */
export interface BatchRecord {
  readonly version: 2
  readonly flags: number
  readonly stream: StreamKey
  readonly baseOffset: number
  readonly lastOffset: number
  readonly recordCount: number
  /** The batch's bytes, base offset included; a view into the frame. */
  readonly batch: Buffer
}

export type WalRecord = SingleRecord | BatchRecord

/** What can be done with a record and its frame. Appends lay their frames out in place instead: `layBatchFrame`. */
export const WalRecord = { encode, decode, verifyChecksum, toCanonical } as const

/** The part of a frame's body that all frames of a stream share. */
export function streamPrefix(stream: StreamKey): Buffer {
  if (Buffer.from(stream.topicId, 'base64url').length !== 16) {
    throw new TypeError(`a topic id has 16 bytes in base64url (got ${JSON.stringify(stream.topicId)})`)
  }
  const sink = new Sink()
  streamType.write(sink, stream, plain)
  return sink.finish()
}

/** The size of the V2 frame for a batch. Throws BATCH_CORRUPT for fewer bytes than a batch header has. */
export function batchFrameBytes(prefix: Buffer, batch: CapturedBatch): number {
  let size = 0
  for (const chunk of batch.chunks) size += chunk.length
  if (size < BATCH_HEADER_BYTES) {
    throw new MillraceError('BATCH_CORRUPT', `a batch needs ${BATCH_HEADER_BYTES} bytes or more (got ${size})`)
  }
  return FRAME_HEADER_BYTES + prefix.length + RANGE_BYTES + size
}

/**
 * Builds a V2 frame of `size` bytes in `target` at `start`, with the batch's base offset patched in and the CRC still
 * zero (`sealFrame`). Returns where the batch begins.
 */
export function layBatchFrame(
  target: Buffer,
  start: number,
  size: number,
  prefix: Buffer,
  batch: CapturedBatch
): number {
  writeHeader(target, start, { version: 2, flags: batch.flags, size })
  target.set(prefix, start + FRAME_HEADER_BYTES)
  const range = start + FRAME_HEADER_BYTES + prefix.length
  writeInt64(target, batch.baseOffset, range)
  writeInt64(target, batch.lastOffset, range + 8)
  target.writeInt32BE(batch.recordCount, range + 16)
  let position = range + RANGE_BYTES
  for (const chunk of batch.chunks) {
    target.set(chunk, position)
    position += chunk.length
  }
  assignBaseOffset(target, range + RANGE_BYTES, batch.baseOffset)
  return range + RANGE_BYTES
}

/** The frame of a record, sealed. The same record always gives the same bytes. Throws BATCH_CORRUPT as `batchFrameBytes`. */
function encode(record: WalRecord): Buffer {
  return record.version === 1 ? encodeSingle(record) : encodeBatchRecord(record)
}

function encodeSingle({ headers, ...record }: SingleRecord): Buffer {
  const sink = new Sink()
  sink.append(Buffer.alloc(FRAME_HEADER_BYTES))
  sink.append(streamPrefix(record.stream))
  const named = headers.map(([key, value]) => ({ key: Buffer.from(key, 'utf8'), value }))
  singleType.write(sink, { ...record, headers: named }, plain)
  const frame = sink.finish()
  writeHeader(frame, 0, { version: 1, flags: record.flags, size: frame.length })
  sealFrame(frame)
  return frame
}

function encodeBatchRecord({ batch, ...record }: BatchRecord): Buffer {
  const captured = { ...record, chunks: [batch] }
  const prefix = streamPrefix(record.stream)
  const frame = Buffer.alloc(batchFrameBytes(prefix, captured))
  layBatchFrame(frame, 0, frame.length, prefix, captured)
  sealFrame(frame)
  return frame
}

function writeHeader(target: Buffer, start: number, header: { version: number; flags: number; size: number }): void {
  target.writeUInt16BE(FRAME_MAGIC, start + at.magic)
  target[start + at.version] = header.version
  target[start + at.flags] = header.flags
  target.writeUInt32BE(header.size - FRAME_HEADER_BYTES, start + at.length)
}

/** Fills in a frame's CRC over its final bytes. */
export function sealFrame(frame: Buffer): void {
  frame.writeUInt32BE(frameCrc(frame), at.crc)
}

/** The header's first eight bytes are covered too: a flipped flag would otherwise pass for the broker's word. */
function frameCrc(frame: Buffer): number {
  return crc32c(frame.subarray(FRAME_HEADER_BYTES), crc32c(frame.subarray(0, at.crc)))
}

/** Whether a frame's CRC fits its bytes; false for fewer bytes than a frame's header. */
function verifyChecksum(bytes: Uint8Array): boolean {
  const frame = view(bytes)
  return frame.length >= FRAME_HEADER_BYTES && frame.readUInt32BE(at.crc) === frameCrc(frame)
}

/**
 * Decodes a frame of either version and checks its CRC. Buffers in the result are views.
 * Throws WAL_CORRUPT that says what is wrong; `where` names the place, as in "wal/3.db row 17".
 */
function decode(bytes: Uint8Array, where = 'WAL frame'): WalRecord {
  const frame = view(bytes)
  const corrupt = (what: string, cause?: unknown) => new MillraceError('WAL_CORRUPT', `${where}: ${what}`, { cause })
  if (frame.length < FRAME_HEADER_BYTES) throw corrupt(`a frame needs 12 bytes or more (got ${frame.length})`)
  const magic = frame.readUInt16BE(at.magic)
  if (magic !== FRAME_MAGIC) throw corrupt(`magic is 0x${magic.toString(16)}, not 0xca7e`)
  const length = frame.readUInt32BE(at.length)
  if (length !== frame.length - FRAME_HEADER_BYTES) {
    throw corrupt(`the frame says it has ${length} bytes of body, ${frame.length - FRAME_HEADER_BYTES} are there`)
  }
  if (!verifyChecksum(frame)) {
    throw corrupt(`CRC mismatch: stored ${hex(frame.readUInt32BE(at.crc))}, computed ${hex(frameCrc(frame))}`)
  }
  try {
    const version = frame[at.version]!
    if (version === 1) return decodeSingle(frame)
    if (version === 2) return decodeBatch(frame)
    throw new MillraceError('WAL_CORRUPT', `frame version ${version} is not known to this Millrace`)
  } catch (cause) {
    throw corrupt(messageOf(cause), cause)
  }
}

function decodeSingle(frame: Buffer): SingleRecord {
  const cursor = new Cursor(frame, FRAME_HEADER_BYTES)
  const stream = streamType.read(cursor, plain)
  const { headers, ...record } = singleType.read(cursor, plain)
  if (cursor.remaining > 0) throw new MillraceError('WAL_CORRUPT', `${cursor.remaining} bytes are left over`)
  return {
    version: 1,
    flags: frame[at.flags]!,
    stream,
    ...record,
    headers: headers.map(({ key, value }): Header => [key.toString('utf8'), value])
  }
}

function decodeBatch(frame: Buffer): BatchRecord {
  const cursor = new Cursor(frame, FRAME_HEADER_BYTES)
  const stream = streamType.read(cursor, plain)
  const range = rangeType.read(cursor, plain)
  return { version: 2, flags: frame[at.flags]!, stream, ...range, batch: cursor.take(cursor.remaining) }
}

/** What a frame's first bytes say of it. */
export interface FrameHead {
  readonly stream: StreamKey
  readonly flags: number
  readonly baseOffset: number
  readonly lastOffset: number
  /** The batch's own CRC-32C; that of the frame for a single record. */
  readonly crc: number
  /** Bytes of the batch or the single record. */
  readonly bytes: number
}

/** As many bytes of a frame as its head takes, for cluster ids of up to 600 bytes; Kafka's have 22. */
export const HEAD_BYTES = 1024

/** The size of the frame that begins so, from its header. */
export function frameSize(header: Buffer): number {
  return FRAME_HEADER_BYTES + header.readUInt32BE(at.length)
}

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
        return { stream, flags, baseOffset: offset, lastOffset: offset, crc, bytes: length - cursor.position }
      }
      const { baseOffset, lastOffset } = rangeType.read(cursor, plain)
      const bytes = length - cursor.position
      return { stream, flags, baseOffset, lastOffset, crc: start.readUInt32BE(cursor.position + BATCH_CRC_AT), bytes }
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

/** The batch of a V2 record, its own CRC checked (a view); null for a single record. Throws BATCH_CORRUPT or BATCH_UNSUPPORTED. */
function toCanonical(record: BatchRecord): CanonicalBatch
function toCanonical(record: WalRecord): CanonicalBatch | null
function toCanonical(record: WalRecord): CanonicalBatch | null {
  if (record.version === 1) return null
  const { batch, bytesConsumed } = CanonicalBatch.fromWire(record.batch)
  const left = record.batch.length - bytesConsumed
  if (left > 0) throw new MillraceError('BATCH_CORRUPT', `${left} bytes follow the batch at ${record.baseOffset}`)
  return batch
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, '0')
}
