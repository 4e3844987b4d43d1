// How a WAL file comes into being, and how bytes get into it.
import { randomBytes } from 'node:crypto'
import { closeSync, fdatasyncSync, openSync, renameSync, rmSync, writevSync } from 'node:fs'
import { draftPath, syncPath, walPath } from './files.ts'
import { encodeFileHeader } from './layout.ts'
import { WalFile } from './wal-file.ts'

/**
 * Makes a file that holds nothing yet, its header and its name on the disk. It is built under another name, so that no crash
 * leaves a file without a header that could pass for one that lost what it held.
 */
export function createFile(directory: string, file: number, last: { readonly file: number; readonly bytes: number }) {
  const draft = draftPath(directory, file)
  const salt = randomBytes(8).readBigUInt64BE()
  const fd = openSync(draft, 'wx')
  try {
    writeAll(fd, [encodeFileHeader({ file, previous: last.file, previousBytes: last.bytes, salt })], 0)
    fdatasyncSync(fd)
    renameSync(draft, walPath(directory, file))
    syncPath(directory)
    return { fd, salt, read: new WalFile(directory, file) }
  } catch (error) {
    closeSync(fd)
    for (const path of [draft, walPath(directory, file)]) {
      try {
        rmSync(path, { force: true })
      } catch {
        // The next start removes a draft, and an empty file does no harm.
      }
    }
    throw error
  }
}

/** Writes all pieces behind each other from a position on. Throws what the system says; some of them may be written then. */
export function writeAll(fd: number, pieces: readonly Buffer[], position: number): void {
  for (let left = pieces; left.length > 0; ) {
    const written = writevSync(fd, left, position)
    position += written
    left = without(left, written)
  }
}

/** The pieces without their first `bytes` bytes. */
function without(pieces: readonly Buffer[], bytes: number): Buffer[] {
  let first = 0
  for (; first < pieces.length && bytes >= pieces[first]!.length; first++) bytes -= pieces[first]!.length
  const left = pieces.slice(first)
  if (bytes > 0) left[0] = left[0]!.subarray(bytes)
  return left
}
