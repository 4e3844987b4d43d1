// Reads parts of a segment's files without reading the rest: finds the gzip members that hold them and fetches only those.
import { MillraceError, messageOf } from '../errors.ts'
import { MAX_DECOMPRESSED_BYTES } from '../kafka/compression.ts'
import { inflateMember, inflateMemberSync } from './gzip-member.ts'
import type { RangeSource } from './range-source.ts'
import { TAR_END, tarHeader, tarPadding } from './tar-format.ts'
import type { TocMember } from './toc.ts'
import { decodeToc, MAX_TOC_BYTES } from './toc.ts'

/** A stretch of a file's bytes, the end exclusive, that lies in a gzip member of its own. */
export interface Piece {
  readonly start: number
  readonly end: number
}

interface Chunk {
  /** In the tar. */
  readonly start: number
  readonly end: number
  /** In the file. */
  readonly fileStart: number
  readonly fileEnd: number
}

/**
 * How far a part that is read in one piece may grow beyond MAX_DECOMPRESSED_BYTES, as a multiple of its compressed bytes.
 * Search indexes and logs of real records stay below 30; what deflates to a hundredth is made to exhaust memory.
 */
const MAX_GROWTH = 100

/** Fewer are inflated at once, which takes less than the way to another thread and back. */
const MANY_CHUNKS = 4

export class TarView {
  readonly name: string
  readonly #source: RangeSource
  readonly #members: ReadonlyMap<string, TocMember>
  readonly #chunks: readonly Chunk[]

  private constructor(source: RangeSource, members: readonly TocMember[], chunks: readonly Chunk[]) {
    this.name = source.name
    this.#source = source
    this.#members = new Map(members.map(member => [member.name, member]))
    this.#chunks = chunks
  }

  /** Reads the table of contents, in one request. Throws SEGMENT_CORRUPT. */
  static async open(source: RangeSource): Promise<TarView> {
    const { data, size } = await source.tail(MAX_TOC_BYTES)
    const toc = decodeToc(data, size, source.name)
    const chunks: Chunk[] = []
    let start = 0
    let fileStart = 0
    for (const { compressed, size } of toc.chunks) {
      chunks.push({ start, end: start + size, fileStart, fileEnd: fileStart + compressed })
      start += size
      fileStart += compressed
    }
    return new TarView(source, toc.members, chunks)
  }

  /** Its files, in the order in which they lie in it. */
  get names(): readonly string[] {
    return [...this.#members.keys()]
  }

  /** The size of one of its files. Throws SEGMENT_CORRUPT when there is no such file. */
  sizeOf(member: string): number {
    return this.#member(member).size
  }

  /** Bytes of one of its files, all of them unless told. Throws SEGMENT_CORRUPT. */
  async read(member: string, from = 0, to = Number.MAX_SAFE_INTEGER): Promise<Buffer> {
    const { offset, size } = this.#member(member)
    return await this.#range(offset + from, offset + Math.min(to, size))
  }

  /** Two of its files, the second behind the first, in one request. Throws SEGMENT_CORRUPT. */
  async readTogether(first: string, second: string): Promise<[Buffer, Buffer]> {
    const [a, b] = [this.#member(first), this.#member(second)]
    const bytes = await this.#range(a.offset, b.offset + b.size)
    return [bytes.subarray(0, a.size), bytes.subarray(b.offset - a.offset)]
  }

  /** What a file is stored in, in order. Throws SEGMENT_CORRUPT when there is no such file. */
  pieces(member: string): Piece[] {
    const { offset, size } = this.#member(member)
    return this.#chunksBetween(offset, offset + size).map(({ start, end }) => ({
      start: Math.max(0, start - offset),
      end: Math.min(size, end - offset)
    }))
  }

  /**
   * The bytes of the pieces numbered `from` to `to` (exclusive): one request, inflated off the main thread. Each is settled
   * by itself, and belongs to the caller. They reject with SEGMENT_CORRUPT, or what the source throws.
   */
  readPieces(member: string, from: number, to: number): Promise<Buffer>[] {
    const { offset, size } = this.#member(member)
    const chunks = this.#chunksBetween(offset, offset + size).slice(from, to)
    if (chunks.length === 0) return []
    const first = chunks[0]!.fileStart
    const bytes = this.#source.get(first, chunks.at(-1)!.fileEnd)
    return chunks.map(async chunk => {
      const compressed = (await bytes).subarray(chunk.fileStart - first, chunk.fileEnd - first)
      const contents = await this.#inflate(compressed, chunk)
      return contents.subarray(Math.max(0, offset - chunk.start), Math.min(offset + size, chunk.end) - chunk.start)
    })
  }

  /** Checks what lies around the files in the tar, which no other read looks at. Throws SEGMENT_CORRUPT. */
  async checkTar(): Promise<void> {
    let end = 0
    let padding: Buffer = Buffer.alloc(0)
    for (const { name, offset, size } of this.#members.values()) {
      const expected = Buffer.concat([padding, tarHeader(name, size)])
      if (!(await this.#range(end, offset)).equals(expected)) throw this.#corrupt(`${name} has a wrong tar header`)
      end = offset + size
      padding = tarPadding(size)
    }
    const expected = Buffer.concat([padding, TAR_END])
    if (!(await this.#range(end, end + expected.length)).equals(expected)) throw this.#corrupt('its tar has no end')
  }

  async #range(start: number, end: number): Promise<Buffer> {
    if (end <= start) return Buffer.alloc(0)
    const chunks = this.#chunksBetween(start, end)
    const first = chunks[0]!
    const { fileEnd } = chunks.at(-1)!
    const compressed = fileEnd - first.fileStart
    if (end - start > Math.max(MAX_DECOMPRESSED_BYTES, compressed * MAX_GROWTH)) {
      throw this.#corrupt(`${compressed} bytes from byte ${first.fileStart} on claim to inflate to ${end - start}`)
    }
    const bytes = await this.#source.get(first.fileStart, fileEnd)
    const part = (chunk: Chunk) => bytes.subarray(chunk.fileStart - first.fileStart, chunk.fileEnd - first.fileStart)
    // A search index has many: in other threads they are inflated side by side, and nobody here has to wait.
    const isLong = chunks.length >= MANY_CHUNKS
    const inflating = chunks.map(chunk =>
      isLong ? this.#inflate(part(chunk), chunk) : this.#unzip(part(chunk), chunk)
    )
    return Buffer.concat(await Promise.all(inflating)).subarray(start - first.start, end - first.start)
  }

  #chunksBetween(start: number, end: number): readonly Chunk[] {
    return this.#chunks.filter(chunk => chunk.start < end && chunk.end > start)
  }

  #member(name: string): TocMember {
    const member = this.#members.get(name)
    if (member === undefined) throw this.#corrupt(`has no file ${name}`)
    return member
  }

  async #inflate(bytes: Buffer, chunk: Chunk): Promise<Buffer> {
    try {
      return await inflateMember(bytes, chunk.end - chunk.start)
    } catch (cause) {
      throw this.#damaged(chunk, messageOf(cause), cause)
    }
  }

  #unzip(bytes: Buffer, chunk: Chunk): Buffer {
    try {
      return inflateMemberSync(bytes, chunk.end - chunk.start)
    } catch (cause) {
      throw this.#damaged(chunk, messageOf(cause), cause)
    }
  }

  #damaged({ fileStart }: Chunk, reason: string, cause?: unknown): MillraceError {
    return this.#corrupt(`the gzip member at byte ${fileStart} is damaged: ${reason}`, cause)
  }

  #corrupt(reason: string, cause?: unknown): MillraceError {
    return new MillraceError('SEGMENT_CORRUPT', `${this.name}: ${reason}`, { cause })
  }
}
