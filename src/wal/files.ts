// The WAL folder: which files it holds, what they are called, and what makes their names durable.
import { closeSync, fsyncSync, openSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** A WAL file is three files of SQLite: the database, its -wal (where the frames live) and its -shm. */
export const dbPath = (directory: string, file: number): string => join(directory, `${file}.db`)
export const walPath = (directory: string, file: number): string => join(directory, `${file}.db-wal`)
export const shmPath = (directory: string, file: number): string => join(directory, `${file}.db-shm`)
/** A file in the making: it becomes `<n>.db` when its schema is on the disk. */
export const draftPath = (directory: string, file: number): string => join(directory, `${file}.draft`)
/** A file in deletion: the name says so before the first of the three is gone. */
export const gonePath = (directory: string, file: number): string => join(directory, `${file}.gone`)
export const lockPath = (directory: string): string => join(directory, 'lock.db')

export type FileKind = 'db' | 'db-wal' | 'db-shm' | 'draft' | 'gone'

/** The numbers of the files of each kind, ascending. */
export function listFolder(directory: string): Record<FileKind, number[]> {
  const found: Record<FileKind, number[]> = { db: [], 'db-wal': [], 'db-shm': [], draft: [], gone: [] }
  for (const name of readdirSync(directory)) {
    const match = /^(\d+)\.(db|db-wal|db-shm|draft|gone)$/.exec(name)
    if (match) found[match[2] as FileKind].push(Number(match[1]))
  }
  for (const numbers of Object.values(found)) numbers.sort((a, b) => a - b)
  return found
}

/** A file's size in bytes; undefined when it is not there. */
export function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size
}

/** What the three files of a WAL file take. Only stat: opening a database file would drop SQLite's locks on it. */
export function bytesOnDisk(directory: string, file: number): number {
  return [dbPath, walPath, shmPath].reduce((sum, path) => sum + (sizeOf(path(directory, file)) ?? 0), 0)
}

/** Makes a file's content, or a folder's names, durable. Never for a database that SQLite has open. */
export function syncPath(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
