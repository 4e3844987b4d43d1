// Reads parts of a segment's files without reading the rest: finds the gzip members that hold them and fetches only those.
import { MillraceError, messageOf } from '../errors.ts'
import { MAX_DECOMPRESSED_BYTES } from '../kafka/compression.ts'
import { leadingMember } from './gzip-member.ts'
import type { RangeSource } from './range-source.ts'
import { TAR_END, tarHeader, tarPadding } from './tar-format.ts'
import type { TocMember } from './toc.ts'
import { decodeToc, MAX_TOC_BYTES } from './toc.ts'

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

  /** The size of one of its files. Throws SEGMENT_CORRUPT when there is no such file. */
  sizeOf(member: string): number {
    return this.#member(member).size
  }

  /** Bytes of one of its files, all of them unless told. Throws SEGMENT_CORRUPT. */
  async read(member: string, from = 0, to = Number.MAX_SAFE_INTEGER): Promise<Buffer> {
    const { offset, size } = this.#member(member)
    return await this.#range(offset + from, offset + Math.min(to, size))
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
    const chunks = this.#chunks.filter(chunk => chunk.start < end && chunk.end > start)
    const first = chunks[0]!
    const { fileEnd } = chunks.at(-1)!
    const compressed = fileEnd - first.fileStart
    if (end - start > Math.max(MAX_DECOMPRESSED_BYTES, compressed * MAX_GROWTH)) {
      throw this.#corrupt(`${compressed} bytes from byte ${first.fileStart} on claim to inflate to ${end - start}`)
    }
    const bytes = await this.#source.get(first.fileStart, fileEnd)
    const parts = chunks.map(chunk =>
      this.#unzip(bytes.subarray(chunk.fileStart - first.fileStart, chunk.fileEnd - first.fileStart), chunk)
    )
    return Buffer.concat(parts).subarray(start - first.start, end - first.start)
  }

  #member(name: string): TocMember {
    const member = this.#members.get(name)
    if (member === undefined) throw this.#corrupt(`has no file ${name}`)
    return member
  }

  #unzip(bytes: Buffer, { start, end, fileStart, fileEnd }: Chunk): Buffer {
    const what = `the gzip member at byte ${fileStart} is damaged`
    let member: ReturnType<typeof leadingMember>
    try {
      member = leadingMember(bytes, end - start)
    } catch (cause) {
      throw this.#corrupt(`${what}: ${messageOf(cause)}`, cause)
    }
    if (member?.bytes === fileEnd - fileStart && member.contents.length === end - start) return member.contents
    throw this.#corrupt(`${what}: it is cut off`)
  }

  #corrupt(reason: string, cause?: unknown): MillraceError {
    return new MillraceError('SEGMENT_CORRUPT', `${this.name}: ${reason}`, { cause })
  }
}
