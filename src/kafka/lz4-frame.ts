// LZ4's frame format as Kafka uses it: written with the settings of Kafka's Java client, read from any client within a bound.
// Layout: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md and lz4_Block_format.md
import { compressSync } from 'lz4-napi'
import { MillraceError } from '../errors.ts'

const MAGIC = 0x184d2204

/**
 * Magic; version 1, independent blocks, no checksums, no content size; blocks of 64 KiB; the checksum of these two bytes.
 * Source: Lz4BlockOutputStream in apache/kafka.
 */
const HEADER = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82])
const BLOCK_BYTES = 64 * 1024
/** The bit of a block's size that says that its bytes are stored as they are. */
const STORED = 0x80000000

/** One frame, the same for the same data. */
export function lz4Frame(data: Buffer): Buffer {
  const parts: Buffer[] = [HEADER]
  for (let at = 0; at < data.length; at += BLOCK_BYTES) {
    const block = data.subarray(at, at + BLOCK_BYTES)
    // lz4-napi puts the uncompressed size before a lone block, where a frame has the compressed one.
    const compressed = compressSync(block)
    const size = compressed.length - 4
    if (size < block.length) {
      compressed.writeUInt32LE(size, 0)
      parts.push(compressed)
    } else {
      const head = Buffer.allocUnsafe(4)
      head.writeUInt32LE(block.length + STORED, 0)
      parts.push(head, block)
    }
  }
  parts.push(Buffer.alloc(4)) // the end mark: a block of no size
  return Buffer.concat(parts)
}

/**
 * What a frame decompresses to; null when that is more than `limit` bytes, which is found out before any is allocated. Not by
 * lz4-napi: the memory of what it gives is freed by the event loop alone, and unknown to the garbage collector, so that a
 * thread that goes through a segment would hold all of it. The frame's checksums are not looked at: a batch has one of its own.
 * Throws BATCH_CORRUPT.
 */
export function unlz4Frame(data: Buffer, limit: number): Buffer | null {
  if (data.length < HEADER.length || data.readUInt32LE(0) !== MAGIC) throw corrupt('is not in the LZ4 frame format')
  const { blocks, end } = walkFrame(data)
  if (data.length > end) {
    throw new MillraceError('BATCH_CORRUPT', `${data.length - end} bytes are left over after a batch's compressed data`)
  }
  const size = uncompressedBytes(data, blocks)
  if (size > limit) return null
  const output = Buffer.allocUnsafe(size)
  let at = 0
  for (const { start, size, stored } of blocks) {
    const block = data.subarray(start, start + size)
    if (stored) at += block.copy(output, at)
    else at = unlz4Block(block, output, at)
  }
  if (at !== size) throw corrupt(`has ${at} bytes where its lengths add up to ${size}`)
  return output
}

function corrupt(what: string): MillraceError {
  return new MillraceError('BATCH_CORRUPT', `lz4 data ${what}`)
}

interface Block {
  readonly start: number
  readonly size: number
  readonly stored: boolean
}

/** Finds the blocks, and where the frame ends. */
function walkFrame(data: Buffer): { blocks: Block[]; end: number } {
  const flags = data[4]!
  if (flags >> 6 !== 1) throw corrupt('is of another version of the LZ4 frame format')
  const blockChecksum = flags & 0x10 ? 4 : 0
  const contentChecksum = flags & 0x04 ? 4 : 0
  const blocks: Block[] = []
  for (let at = HEADER.length + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0); ; ) {
    if (at + 4 > data.length) throw new MillraceError('BATCH_CORRUPT', 'an lz4 frame ends without its end mark')
    const word = data.readUInt32LE(at)
    at += 4
    if (word === 0) return { blocks, end: at + contentChecksum }
    const stored = word >= STORED
    const size = stored ? word - STORED : word
    blocks.push({ start: at, size, stored })
    at += size + blockChecksum
  }
}

function uncompressedBytes(data: Buffer, blocks: readonly Block[]): number {
  let total = 0
  for (const { start, size, stored } of blocks) total += stored ? size : blockBytes(data.subarray(start, start + size))
  return total
}

/** The uncompressed size of a block: the lengths in its sequences, each of literals and of a match that follows them. */
function blockBytes(block: Buffer): number {
  let total = 0
  let at = 0
  while (at < block.length) {
    const token = block[at]!
    const literals = lengthAt(block, at + 1, token >> 4)
    at += 1 + lengthBytes(literals) + literals
    total += literals
    if (at >= block.length) break // the last sequence has no match
    at += 2 // the match's offset
    const beyond = lengthAt(block, at, token & 0x0f)
    at += lengthBytes(beyond)
    total += beyond + LEAST_MATCH
  }
  return total
}

const LEAST_MATCH = 4

/**
 * A length whose first 15 are in a token, and what is more in the bytes that follow, up to one that is not 255. A closure that moved
 * the position on would be simpler, and was miscompiled by V8 (test/kafka/lz4-frame.test.ts).
 */
function lengthAt(block: Buffer, at: number, nibble: number): number {
  let sum = nibble
  for (let byte = nibble === 15 ? 255 : 0; byte === 255; sum += byte) byte = block[at++] ?? 0
  return sum
}

/** How many bytes tell a length, beside the token. */
function lengthBytes(length: number): number {
  return length < 15 ? 0 : Math.floor((length - 15) / 255) + 1
}

/** Copies of so few bytes are quicker one by one. */
const FEW_BYTES = 32

/** Decompresses a block behind what `output` has up to `at`, where its matches may lie. Returns its end there. */
function unlz4Block(block: Buffer, output: Buffer, at: number): number {
  let from = 0
  while (from < block.length) {
    const token = block[from]!
    const literals = lengthAt(block, from + 1, token >> 4)
    from += 1 + lengthBytes(literals)
    if (literals > block.length - from || literals > output.length - at)
      throw corrupt('has a length that leaves its block')
    if (literals > FEW_BYTES) block.copy(output, at, from, from + literals)
    else for (let i = 0; i < literals; i++) output[at + i] = block[from + i]!
    from += literals
    at += literals
    if (from === block.length) return at // the last sequence has no match
    if (from + 2 > block.length) throw corrupt('ends within an offset')
    const offset = block[from]! | (block[from + 1]! << 8)
    from += 2
    const beyond = lengthAt(block, from, token & 0x0f)
    from += lengthBytes(beyond)
    const matched = beyond + LEAST_MATCH
    const source = at - offset
    if (offset === 0 || source < 0 || matched > output.length - at) throw corrupt('refers to what is not there')
    // What a match repeats may begin within it.
    if (matched > FEW_BYTES && offset >= matched) output.copyWithin(at, source, source + matched)
    else for (let i = 0; i < matched; i++) output[at + i] = output[source + i]!
    at += matched
  }
  return at
}
