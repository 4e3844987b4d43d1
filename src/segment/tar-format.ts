// The bytes of a segment's tar around the contents of its files (POSIX ustar). Times, owner and mode are always the same, so
// that the same contents give the same bytes.
import { Header } from 'tar'

/** Headers and contents lie in blocks of this size. */
export const TAR_BLOCK = 512

/** What ends a tar. */
export const TAR_END = Buffer.alloc(2 * TAR_BLOCK)

export function tarHeader(name: string, size: number): Buffer {
  const header = Buffer.alloc(TAR_BLOCK)
  new Header({ path: name, size, mode: 0o644, uid: 0, gid: 0, mtime: new Date(0), type: 'File' }).encode(header)
  return header
}

/** What fills a file's last block. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((TAR_BLOCK - (size % TAR_BLOCK)) % TAR_BLOCK)
}
