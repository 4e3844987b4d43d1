// Local copies of archived segments, newest first, under a byte budget: reads that find one need not ask the
// store. They give way when the disk is needed for what is not archived.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import path from 'node:path'
import type { RangeSource } from '../segment/reader.ts'
import { fileSource } from '../segment/reader.ts'
import { freeBytes } from '../wal/disk-reserve.ts'

export class WarmSegments {
  readonly #directory: string
  readonly #maxBytes: number

  constructor(directory: string, maxBytes: number) {
    this.#directory = directory
    this.#maxBytes = maxBytes
  }

  /** Takes over the file of a segment that the archive holds under `key`, and drops the oldest copies beyond the budget. */
  keep(key: string, file: string): void {
    const target = path.join(this.#directory, key)
    mkdirSync(path.dirname(target), { recursive: true })
    renameSync(file, target)
    this.#prune()
  }

  /** The local copy of an archived object; null if there is none of that size. */
  find(key: string, size: number): RangeSource | null {
    const file = path.join(this.#directory, key)
    return statSync(file, { throwIfNoEntry: false })?.size === size ? fileSource(file) : null
  }

  /** Drops the oldest copies, as many as it takes for the disk to have so many bytes free. */
  giveWay(bytes: number): void {
    let lacking = existsSync(this.#directory) ? bytes - freeBytes(this.#directory) : 0
    if (lacking <= 0) return
    for (const { file, size } of this.#newestFirst().reverse()) {
      rmSync(file, { force: true })
      lacking -= size
      if (lacking <= 0) return
    }
  }

  #prune(): void {
    let total = 0
    for (const { file, size } of this.#newestFirst()) {
      total += size
      if (total > this.#maxBytes) rmSync(file, { force: true })
    }
  }

  #newestFirst(): { file: string; size: number; mtimeMs: number }[] {
    return readdirSync(this.#directory, { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(entry => {
        const file = path.join(entry.parentPath, entry.name)
        const { size, mtimeMs } = statSync(file)
        return { file, size, mtimeMs }
      })
      .sort((a, b) => b.mtimeMs - a.mtimeMs)
  }
}
