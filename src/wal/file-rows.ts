// The rows of one WAL file and, as a bit each, whether they are released.
import { RowColumns } from './row-columns.ts'

export class FileRows {
  bytesOnDisk: number
  /** Rows that are needed, and the bytes of their batches. */
  live = 0
  liveBytes = 0
  deleting = false
  rows = new RowColumns()
  /** Their ids, also when they are released. */
  readonly unreadable = new Set<number>()
  #released = new Uint32Array(64)

  constructor(bytesOnDisk: number) {
    this.bytesOnDisk = bytesOnDisk
  }

  readonly isReleased = (id: number): boolean => ((this.#released[id >>> 5] ?? 0) & (1 << (id & 31))) !== 0

  markReleased(id: number): void {
    const word = id >>> 5
    if (word >= this.#released.length) {
      const grown = new Uint32Array(Math.max(this.#released.length * 2, word + 1))
      grown.set(this.#released)
      this.#released = grown
    }
    this.#released[word]! |= 1 << (id & 31)
  }
}
