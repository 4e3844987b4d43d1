// What a WAL file is made of, byte by byte: a header, then groups, each a mark and the frames of one commit behind it.
// Written down in docs/formats.md, "WAL folder"; any change of it is a new version.
import { crc32c } from '@node-rs/crc32'
import { MillraceError } from '../errors.ts'
import { readInt64, writeInt64 } from '../kafka/cursor.ts'

/** Any change of the file header, or of the marks, is a new number. */
const FILE_VERSION = 1
const FILE_MAGIC = Buffer.from('MRWL')
/** Before the frames of a commit, and the same once more behind them. */
const MARK_MAGIC = Buffer.from('MRGR')
const END_MAGIC = Buffer.from('MREN')

export const FILE_HEADER_BYTES = 44
/** As much of a mark as tells its size, and that it is one of this file. */
export const MARK_START_BYTES = 32
/** A mark without its table of lengths. */
const EMPTY_MARK_BYTES = 48

export interface FileHeader {
  readonly file: number
  /** The file that took appends before this one, 0 for none, and how many bytes of it count. */
  readonly previous: number
  readonly previousBytes: number
  /** Random: whoever writes records cannot guess it, so no record holds what passes for a mark of this file. */
  readonly salt: bigint
}

/** What stands before the frames of one commit: all of them count, or none. */
export interface Mark {
  readonly file: number
  readonly salt: bigint
  /** Where in the file the mark begins. */
  readonly position: number
  /** The id of the first frame; ids count from 1 through the file. */
  readonly firstId: number
  readonly appendedMs: number
  /** The frames' lengths in bytes. */
  readonly lengths: readonly number[]
}

export function encodeFileHeader({ file, previous, previousBytes, salt }: FileHeader): Buffer {
  const bytes = Buffer.alloc(FILE_HEADER_BYTES)
  FILE_MAGIC.copy(bytes)
  bytes.writeUInt32BE(FILE_VERSION, 4)
  writeInt64(bytes, file, 8)
  writeInt64(bytes, previous, 16)
  writeInt64(bytes, previousBytes, 24)
  bytes.writeBigUInt64BE(salt, 32)
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, 40)), 40)
  return bytes
}

/**
 * The header of the file `file`, or the WAL_CORRUPT that says what is wrong with it, beginning with `path`. Throws it for
 * a sound header of another version.
 */
export function decodeFileHeader(bytes: Buffer, file: number, path: string): FileHeader | MillraceError {
  const corrupt = (what: string, hint?: string) => new MillraceError('WAL_CORRUPT', `${path}: ${what}`, { hint })
  if (bytes.length < FILE_HEADER_BYTES)
    return corrupt(`a WAL file has ${FILE_HEADER_BYTES} bytes or more (got ${bytes.length})`)
  if (!bytes.subarray(0, 4).equals(FILE_MAGIC)) return corrupt('it does not begin as a WAL file does')
  if (bytes.readUInt32BE(40) !== crc32c(bytes.subarray(0, 40))) return corrupt('its header fails its CRC')
  const version = bytes.readUInt32BE(4)
  if (version !== FILE_VERSION) {
    const hint = 'Start the Millrace that wrote it, or move the file away.'
    throw corrupt(`it has version ${version}, and this Millrace reads ${FILE_VERSION}`, hint)
  }
  const header = {
    file: readInt64(bytes, 8),
    previous: readInt64(bytes, 16),
    previousBytes: readInt64(bytes, 24),
    salt: bytes.readBigUInt64BE(32)
  }
  return header.file === file ? header : corrupt(`it is file ${header.file} under another name`)
}

/** The mark before a group's frames, or `atEnd` the one behind them. */
export function encodeMark({ file, salt, position, firstId, appendedMs, lengths }: Mark, atEnd = false): Buffer {
  const bytes = Buffer.alloc(markBytes(lengths.length))
  bytes.set(atEnd ? END_MAGIC : MARK_MAGIC)
  bytes.writeUInt32BE(lengths.length, 4)
  writeInt64(bytes, file, 8)
  writeInt64(bytes, position, 16)
  bytes.writeBigUInt64BE(salt, 24)
  bytes.writeUInt32BE(firstId, 32)
  writeInt64(bytes, appendedMs, 36)
  lengths.forEach((length, i) => void bytes.writeUInt32BE(length, 44 + 4 * i))
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, -4)), bytes.length - 4)
  return bytes
}

export function markBytes(frames: number): number {
  return EMPTY_MARK_BYTES + 4 * frames
}

/**
 * What the first `MARK_START_BYTES` of a mark of `file` say: its size, whether it stands behind its group, and where that
 * begins. Undefined for anything else, and where a salt is known, for another one.
 */
export function decodeMarkStart(bytes: Buffer, file: number, salt: bigint | undefined) {
  const atEnd = bytes.subarray(0, 4).equals(END_MAGIC)
  if (!atEnd && !bytes.subarray(0, 4).equals(MARK_MAGIC)) return undefined
  if (bytes.readBigInt64BE(8) !== BigInt(file)) return undefined
  if (salt !== undefined && bytes.readBigUInt64BE(24) !== salt) return undefined
  return { atEnd, size: markBytes(bytes.readUInt32BE(4)), position: Number(bytes.readBigInt64BE(16)) }
}

/** Decodes a mark from as many bytes as it has; undefined when it fails its CRC. */
export function decodeMark(bytes: Buffer): Mark | undefined {
  const count = bytes.readUInt32BE(4)
  if (bytes.readUInt32BE(bytes.length - 4) !== crc32c(bytes.subarray(0, -4))) return undefined
  return {
    file: readInt64(bytes, 8),
    position: readInt64(bytes, 16),
    salt: bytes.readBigUInt64BE(24),
    firstId: bytes.readUInt32BE(32),
    appendedMs: readInt64(bytes, 36),
    lengths: Array.from({ length: count }, (_, i) => bytes.readUInt32BE(44 + 4 * i))
  }
}
