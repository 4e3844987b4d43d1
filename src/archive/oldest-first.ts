// Folders of copies that can be had again: under a budget, or where the disk is needed, the oldest files of them go first.
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import path from 'node:path'
import { freeBytes } from '../wal/disk-reserve.ts'

interface AgedFile {
  readonly file: string
  readonly size: number
  readonly mtimeMs: number
}

/** Drops the oldest files of a folder and the folders in it, as many as it takes to be left with so many bytes. */
export function keepWithin(directory: string, maxBytes: number): void {
  let total = 0
  for (const { file, size } of newestFirst(directory)) {
    total += size
    if (total > maxBytes) rmSync(file, { force: true })
  }
}

/** Drops the oldest files, as many as it takes for the disk to have so many bytes free. */
export function giveWay(directory: string, bytes: number): void {
  let lacking = existsSync(directory) ? bytes - freeBytes(directory) : 0
  if (lacking <= 0) return
  for (const { file, size } of newestFirst(directory).reverse()) {
    rmSync(file, { force: true })
    lacking -= size
    if (lacking <= 0) return
  }
}

/** Without those that another process drops meanwhile. */
function newestFirst(directory: string): AgedFile[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .flatMap(entry => {
      const file = path.join(entry.parentPath, entry.name)
      const found = statSync(file, { throwIfNoEntry: false })
      return found === undefined ? [] : [{ file, size: found.size, mtimeMs: found.mtimeMs }]
    })
    .sort((a, b) => b.mtimeMs - a.mtimeMs)
}
