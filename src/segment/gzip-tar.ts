// Writes a tar.gz that is also seekable: every chunk of the tar is a gzip member of its own, and the last member, which is
// empty, carries a table of contents in its header's extra field. Any tar and gzip read it as an ordinary file.
import { createHash } from 'node:crypto'
import { closeSync, fdatasyncSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs'
import { SYNC_BYTES } from '../sync-bytes.ts'
import { compressMember } from './gzip-member.ts'
import { TAR_BLOCK, TAR_END, tarHeader, tarPadding } from './tar-format.ts'
import type { TocChunk, TocMember } from './toc.ts'
import { encodeToc } from './toc.ts'

/** Tar bytes in one gzip member: what a reader fetches at least. */
export const CHUNK_BYTES = 256 * 1024

/** A member of the tar: bytes in memory, or an open file of a known size. */
export type TarSource = Buffer | { readonly fd: number; readonly size: number }

export class GzipTarWriter {
  readonly #fd: number
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

  /** Adds a file to the tar; its gzip members hold nothing of another. */
  add(name: string, source: TarSource): void {
    const size = Buffer.isBuffer(source) ? source.length : source.size
    this.#members.push({ name, offset: this.#tarSize + TAR_BLOCK, size })

    // The tar header goes with the first chunk, the padding with the last.
    let before = tarHeader(name, size)
    let at = 0
    do {
      const part = readPart(source, at, Math.min(CHUNK_BYTES, size - at))
      at += part.length
      this.#chunk(Buffer.concat(at === size ? [before, part, tarPadding(size)] : [before, part]))
      before = Buffer.alloc(0)
    } while (at < size)
  }

  /** Ends the tar, writes the table of contents, and makes the file durable. */
  finish(): { size: number; sha256: string } {
    this.#chunk(TAR_END)
    this.#write(encodeToc({ members: this.#members, chunks: this.#chunks }))
    fsyncSync(this.#fd)
    this.close()
    return { size: this.#size, sha256: this.#hash.digest('hex') }
  }

  /** Closes the file, also an unfinished one; again is fine. */
  close(): void {
    if (!this.#closed) closeSync(this.#fd)
    this.#closed = true
  }

  #chunk(tarBytes: Buffer): void {
    const member = compressMember(tarBytes)
    this.#chunks.push({ compressed: member.length, size: tarBytes.length })
    this.#tarSize += tarBytes.length
    this.#write(member)
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

function readPart(source: TarSource, at: number, length: number): Buffer {
  if (Buffer.isBuffer(source)) return source.subarray(at, at + length)
  const part = Buffer.allocUnsafe(length)
  for (let have = 0; have < length; ) {
    const got = readSync(source.fd, part, have, length - have, at + have)
    if (got === 0) throw new RangeError(`a file shrank while it was archived: ${at + have} of ${source.size} bytes`)
    have += got
  }
  return part
}
