// Where a segment's bytes come from: a local file, or an object in a store.
import { open } from 'node:fs/promises'

export interface RangeSource {
  /** For messages. */
  readonly name: string
  /** Bytes `start` to `end` (exclusive); fewer where the object ends before. */
  get(start: number, end: number): Promise<Buffer>
  /** The last `bytes` bytes (all of a shorter object) and the whole size. */
  tail(bytes: number): Promise<{ data: Buffer; size: number }>
}

/** A local segment file. It is opened for each read, so nothing has to be closed. */
export function fileSource(file: string): RangeSource {
  const read = async (start: number | null, length: number): Promise<{ data: Buffer; size: number }> => {
    await using handle = await open(file, 'r')
    const { size } = await handle.stat()
    const from = start ?? Math.max(0, size - length)
    const buffer = Buffer.alloc(Math.max(0, Math.min(length, size - from)))
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, from)
    return { data: buffer.subarray(0, bytesRead), size }
  }
  return {
    name: file,
    get: async (start, end) => (await read(start, end - start)).data,
    tail: bytes => read(null, bytes)
  }
}
