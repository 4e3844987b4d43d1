// Transactions of a log: which are open, which were aborted, and Kafka's `.txnindex` of the latter.
// Layout of an entry: version int16 (0), producer id, first offset, last offset, last stable offset, each int64.
import type { CanonicalBatch } from '../kafka/batch.ts'
import { transactionMarker } from '../kafka/batch.ts'
import { writeInt64 } from '../kafka/cursor.ts'
import type { OpenTransaction, SegmentManifest } from './manifest.ts'

type AbortedTransaction = SegmentManifest['abortedTransactions'][number]

const ENTRY_BYTES = 34

/** What a batch means to its producer's transaction. */
export interface TransactionStep {
  readonly producerId: number
  readonly baseOffset: number
  readonly marker: 'data' | 'abort' | 'commit'
}

/** Null for a batch that means nothing to a transaction, or states an id that no coordinator gives. */
export function transactionStep(batch: CanonicalBatch): TransactionStep | null {
  const { isTransactional, isControl, producerId, baseOffset } = batch.header
  const marker =
    isTransactional && Number.isSafeInteger(producerId) ? (isControl ? transactionMarker(batch) : 'data') : null
  return marker === null ? null : { producerId, baseOffset, marker }
}

export class TransactionTracker {
  /** Producer id → first offset, in the order in which they began. */
  readonly #open: Map<number, number>
  readonly aborted: AbortedTransaction[] = []

  constructor(open: readonly OpenTransaction[]) {
    this.#open = new Map(open.map(({ producerId, firstOffset }) => [producerId, firstOffset]))
  }

  add(batch: CanonicalBatch): void {
    const step = transactionStep(batch)
    if (step !== null) this.take(step)
  }

  take({ producerId, baseOffset, marker }: TransactionStep): void {
    if (marker === 'data') {
      if (!this.#open.has(producerId)) this.#open.set(producerId, baseOffset)
      return
    }
    const firstOffset = this.#open.get(producerId)
    if (firstOffset === undefined) return
    this.#open.delete(producerId)
    if (marker === 'abort') {
      // What is stable after this marker: up to the first transaction that is still open, else the marker itself.
      const lastStableOffset = Math.min(baseOffset + 1, ...this.#open.values())
      this.aborted.push({ producerId, firstOffset, lastOffset: baseOffset, lastStableOffset })
    }
  }

  get open(): OpenTransaction[] {
    return [...this.#open].map(([producerId, firstOffset]) => ({ producerId, firstOffset }))
  }
}

/** The contents of `.txnindex`. */
export function encodeTxnIndex(aborted: readonly AbortedTransaction[]): Buffer {
  const index = Buffer.alloc(aborted.length * ENTRY_BYTES)
  aborted.forEach(({ producerId, firstOffset, lastOffset, lastStableOffset }, i) => {
    ;[producerId, firstOffset, lastOffset, lastStableOffset].forEach((value, field) => {
      writeInt64(index, value, i * ENTRY_BYTES + 2 + field * 8)
    })
  })
  return index
}
