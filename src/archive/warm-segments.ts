// Local copies of archived segments, newest first, under a byte budget: reads that find one need not ask the store.
import { mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import path from 'node:path'
import type { RangeSource } from '../segment/reader.ts'
import { fileSource } from '../segment/reader.ts'

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

  #prune(): void {
    const files = readdirSync(this.#directory, { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(entry => {
        const file = path.join(entry.parentPath, entry.name)
        const { size, mtimeMs } = statSync(file)
        return { file, size, mtimeMs }
      })
      .sort((a, b) => b.mtimeMs - a.mtimeMs)
    let total = 0
    for (const { file, size } of files) {
      total += size
      if (total > this.#maxBytes) rmSync(file, { force: true })
    }
  }
}
