// LZ4's frame format as Kafka uses it: written with the settings of Kafka's Java client, read from any client within a bound.
// Layout: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md and lz4_Block_format.md
import { compressSync, decompressFrameSync } from 'lz4-napi'
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

/** What a frame decompresses to; null when that is more than `limit` bytes, which is found out before any is allocated. */
export function unlz4Frame(data: Buffer, limit: number): Buffer | null {
  if (data.length < HEADER.length || data.readUInt32LE(0) !== MAGIC) {
    throw new MillraceError('BATCH_CORRUPT', 'lz4 data is not in the LZ4 frame format')
  }
  const { blocks, blockMax, end } = walkFrame(data)
  if (data.length > end) {
    throw new MillraceError('BATCH_CORRUPT', `${data.length - end} bytes are left over after a batch's compressed data`)
  }
  // Most frames are within the limit even if each of their blocks is full; of the others the blocks are added up.
  if (blocks.length * blockMax > limit && uncompressedBytes(data, blocks) > limit) return null
  const output = decompressFrameSync(data)
  return output.length > limit ? null : output
}

interface Block {
  readonly start: number
  readonly size: number
  readonly stored: boolean
}

/** Finds the blocks, and where the frame ends. */
function walkFrame(data: Buffer): { blocks: Block[]; blockMax: number; end: number } {
  const flags = data[4]!
  const blockMax = 2 ** (8 + 2 * ((data[5]! >> 4) & 7))
  const blockChecksum = flags & 0x10 ? 4 : 0
  const contentChecksum = flags & 0x04 ? 4 : 0
  const blocks: Block[] = []
  for (let at = HEADER.length + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0); ; ) {
    if (at + 4 > data.length) throw new MillraceError('BATCH_CORRUPT', 'an lz4 frame ends without its end mark')
    const word = data.readUInt32LE(at)
    at += 4
    if (word === 0) return { blocks, blockMax, end: at + contentChecksum }
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
  // A length of 15 goes on in the bytes that follow, up to one that is not 255.
  const length = (nibble: number): number => {
    let sum = nibble
    for (let byte = nibble === 15 ? 255 : 0; byte === 255; sum += byte) byte = block[at++] ?? 0
    return sum
  }
  while (at < block.length) {
    const token = block[at++]!
    const literals = length(token >> 4)
    at += literals
    total += literals
    if (at >= block.length) break // the last sequence has no match
    at += 2 // the match's offset
    total += length(token & 0x0f) + 4
  }
  return total
}
