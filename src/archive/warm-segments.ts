// Local copies of archived segments, newest first, under a byte budget: reads that find one need not ask the
// store. They give way when the disk is needed for what is not archived.
import { mkdirSync, renameSync, statSync } from 'node:fs'
import path from 'node:path'
import type { RangeSource } from '../segment/reader.ts'
import { fileSource } from '../segment/reader.ts'
import { giveWay, keepWithin } from './oldest-first.ts'

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
    keepWithin(this.#directory, this.#maxBytes)
  }

  /** The local copy of an archived object; null if there is none of that size. */
  find(key: string, size: number): RangeSource | null {
    const file = path.join(this.#directory, key)
    return statSync(file, { throwIfNoEntry: false })?.size === size ? fileSource(file) : null
  }

  /** Drops the oldest copies, as many as it takes for the disk to have so many bytes free. */
  giveWay(bytes: number): void {
    giveWay(this.#directory, bytes)
  }
}
