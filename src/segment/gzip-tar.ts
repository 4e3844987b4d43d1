// Writes a tar.gz that is also seekable: every chunk of the tar is a gzip member of its own, and the last member, which is
// empty, carries a table of contents in its header's extra field. Any tar and gzip read it as an ordinary file.
import { createHash } from 'node:crypto'
import { closeSync, fdatasyncSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { giveBack } from '../give-back.ts'
import { SYNC_BYTES } from '../sync-bytes.ts'
import { compressMember } from './gzip-member.ts'
import { TAR_BLOCK, TAR_END, tarHeader, tarPadding } from './tar-format.ts'
import type { TocChunk, TocMember } from './toc.ts'
import { encodeToc } from './toc.ts'

/** Tar bytes in one gzip member: what a reader fetches at least. */
export const CHUNK_BYTES = 256 * 1024

/** A member of the tar: bytes in memory, or so many that come piece by piece. */
export type TarSource = Buffer | { readonly size: number; readonly pieces: Iterable<Buffer> }

export class GzipTarWriter {
  readonly #fd: number
  readonly #chunk = Buffer.allocUnsafe(TAR_BLOCK + CHUNK_BYTES + TAR_BLOCK)
  readonly #hash = createHash('sha256')
  readonly #chunks: TocChunk[] = []
  readonly #members: TocMember[] = []
  #size = 0
  #syncedSize = 0
  #tarSize = 0
  #closed = false

  constructor(file: string) {
    this.#fd = openSync(file, 'wx')
  }

  /**
   * Adds a file to the tar; its gzip members hold nothing of another. Each piece is done with when the next is asked for. Throws
   * a RangeError where they are not of the size that was said.
   */
  add(name: string, source: TarSource): void {
    const { size, pieces } = Buffer.isBuffer(source) ? { size: source.length, pieces: [source] } : source
    this.#members.push({ name, offset: this.#tarSize + TAR_BLOCK, size })

    // The tar header goes with the first chunk, the padding with the last.
    let filled = tarHeader(name, size).copy(this.#chunk)
    let room = CHUNK_BYTES
    let left = size
    for (const piece of pieces) {
      for (let at = 0; at < piece.length; ) {
        const bytes = piece.copy(this.#chunk, filled, at, at + room)
        at += bytes
        filled += bytes
        room -= bytes
        left -= bytes
        if (room > 0 || left === 0) continue
        this.#writeMember(this.#chunk.subarray(0, filled))
        filled = 0
        room = CHUNK_BYTES
      }
    }
    if (left !== 0) throw new RangeError(`${name} was to have ${size} bytes, and has ${size - left}`)
    filled += tarPadding(size).copy(this.#chunk, filled)
    this.#writeMember(this.#chunk.subarray(0, filled))
  }

  /** Ends the tar, writes the table of contents, and makes the file durable. */
  finish(): { size: number; sha256: string } {
    this.#writeMember(TAR_END)
    this.#write(encodeToc({ members: this.#members, chunks: this.#chunks }))
    fsyncSync(this.#fd)
    this.close()
    return { size: this.#size, sha256: this.#hash.digest('hex') }
  }

  /** Closes the file, also an unfinished one; again is fine. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    closeSync(this.#fd)
    giveBack(this.#chunk)
  }

  #writeMember(tarBytes: Buffer): void {
    const start = this.#size
    compressMember(tarBytes, piece => this.#write(piece))
    this.#chunks.push({ compressed: this.#size - start, size: tarBytes.length })
    this.#tarSize += tarBytes.length
  }

  #write(bytes: Buffer): void {
    this.#hash.update(bytes)
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at)
    this.#size += bytes.length
    if (this.#size - this.#syncedSize < SYNC_BYTES) return
    fdatasyncSync(this.#fd)
    this.#syncedSize = this.#size
  }
}
