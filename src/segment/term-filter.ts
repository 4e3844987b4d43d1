// `search.filter`: says of a word that no record of the segment has it, without the index being opened. A split-block Bloom
// filter, as Parquet describes it: https://parquet.apache.org/docs/file-format/bloomfilter/. Layout in docs/formats.md.
import { crc32c } from '@node-rs/crc32'
import { MillraceError } from '../errors.ts'

const MAGIC = 0x4d525446 // MRTF
const VERSION = 1
const HEADER_BYTES = 12
const CHECK_BYTES = 4

/** A word is looked for in one block, of eight 32-bit lanes with one bit of the word in each. */
const LANES = 8
const LANE_BYTES = 4
const BLOCK_BYTES = LANES * LANE_BYTES
/** About one word in 180 that is not there is said to be there perhaps. */
const BITS_PER_WORD = 12
/** Beyond these 64 MiB a filter only grows less certain. */
const MAX_BLOCKS = 2 ** 21

/** Parquet's: odd numbers that take the bit for each lane from a hash. */
const SALTS = [0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31] as const

/** A word has two hashes: that from FNV's own basis picks the block, one from another basis the bits in it. */
const BLOCK_BASIS = 0x811c9dc5
const BIT_BASIS = 0x9747b28c

export class TermFilter {
  readonly #lanes: Uint32Array

  private constructor(lanes: Uint32Array) {
    this.#lanes = lanes
  }

  /** Reads a `search.filter`. Throws SEGMENT_CORRUPT. */
  static from(bytes: Buffer, name: string): TermFilter {
    const fault = faultOf(bytes)
    if (fault !== undefined) throw new MillraceError('SEGMENT_CORRUPT', `${name}: search.filter: ${fault}`)
    const lanes = new Uint32Array(bodyOf(bytes) / LANE_BYTES)
    for (let i = 0; i < lanes.length; i++) lanes[i] = bytes.readUInt32LE(HEADER_BYTES + i * LANE_BYTES)
    return new TermFilter(lanes)
  }

  /** False where no record has the word, which must be one that `wordsOf` gives; true where one may have it. */
  mayContain(word: string): boolean {
    return this.firstMissing(Buffer.from(word)) === undefined
  }

  /** Of words in UTF-8 with a space between them, the first that no record has. */
  firstMissing(words: Buffer): string | undefined {
    for (let start = 0, end = 0; start < words.length; start = end + 1) {
      end = wordEnd(words, start)
      const block = blockOf(wordHash(words, start, end, BLOCK_BASIS), this.#lanes.length)
      const hash = wordHash(words, start, end, BIT_BASIS)
      for (let lane = 0; lane < LANES; lane++) {
        if ((this.#lanes[block + lane]! & bitOf(hash, lane)) === 0) return words.toString('utf8', start, end)
      }
    }
    return undefined
  }
}

/** Makes a filter of a known number of words; the same words give the same bytes. */
export class TermFilterBuilder {
  readonly #lanes: Uint32Array

  constructor(words: number) {
    const blocks = Math.ceil((words * BITS_PER_WORD) / (BLOCK_BYTES * 8))
    this.#lanes = new Uint32Array(LANES * Math.min(MAX_BLOCKS, Math.max(1, blocks)))
  }

  /** Adds words in UTF-8 with a space between them. */
  addAll(words: Buffer): void {
    for (let start = 0, end = 0; start < words.length; start = end + 1) {
      end = wordEnd(words, start)
      const block = blockOf(wordHash(words, start, end, BLOCK_BASIS), this.#lanes.length)
      const hash = wordHash(words, start, end, BIT_BASIS)
      for (let lane = 0; lane < LANES; lane++) this.#lanes[block + lane]! |= bitOf(hash, lane)
    }
  }

  /** The contents of `search.filter`. */
  finish(): Buffer {
    const bytes = Buffer.alloc(HEADER_BYTES + this.#lanes.length * LANE_BYTES + CHECK_BYTES)
    bytes.writeUInt32BE(MAGIC, 0)
    bytes.writeUInt32BE(VERSION, 4)
    bytes.writeUInt32BE(this.#lanes.length / LANES, 8)
    for (let i = 0; i < this.#lanes.length; i++) bytes.writeUInt32LE(this.#lanes[i]!, HEADER_BYTES + i * LANE_BYTES)
    const end = bytes.length - CHECK_BYTES
    bytes.writeUInt32BE(crc32c(bytes.subarray(0, end)), end)
    return bytes
  }
}

function bodyOf(bytes: Buffer): number {
  return bytes.length - HEADER_BYTES - CHECK_BYTES
}

function faultOf(bytes: Buffer): string | undefined {
  if (bytes.length < HEADER_BYTES + BLOCK_BYTES + CHECK_BYTES) return `${bytes.length} bytes are too short for one`
  if (bytes.readUInt32BE(0) !== MAGIC) return 'it begins as no filter does'
  const version = bytes.readUInt32BE(4)
  if (version !== VERSION) return `version ${version}; this Millrace reads ${VERSION}`
  const count = bytes.readUInt32BE(8)
  if (count > MAX_BLOCKS || count * BLOCK_BYTES !== bodyOf(bytes))
    return `${count} blocks do not fit ${bytes.length} bytes`
  const body = bytes.subarray(0, -CHECK_BYTES)
  return crc32c(body) === bytes.readUInt32BE(body.length) ? undefined : 'CRC mismatch'
}

const SPACE = 0x20

function wordEnd(words: Buffer, start: number): number {
  let end = start
  while (end < words.length && words[end] !== SPACE) end++
  return end
}

/** FNV-1a from some basis on, and MurmurHash3's last step, so that every byte of a word counts in every bit. */
function wordHash(words: Buffer, start: number, end: number, basis: number): number {
  let hash = basis
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ words[at]!, 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** Where the block of a hash begins. */
function blockOf(hash: number, lanes: number): number {
  return Math.floor((hash * (lanes / LANES)) / 2 ** 32) * LANES
}

function bitOf(hash: number, lane: number): number {
  return 1 << (Math.imul(hash, SALTS[lane]!) >>> 27)
}
