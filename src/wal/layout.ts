// What a WAL file is made of, byte by byte: a header, then groups, each a mark and the frames of one commit behind it.
// Written down in docs/formats.md, "WAL folder"; any change of it is a new version.
import { crc32c } from '@node-rs/crc32'
import { MillraceError } from '../errors.ts'
import { readInt64, writeInt64 } from '../kafka/cursor.ts'

/** Any change of the file header, or of the marks, is a new number. */
const FILE_VERSION = 1
const FILE_MAGIC = Buffer.from('MRWL')
export const MARK_MAGIC = Buffer.from('MRGR')

export const FILE_HEADER_BYTES = 36
/** As much of a mark as tells its size. */
export const MARK_START_BYTES = 8
/** A mark without its table of lengths. */
const EMPTY_MARK_BYTES = 40

export interface FileHeader {
  readonly file: number
  /** The file that took appends before this one, 0 for none, and how many bytes of it count. */
  readonly previous: number
  readonly previousBytes: number
}

/** What stands before the frames of one commit: all of them count, or none. */
export interface Mark {
  readonly file: number
  /** Where in the file the mark begins. */
  readonly position: number
  /** The id of the first frame; ids count from 1 through the file. */
  readonly firstId: number
  readonly appendedMs: number
  /** The frames' lengths in bytes. */
  readonly lengths: readonly number[]
}

export function encodeFileHeader({ file, previous, previousBytes }: FileHeader): Buffer {
  const bytes = Buffer.alloc(FILE_HEADER_BYTES)
  FILE_MAGIC.copy(bytes)
  bytes.writeUInt32BE(FILE_VERSION, 4)
  writeInt64(bytes, file, 8)
  writeInt64(bytes, previous, 16)
  writeInt64(bytes, previousBytes, 24)
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, 32)), 32)
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
  if (bytes.readUInt32BE(32) !== crc32c(bytes.subarray(0, 32))) return corrupt('its header fails its CRC')
  const version = bytes.readUInt32BE(4)
  if (version !== FILE_VERSION) {
    const hint = 'Start the Millrace that wrote it, or move the file away.'
    throw corrupt(`it has version ${version}, and this Millrace reads ${FILE_VERSION}`, hint)
  }
  const header = { file: readInt64(bytes, 8), previous: readInt64(bytes, 16), previousBytes: readInt64(bytes, 24) }
  return header.file === file ? header : corrupt(`it is file ${header.file} under another name`)
}

export function encodeMark({ file, position, firstId, appendedMs, lengths }: Mark): Buffer {
  const bytes = Buffer.alloc(markBytes(lengths.length))
  MARK_MAGIC.copy(bytes)
  bytes.writeUInt32BE(lengths.length, 4)
  writeInt64(bytes, file, 8)
  writeInt64(bytes, position, 16)
  bytes.writeUInt32BE(firstId, 24)
  writeInt64(bytes, appendedMs, 28)
  lengths.forEach((length, i) => void bytes.writeUInt32BE(length, 36 + 4 * i))
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, -4)), bytes.length - 4)
  return bytes
}

export function markBytes(frames: number): number {
  return EMPTY_MARK_BYTES + 4 * frames
}

/** How many bytes the mark has that begins so, if one does; from its first `MARK_START_BYTES`. */
export function markSize(start: Buffer): number | undefined {
  return start.subarray(0, 4).equals(MARK_MAGIC) ? markBytes(start.readUInt32BE(4)) : undefined
}

/** Decodes a mark of the file `file` at `position`, from as many bytes as it has; undefined for anything else. */
export function decodeMark(bytes: Buffer, file: number, position: number): Mark | undefined {
  const count = bytes.readUInt32BE(4)
  if (bytes.readUInt32BE(bytes.length - 4) !== crc32c(bytes.subarray(0, -4))) return undefined
  if (readInt64(bytes, 8) !== file || readInt64(bytes, 16) !== position) return undefined
  return {
    file,
    position,
    firstId: bytes.readUInt32BE(24),
    appendedMs: readInt64(bytes, 28),
    lengths: Array.from({ length: count }, (_, i) => bytes.readUInt32BE(36 + 4 * i))
  }
}
