// The WAL folder: which files it holds, what they are called, and what makes their names durable.
import { closeSync, fsyncSync, openSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** A file of frames; its layout is in layout.ts. */
export const walPath = (directory: string, file: number): string => join(directory, `${file}.wal`)
/** A file in the making: it becomes `<n>.wal` when its header is on the disk. */
export const draftPath = (directory: string, file: number): string => join(directory, `${file}.draft`)
/** A file in which something cannot be read, when all else in it is archived. */
export const damagedPath = (directory: string, file: number): string => join(directory, `${file}.damaged`)
export const lockPath = (directory: string): string => join(directory, 'lock.db')

/** The numbers of the files of a kind, ascending. Throws what the system says, so also when the folder is not there. */
export function listFiles(directory: string, kind: 'wal' | 'draft' | 'damaged' | 'db'): number[] {
  return readdirSync(directory)
    .flatMap(name => {
      const [, number, extension] = /^([1-9]\d{0,14})\.(\w+)$/.exec(name) ?? []
      return extension === kind ? [Number(number)] : []
    })
    .sort((a, b) => a - b)
}

/** A file's size in bytes; undefined when it is not there. */
export function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size
}

/** Makes a file's content, or a folder's names, durable. */
export function syncPath(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
