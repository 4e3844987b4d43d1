// Where a segment's bytes come from: a local file, or an object in a store.
import { open } from 'node:fs/promises'
import { MillraceError, messageOf } from '../errors.ts'

export interface RangeSource {
  /** For messages. */
  readonly name: string
  /** Bytes `start` to `end` (exclusive); fewer where the object ends before. */
  get(start: number, end: number): Promise<Buffer>
  /** The last `bytes` bytes (all of a shorter object) and the whole size. */
  tail(bytes: number): Promise<{ data: Buffer; size: number }>
}

/**
 * A local segment file. It is opened for each read, so nothing has to be closed.
 * Reads throw OBJECT_MISSING where it is not there, as a store would, and else STORE_FAILED.
 */
export function fileSource(file: string): RangeSource {
  const read = async (start: number | null, length: number): Promise<{ data: Buffer; size: number }> => {
    try {
      await using handle = await open(file, 'r')
      const { size } = await handle.stat()
      const from = start ?? Math.max(0, size - length)
      const data = Buffer.alloc(Math.max(0, Math.min(length, size - from)))
      for (let have = 0; have < data.length; ) {
        const { bytesRead } = await handle.read(data, have, data.length - have, from + have)
        if (bytesRead === 0) throw new Error('it became shorter while it was read')
        have += bytesRead
      }
      return { data, size }
    } catch (cause) {
      const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
      const code = isMissing ? 'OBJECT_MISSING' : 'STORE_FAILED'
      throw new MillraceError(code, `${file}: ${isMissing ? 'there is no such file' : messageOf(cause)}`, { cause })
    }
  }
  return {
    name: file,
    get: async (start, end) => (await read(start, end - start)).data,
    tail: bytes => read(null, bytes)
  }
}
