// The five codecs of record batches: how each compresses a batch's records, and how each is read within a bound.
import zlib from 'node:zlib'
import snappy from 'snappy'
import { MillraceError } from '../errors.ts'
import { lz4Frame, unlz4Frame } from './lz4-frame.ts'

/** Codec numbers in the lowest three attribute bits of a batch. */
export const Codec = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const
export type CodecName = keyof typeof Codec

const names = Object.keys(Codec) as CodecName[]

/** The name of a codec number. Throws BATCH_UNSUPPORTED for one that Kafka does not define. */
export function codecName(codec: number): CodecName {
  const name = names[codec]
  if (name === undefined) throw new MillraceError('BATCH_UNSUPPORTED', `unknown compression codec ${codec}`)
  return name
}

/** What a batch may grow to when it is decompressed, unless the caller says otherwise. */
export const MAX_DECOMPRESSED_BYTES = 256 * 1024 * 1024

/**
 * Decompresses the records of one batch.
 * Throws BATCH_TOO_LARGE beyond `limit` bytes, BATCH_CORRUPT for anything that the codec refuses.
 */
export function decompress(codec: CodecName, data: Buffer, limit = MAX_DECOMPRESSED_BYTES): Buffer {
  try {
    switch (codec) {
      case 'none':
        return data
      case 'gzip':
        return inflate(zlib.gunzipSync, data, limit)
      case 'zstd':
        return inflate(zlib.zstdDecompressSync, data, limit)
      case 'snappy':
        return unsnappy(data, limit)
      case 'lz4': {
        const output = unlz4Frame(data, limit)
        if (output === null) throw tooLarge(codec, limit)
        return output
      }
    }
  } catch (cause) {
    if (cause instanceof MillraceError) throw cause
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(codec, limit, cause)
    throw new MillraceError('BATCH_CORRUPT', `the ${codec} data of a batch cannot be decompressed`, { cause })
  }
}

/** Node ignores what follows the compressed data; `info` tells how far it read. */
function inflate(read: (data: Buffer, options: InflateOptions) => unknown, data: Buffer, limit: number): Buffer {
  const { buffer, engine } = read(data, { maxOutputLength: limit, info: true }) as Inflated
  refuseSurplus(data.length - engine.bytesWritten)
  return buffer
}

interface InflateOptions {
  readonly maxOutputLength: number
  readonly info: true
}

interface Inflated {
  readonly buffer: Buffer
  readonly engine: { readonly bytesWritten: number }
}

function refuseSurplus(bytes: number): void {
  if (bytes > 0)
    throw new MillraceError('BATCH_CORRUPT', `${bytes} bytes are left over after a batch's compressed data`)
}

/** Compresses records with the settings of Kafka's Java client; the bytes may differ from what another client makes. */
export function compress(codec: CodecName, data: Buffer): Buffer {
  switch (codec) {
    case 'none':
      return data
    case 'gzip':
      return zlib.gzipSync(data)
    case 'zstd':
      return zlib.zstdCompressSync(data)
    case 'snappy':
      return xerial(data)
    case 'lz4':
      return lz4Frame(data)
  }
}

function tooLarge(codec: string, limit: number, cause?: unknown): MillraceError {
  return new MillraceError('BATCH_TOO_LARGE', `a ${codec} batch grows beyond ${limit} bytes`, { cause })
}

// Java producers frame snappy as xerial's snappy-java does: this header, then blocks of [length int32][raw snappy].
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const XERIAL_HEADER = Buffer.concat([XERIAL_MAGIC, Buffer.from([0, 0, 0, 1, 0, 0, 0, 1])])
const XERIAL_BLOCK = 32 * 1024

function xerial(data: Buffer): Buffer {
  const parts: Buffer[] = [XERIAL_HEADER]
  for (let at = 0; at < data.length; at += XERIAL_BLOCK) {
    const block = snappy.compressSync(data.subarray(at, at + XERIAL_BLOCK))
    const length = Buffer.allocUnsafe(4)
    length.writeInt32BE(block.length)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}

function unsnappy(data: Buffer, limit: number): Buffer {
  if (!data.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) return unsnappyBlock(data, limit)
  const parts: Buffer[] = []
  let total = 0
  for (let at = XERIAL_HEADER.length; at < data.length; ) {
    const length = data.readInt32BE(at)
    if (length < 0 || at + 4 + length > data.length) {
      throw new MillraceError('BATCH_CORRUPT', `a snappy block of ${length} bytes leaves its batch`)
    }
    const part = unsnappyBlock(data.subarray(at + 4, at + 4 + length), limit - total)
    parts.push(part)
    total += part.length
    at += 4 + length
  }
  return Buffer.concat(parts)
}

/** A copy of 64 bytes takes three: no raw block grows more than this (format_description.txt in google/snappy). */
const SNAPPY_MAX_RATIO = 22

/** A raw snappy block states its uncompressed length in a varint at its start, and it is allocated at once. */
function unsnappyBlock(data: Buffer, limit: number): Buffer {
  let length = 0
  for (let i = 0; i < 5; i++) {
    const byte = data[i] ?? 0
    length += (byte & 0x7f) * 2 ** (7 * i)
    if (byte < 0x80) break
  }
  if (length > data.length * SNAPPY_MAX_RATIO) {
    throw new MillraceError('BATCH_CORRUPT', `a snappy block of ${data.length} bytes says that it holds ${length}`)
  }
  if (length > limit) throw tooLarge('snappy', limit)
  // What it gives without a copy is freed by the event loop alone (lz4-frame.ts).
  return snappy.uncompressSync(data, { asBuffer: true, copyOutputData: true }) as Buffer
}
