// Reads parts of a segment's files without reading the rest: finds the gzip members that hold them and fetches only those.
import { gunzipSync } from 'node:zlib'
import { MillraceError } from '../errors.ts'
import type { RangeSource } from './range-source.ts'
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
    const toc = decodeToc(data, source.name)
    const chunks: Chunk[] = []
    let start = 0
    let fileStart = 0
    for (const { compressed, size } of toc.chunks) {
      chunks.push({ start, end: start + size, fileStart, fileEnd: fileStart + compressed })
      start += size
      fileStart += compressed
    }
    if (fileStart > size || toc.members.some(member => member.offset + member.size > start)) {
      throw new MillraceError('SEGMENT_CORRUPT', `${source.name}: its table of contents leads outside of it`)
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
    const start = offset + from
    const end = offset + Math.min(to, size)
    if (end <= start) return Buffer.alloc(0)
    const chunks = this.#chunks.filter(chunk => chunk.start < end && chunk.end > start)
    const first = chunks[0]!
    const bytes = await this.#source.get(first.fileStart, chunks.at(-1)!.fileEnd)
    const parts = chunks.map(chunk =>
      this.#unzip(bytes.subarray(chunk.fileStart - first.fileStart, chunk.fileEnd - first.fileStart), chunk)
    )
    return Buffer.concat(parts).subarray(start - first.start, end - first.start)
  }

  #member(name: string): TocMember {
    const member = this.#members.get(name)
    if (member === undefined) throw new MillraceError('SEGMENT_CORRUPT', `${this.name}: has no file ${name}`)
    return member
  }

  #unzip(bytes: Buffer, { start, end, fileStart }: Chunk): Buffer {
    let tar: Buffer | undefined
    let cause: unknown
    try {
      tar = gunzipSync(bytes, { maxOutputLength: Math.max(1, end - start) })
    } catch (error) {
      cause = error
    }
    if (tar?.length === end - start) return tar
    throw new MillraceError('SEGMENT_CORRUPT', `${this.name}: the gzip member at byte ${fileStart} is damaged`, {
      cause
    })
  }
}
