// The table of contents of a segment file: an empty gzip member whose FEXTRA field (RFC 1952, 2.3.1.1) with the id "MR"
// says where each file of the tar and each gzip member lies.
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { crc32c } from '@node-rs/crc32'
import { z } from 'zod'
import { MillraceError, messageOf } from '../errors.ts'
import { MAX_RATIO, MEMBER_OVERHEAD } from './gzip-member.ts'
import { TAR_BLOCK, TAR_END, tarPadding } from './tar-format.ts'

export interface TocMember {
  readonly name: string
  /** Where its bytes begin in the tar. */
  readonly offset: number
  readonly size: number
}

export interface TocChunk {
  /** Bytes of the gzip member. */
  readonly compressed: number
  /** Bytes of the tar in it. */
  readonly size: number
}

export interface Toc {
  readonly members: readonly TocMember[]
  readonly chunks: readonly TocChunk[]
}

const TOC_VERSION = 1
/** Fixed gzip header with FEXTRA set, then the length of the extra field. */
const HEADER = Buffer.from([0x1f, 0x8b, 0x08, 0x04, 0, 0, 0, 0, 0, 0xff])
/** An empty deflate stream, its CRC-32 and its length. */
const EMPTY_BODY = Buffer.from([0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0])
const SUBFIELD = Buffer.from('MR')
const TABLE_START = HEADER.length + 2 + SUBFIELD.length + 2
const MAX_EXTRA = 0xffff
/** After the table: its CRC-32C and the length of the whole member, both little-endian as all of gzip's numbers. */
const CHECK_BYTES = 8
const FIXED_BYTES = TABLE_START + CHECK_BYTES + EMPTY_BODY.length

/** One read of this many bytes from the end of a segment has the whole table. */
export const MAX_TOC_BYTES = HEADER.length + 2 + MAX_EXTRA + EMPTY_BODY.length

/** Bounds for what a reader believes; a table written by Millrace stays far below them. */
const MAX_TABLE_BYTES = 4 * 1024 * 1024
const MAX_CHUNK_BYTES = 16 * 1024 * 1024

const size = z.number().int().min(0)
const tocSchema = z.strictObject({
  version: z.literal(TOC_VERSION),
  members: z.array(z.tuple([z.string().regex(/^\w[\w.-]*$/), size, size])),
  chunks: z.array(z.tuple([size, size.min(1).max(MAX_CHUNK_BYTES)]))
})

/** The last member of a segment file. Throws RangeError for a table that does not fit, beyond some ten thousand chunks. */
export function encodeToc({ members, chunks }: Toc): Buffer {
  const json = JSON.stringify({
    version: TOC_VERSION,
    members: members.map(({ name, offset, size }) => [name, offset, size]),
    chunks: chunks.map(({ compressed, size }) => [compressed, size])
  })
  const table = deflateRawSync(json, { level: 9 })
  const subfield = table.length + CHECK_BYTES
  const extra = SUBFIELD.length + 2 + subfield
  if (extra > MAX_EXTRA) throw new RangeError(`a table of ${chunks.length} chunks does not fit a gzip header`)
  const lengths = Buffer.alloc(4)
  lengths.writeUInt16LE(extra, 0)
  lengths.writeUInt16LE(subfield, 2)
  const check = Buffer.alloc(CHECK_BYTES)
  check.writeUInt32LE(crc32c(table), 0)
  check.writeUInt32LE(FIXED_BYTES + table.length, 4)
  return Buffer.concat([HEADER, lengths.subarray(0, 2), SUBFIELD, lengths.subarray(2), table, check, EMPTY_BODY])
}

/**
 * Reads the table from the end of a segment file of `fileSize` bytes. What it gives has been checked: the chunks fill the
 * file, the files fill the tar, each file begins a chunk. Throws SEGMENT_CORRUPT naming the segment.
 */
export function decodeToc(tail: Buffer, fileSize: number, segment: string): Toc {
  try {
    const member = lastMember(tail)
    const toc = parseTable(member.subarray(TABLE_START, member.length - CHECK_BYTES - EMPTY_BODY.length))
    checkLayout(toc, fileSize - member.length)
    return toc
  } catch (cause) {
    throw new MillraceError('SEGMENT_CORRUPT', `${segment}: ${messageOf(cause)}`, {
      cause,
      hint: 'It is cut off or damaged, or it is not a segment of Millrace.'
    })
  }
}

/** The bytes of the table's gzip member, all but the table's contents checked. */
function lastMember(tail: Buffer): Buffer {
  if (tail.length < FIXED_BYTES) throw new RangeError(`${tail.length} bytes are too short for a segment`)
  const checkAt = tail.length - EMPTY_BODY.length - CHECK_BYTES
  const length = tail.readUInt32LE(checkAt + 4)
  const member = tail.subarray(Math.max(0, tail.length - length))
  const isTable =
    length >= FIXED_BYTES &&
    length === member.length &&
    member.subarray(0, HEADER.length).equals(HEADER) &&
    member.readUInt16LE(HEADER.length) === length - HEADER.length - 2 - EMPTY_BODY.length &&
    member.subarray(HEADER.length + 2, HEADER.length + 4).equals(SUBFIELD) &&
    member.readUInt16LE(TABLE_START - 2) === length - TABLE_START - EMPTY_BODY.length &&
    member.subarray(-EMPTY_BODY.length).equals(EMPTY_BODY)
  if (!isTable) throw new RangeError('there is no table of contents at its end')
  const table = member.subarray(TABLE_START, length - CHECK_BYTES - EMPTY_BODY.length)
  if (crc32c(table) !== tail.readUInt32LE(checkAt)) throw new RangeError('CRC mismatch in its table of contents')
  return member
}

function parseTable(table: Buffer): Toc {
  const json = inflateRawSync(table, { maxOutputLength: MAX_TABLE_BYTES }).toString('utf8')
  const value = JSON.parse(json) as { version?: unknown } | null
  if (value?.version !== TOC_VERSION) {
    const version = JSON.stringify(value?.version)
    throw new RangeError(`its table of contents has version ${version}; this Millrace reads ${TOC_VERSION}`)
  }
  const parsed = tocSchema.safeParse(value)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new RangeError(`its table of contents: ${issue!.path.join('.')}: ${issue!.message}`)
  }
  return {
    members: parsed.data.members.map(([name, offset, size]) => ({ name, offset, size })),
    chunks: parsed.data.chunks.map(([compressed, size]) => ({ compressed, size }))
  }
}

function checkLayout({ members, chunks }: Toc, bytes: number): void {
  let fileEnd = 0
  let tarEnd = 0
  const starts = new Set<number>()
  for (const { compressed, size } of chunks) {
    if (compressed <= MEMBER_OVERHEAD || size > (compressed - MEMBER_OVERHEAD) * MAX_RATIO) {
      throw new RangeError(`its table of contents has ${size} bytes in a gzip member of ${compressed}`)
    }
    starts.add(tarEnd)
    fileEnd += compressed
    tarEnd += size
  }
  if (fileEnd !== bytes) throw new RangeError(`its table of contents is for ${fileEnd} bytes of chunks, not ${bytes}`)
  let end = 0
  const names = new Set<string>()
  for (const { name, offset, size } of members) {
    if (!starts.has(end) || offset !== end + TAR_BLOCK || names.has(name)) {
      throw new RangeError(`its table of contents has ${name} where it cannot be`)
    }
    names.add(name)
    end = offset + size + tarPadding(size).length
  }
  if (!starts.has(end) || end + TAR_END.length !== tarEnd) {
    throw new RangeError(`its table of contents has files up to byte ${end} of a tar of ${tarEnd}`)
  }
}
