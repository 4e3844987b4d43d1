// The table of contents of a segment file: an empty gzip member whose FEXTRA field (RFC 1952, 2.3.1.1) with the id "MR"
// says where each file of the tar and each gzip member lies.
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { z } from 'zod'
import { MillraceError } from '../errors.ts'

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
const MAX_EXTRA = 0xffff
/** The last field of the extra field: the length of the whole member, little-endian. */
const LENGTH_BYTES = 4
const FIXED_BYTES = HEADER.length + 2 + SUBFIELD.length + 2 + LENGTH_BYTES + EMPTY_BODY.length

/** One read of this many bytes from the end of a segment has the whole table. */
export const MAX_TOC_BYTES = HEADER.length + 2 + MAX_EXTRA + EMPTY_BODY.length

/** A gzip member's tar bytes are never more; a table that says otherwise is not believed. */
const MAX_CHUNK_BYTES = 16 * 1024 * 1024

const size = z.number().int().min(0)
const tocSchema = z.strictObject({
  version: z.literal(TOC_VERSION),
  members: z.array(z.tuple([z.string().regex(/^[\w.-]+$/), size, size])),
  chunks: z.array(z.tuple([size, size.max(MAX_CHUNK_BYTES)]))
})

/** The last member of a segment file. Throws RangeError for a table that does not fit, beyond some ten thousand chunks. */
export function encodeToc({ members, chunks }: Toc): Buffer {
  const json = JSON.stringify({
    version: TOC_VERSION,
    members: members.map(({ name, offset, size }) => [name, offset, size]),
    chunks: chunks.map(({ compressed, size }) => [compressed, size])
  })
  const table = deflateRawSync(json, { level: 9 })
  const total = FIXED_BYTES + table.length
  const subfield = table.length + LENGTH_BYTES
  const extra = SUBFIELD.length + 2 + subfield
  if (extra > MAX_EXTRA) throw new RangeError(`a table of ${chunks.length} chunks does not fit a gzip header`)
  const numbers = Buffer.alloc(2 + 2 + LENGTH_BYTES)
  numbers.writeUInt16LE(extra, 0)
  numbers.writeUInt16LE(subfield, 2)
  numbers.writeUInt32LE(total, 4)
  return Buffer.concat([
    HEADER,
    numbers.subarray(0, 2),
    SUBFIELD,
    numbers.subarray(2, 4),
    table,
    numbers.subarray(4),
    EMPTY_BODY
  ])
}

/** Reads the table from the end of a segment file. Throws SEGMENT_CORRUPT naming the segment. */
export function decodeToc(tail: Buffer, segment: string): Toc {
  const corrupt = (reason: string, cause?: unknown): MillraceError =>
    new MillraceError('SEGMENT_CORRUPT', `${segment}: ${reason}`, {
      cause,
      hint: 'It is cut off or damaged, or it is not a segment of Millrace.'
    })
  const lengthAt = tail.length - EMPTY_BODY.length - LENGTH_BYTES
  if (lengthAt < 0) throw corrupt('too short to be a segment')
  const total = tail.readUInt32LE(lengthAt)
  const member = tail.subarray(tail.length - total)
  const tableAt = HEADER.length + 2 + SUBFIELD.length + 2
  if (
    total < FIXED_BYTES ||
    total > tail.length ||
    !member.subarray(0, HEADER.length).equals(HEADER) ||
    !member.subarray(HEADER.length + 2, HEADER.length + 4).equals(SUBFIELD)
  ) {
    throw corrupt('has no table of contents at its end')
  }
  try {
    const json = inflateRawSync(member.subarray(tableAt, total - EMPTY_BODY.length - LENGTH_BYTES), {
      maxOutputLength: MAX_CHUNK_BYTES
    })
    const { members, chunks } = tocSchema.parse(JSON.parse(json.toString('utf8')))
    return {
      members: members.map(([name, offset, size]) => ({ name, offset, size })),
      chunks: chunks.map(([compressed, size]) => ({ compressed, size }))
    }
  } catch (cause) {
    throw corrupt('its table of contents cannot be read', cause)
  }
}
