// One gzip member of a segment file: a header that is always the same, a deflate stream, and the CRC-32 and the length of
// what is in it (RFC 1952). Nothing else is taken for one, so that no bit of a segment can change without being noticed.
import { promisify } from 'node:util'
import type { ZlibOptions } from 'node:zlib'
import { crc32, deflateRawSync, inflateRaw, inflateRawSync } from 'node:zlib'
import { giveBack } from '../give-back.ts'

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

/**
 * More than deflate ever adds, so that all comes in one buffer (by default it is 16 KiB at a time), and as much as Node has in
 * the pool from which it cuts small ones, so that this buffer is nobody else's.
 */
const DEFLATE_ROOM = 64 * 1024

/** Gives `use` the member, in pieces; their memory is given back when it returns. */
export function compressMember(contents: Buffer, use: (piece: Buffer) => void): void {
  const trailer = Buffer.alloc(TRAILER_BYTES)
  trailer.writeUInt32LE(crc32(contents), 0)
  trailer.writeUInt32LE(contents.length, 4)
  const deflated = deflateRawSync(contents, { level: LEVEL, chunkSize: contents.length + DEFLATE_ROOM })
  for (const piece of [HEADER, deflated, trailer]) use(piece)
  giveBack(deflated)
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

/**
 * What a whole member holds, which must be `size` bytes; inflated off the main thread. Throws RangeError where it is damaged
 * or cut off.
 */
export async function inflateMember(member: Buffer, size: number): Promise<Buffer> {
  const inflated = inflateInfo(deflatedIn(member), inflateOptions(size)).catch(cause => {
    throw notInflated(cause)
  })
  return checkedContents(member, size, await inflated)
}

/** The same, at once: for a few members the trips to another thread take longer. Throws RangeError. */
export function inflateMemberSync(member: Buffer, size: number): Buffer {
  const deflated = deflatedIn(member)
  let inflated: Inflated
  try {
    inflated = inflateRawSync(deflated, inflateOptions(size)) as unknown as Inflated
  } catch (cause) {
    throw notInflated(cause)
  }
  return checkedContents(member, size, inflated)
}

function deflatedIn(member: Buffer): Buffer {
  if (!member.subarray(0, HEADER.length).equals(HEADER)) throw new RangeError('it has another header')
  return member.subarray(HEADER.length, -TRAILER_BYTES)
}

/** One byte more than is expected, so that all comes at once, in one buffer: by default it is 16 KiB at a time. */
function inflateOptions(size: number): ZlibOptions {
  return { maxOutputLength: size, chunkSize: Math.max(size + 1, MIN_CHUNK), info: true }
}

function notInflated(cause: unknown): RangeError {
  return new RangeError('it cannot be inflated', { cause })
}

function checkedContents(member: Buffer, size: number, { buffer, engine }: Inflated): Buffer {
  const trailer = member.subarray(-TRAILER_BYTES)
  if (engine.bytesWritten !== member.length - MEMBER_OVERHEAD || buffer.length !== size) {
    throw new RangeError('it is cut off')
  }
  if (trailer.readUInt32LE(0) !== crc32(buffer)) throw new RangeError('its CRC-32 is wrong')
  if (trailer.readUInt32LE(4) !== size) throw new RangeError('its length is wrong')
  return buffer
}

/** zlib takes no smaller chunkSize. */
const MIN_CHUNK = 64

/** What zlib gives with `info`, of which the types do not know: https://nodejs.org/api/zlib.html#class-options */
interface Inflated {
  readonly buffer: Buffer
  readonly engine: { readonly bytesWritten: number }
}

const inflateInfo = promisify(inflateRaw) as unknown as (data: Buffer, options: ZlibOptions) => Promise<Inflated>

function inflate(data: Buffer, maxOutputLength: number): { contents: Buffer; taken: number } | undefined {
  try {
    const { buffer, engine } = inflateRawSync(data, { maxOutputLength, info: true }) as unknown as Inflated
    return { contents: buffer, taken: engine.bytesWritten }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'Z_BUF_ERROR') return undefined
    throw notInflated(cause)
  }
}
