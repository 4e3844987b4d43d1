// Where the batches of all partitions lie: on the disk in the WAL, and the latest of them in memory.
import { MillraceError } from '../../errors.ts'
import type { WalEntry, WalReader } from '../../wal/reader.ts'
import type { StreamKey } from '../../wal/stream.ts'
import type { CapturedBatch, Wal } from '../../wal/wal.ts'
import type { Tail } from './tail.ts'

export interface StoredBatch {
  readonly baseOffset: number
  readonly wire: Buffer
}

export interface StoredRange {
  /** The batch that holds it comes first. */
  readonly from: number
  /** The first offset that is not wanted. */
  readonly to: number
  /** What is wanted; a batch more may come. */
  readonly maxBytes: number
}

export class Storage {
  readonly wal: Wal
  readonly tail: Tail
  readonly #reader: WalReader
  /** Forgets the oldest where a batch needs room. Throws WAL_FAILED, and WAL_FULL when too much is under way to the disk. */
  readonly makeRoom: (bytes: number) => void

  constructor(parts: { wal: Wal; reader: WalReader; tail: Tail; makeRoom: (bytes: number) => void }) {
    this.wal = parts.wal
    this.tail = parts.tail
    this.#reader = parts.reader
    this.makeRoom = parts.makeRoom
  }

  /** Resolves when the batch is on the disk; there is room, since `makeRoom` has returned. Rejects with WAL_FAILED. */
  async append(batch: CapturedBatch): Promise<void> {
    // Beyond the WAL's own limit, which counts also the files that are being deleted.
    await this.wal.append([batch], { keepRepeats: true, beyondLimit: true })
  }

  /** A stream's batches from the disk, by offset. Throws OBJECT_MISSING for what was deleted meanwhile, WAL_CORRUPT. */
  *read(stream: StreamKey, { from, to, maxBytes }: StoredRange): Generator<StoredBatch> {
    for (const entry of this.#entries(stream, { from, to, maxBytes })) {
      const record = this.#reader.read(entry)
      if (record.version !== 2) {
        throw new MillraceError('WAL_CORRUPT', `a single record lies among batches, at ${entry.baseOffset}`)
      }
      yield { baseOffset: entry.baseOffset, wire: record.batch }
    }
  }

  /** Released rows at offsets that are in use are those of appends that failed and reached the disk all the same. */
  #entries(stream: StreamKey, { from, to, maxBytes }: StoredRange): WalEntry[] {
    const entries = this.#reader.entries(stream, from, to, maxBytes)
    const live = entries.filter(({ file, id }) => !this.wal.isReleased(file, id))
    if (live.length > 0 || entries.length === 0 || maxBytes === Number.POSITIVE_INFINITY) return live
    return this.#entries(stream, { from, to, maxBytes: Number.POSITIVE_INFINITY })
  }
}
