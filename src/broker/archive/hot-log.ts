// The captured batches of one partition that follow on its archive, in the WAL of a worker beside us.
import { setImmediate as breathe } from 'node:timers/promises'
import { isMillraceError } from '../../errors.ts'
import type { CanonicalBatch } from '../../kafka/batch.ts'
import { encodeBatch } from '../../kafka/batch.ts'
import { NO_RECORDS } from '../../kafka/read-records.ts'
import type { TransactionStep } from '../../segment/txn-index.ts'
import { transactionStep } from '../../segment/txn-index.ts'
import { WalRecord } from '../../wal/frame.ts'
import type { WalEntry, WalReader } from '../../wal/reader.ts'
import type { TimedOffset } from '../log-store.ts'
import type { Taken } from './taken.ts'
import { firstSince, readable } from './taken.ts'

export interface HotBatch {
  readonly entry: WalEntry
  readonly step: TransactionStep | null
}

/** How much is read from the WAL before others get their turn: it is read on the main thread. */
const TURN_BYTES = 4 * 1024 * 1024

export class HotLog {
  readonly batches: readonly HotBatch[]
  readonly #wal: WalReader | null

  private constructor(wal: WalReader | null, batches: readonly HotBatch[]) {
    this.#wal = wal
    this.batches = batches
  }

  static readonly EMPTY = new HotLog(null, [])

  /**
   * The log of these entries, which ascend and do not overlap, up to the first that cannot be read: a worker fetches that
   * one from the broker. Each is looked at once for what it means to transactions; what is in `known` is not read again.
   * Throws OBJECT_MISSING when a file was deleted meanwhile.
   */
  static async of(wal: WalReader, entries: readonly WalEntry[], known: HotLog): Promise<HotLog> {
    const before = new Map(known.batches.map(batch => [placeOf(batch.entry), batch]))
    const batches: HotBatch[] = []
    let read = 0
    for (const entry of entries) {
      const one = before.get(placeOf(entry)) ?? readHot(wal, entry)
      if (one === null) break
      batches.push(one)
      read += before.has(placeOf(entry)) ? 0 : entry.bytes
      if (read < TURN_BYTES) continue
      read = 0
      await breathe()
    }
    return new HotLog(wal, batches)
  }

  get lastOffset(): number | null {
    return this.batches.at(-1)?.entry.lastOffset ?? null
  }

  /** Takes batches from where `taken` wants to go on. Throws as `of` does, and WAL_CORRUPT for what was damaged since. */
  read(taken: Taken): void {
    for (const { entry } of this.batches) {
      if (entry.lastOffset < taken.next) continue
      if (!taken.reaches(entry.baseOffset) || !taken.hasRoomFor(entry.bytes)) return
      taken.take(readBatch(this.#wal!, entry))
    }
  }

  /** The first record whose timestamp is not below `timestamp`. Throws as `read` does. */
  async firstSince(timestamp: number): Promise<TimedOffset | null> {
    for await (const batch of this.#all()) {
      const found = firstSince(batch, timestamp)
      if (found !== null) return found
    }
    return null
  }

  /** The highest timestamp of all records; null without any. Throws as `read` does. */
  async maxTimestamp(): Promise<number | null> {
    let max = NO_RECORDS.maxTimestamp
    for await (const batch of this.#all()) max = Math.max(max, readable(batch).maxTimestamp)
    return Number.isFinite(max) ? max : null
  }

  /** Every batch. Headers are not asked: a producer may have put a wrong max timestamp there, which sealing corrects. */
  async *#all(): AsyncGenerator<CanonicalBatch> {
    let read = 0
    for (const { entry } of this.batches) {
      yield readBatch(this.#wal!, entry)
      read += entry.bytes
      if (read < TURN_BYTES) continue
      read = 0
      await breathe()
    }
  }
}

function placeOf({ file, id }: WalEntry): string {
  return `${file}:${id}`
}

/** Null where the WAL's file is damaged. */
function readHot(wal: WalReader, entry: WalEntry): HotBatch | null {
  try {
    return { entry, step: transactionStep(readBatch(wal, entry)) }
  } catch (error) {
    if (isMillraceError(error, 'WAL_CORRUPT')) return null
    throw error
  }
}

/** The bytes are the reader's copy, so ours to change. */
function readBatch(wal: WalReader, entry: WalEntry): CanonicalBatch {
  const frame = wal.read(entry)
  return frame.version === 1 ? encodeBatch([frame]) : WalRecord.toCanonical(frame)
}
