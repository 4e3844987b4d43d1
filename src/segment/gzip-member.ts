// One gzip member of a segment file: a header that is always the same, a deflate stream, and the CRC-32 and the length of
// what is in it (RFC 1952). Nothing else is taken for one, so that no bit of a segment can change without being noticed.
import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib'

/** Deflate, no name, no time, fastest level, operating system unknown: the same bytes on every machine. */
const HEADER = Buffer.from([0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0x04, 0xff])
const TRAILER_BYTES = 8

/** Bytes of a member beside its deflate stream. */
export const MEMBER_OVERHEAD = HEADER.length + TRAILER_BYTES

/** Deflate cannot do better: https://zlib.net/zlib_tech.html */
export const MAX_RATIO = 1032

/**
 * Level 1: the log is most often compressed by the producers already, and for what is not (JSON, search.db) higher levels
 * cost several times the time for a tenth less size.
 */
const LEVEL = 1

export function compressMember(contents: Buffer): Buffer {
  const trailer = Buffer.alloc(TRAILER_BYTES)
  trailer.writeUInt32LE(crc32(contents), 0)
  trailer.writeUInt32LE(contents.length, 4)
  return Buffer.concat([HEADER, deflateRawSync(contents, { level: LEVEL }), trailer])
}

/** What the member at the start of `data` holds, and its length. Undefined where it is cut off; throws RangeError where it is damaged. */
export function leadingMember(data: Buffer, maxContents: number): { contents: Buffer; bytes: number } | undefined {
  if (data.length < MEMBER_OVERHEAD) return undefined
  if (!data.subarray(0, HEADER.length).equals(HEADER)) throw new RangeError('it has another header')
  const inflated = inflate(data.subarray(HEADER.length), maxContents)
  if (inflated === undefined) return undefined
  const { contents, taken } = inflated
  const trailer = data.subarray(HEADER.length + taken, HEADER.length + taken + TRAILER_BYTES)
  if (trailer.length < TRAILER_BYTES) return undefined
  if (trailer.readUInt32LE(0) !== crc32(contents)) throw new RangeError('its CRC-32 is wrong')
  if (trailer.readUInt32LE(4) !== contents.length) throw new RangeError('its length is wrong')
  return { contents, bytes: MEMBER_OVERHEAD + taken }
}

function inflate(data: Buffer, maxOutputLength: number): { contents: Buffer; taken: number } | undefined {
  try {
    // The types do not know what `info` does: https://nodejs.org/api/zlib.html#class-options
    const { buffer, engine } = inflateRawSync(data, { maxOutputLength, info: true }) as unknown as {
      buffer: Buffer
      engine: { bytesWritten: number }
    }
    return { contents: buffer, taken: engine.bytesWritten }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'Z_BUF_ERROR') return undefined
    throw new RangeError('it cannot be inflated', { cause })
  }
}
