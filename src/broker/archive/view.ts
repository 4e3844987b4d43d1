// What is known of one partition at one moment: its segments, what the WAL has after them, and the numbers that follow.
import type { Chain, Link } from '../../archive/archive.ts'
import { TransactionTracker } from '../../segment/txn-index.ts'
import type { AbortedTransaction } from '../log-store.ts'
import type { HotLog } from './hot-log.ts'

export class PartitionView {
  readonly chain: Chain
  readonly hot: HotLog
  readonly startOffset: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly #hotTransactions: TransactionTracker

  constructor(chain: Chain, hot: HotLog) {
    const { links, end } = chain
    this.chain = chain
    this.hot = hot
    const firstHot = hot.batches[0]?.entry.baseOffset
    this.startOffset = links[0]?.manifest.baseOffset ?? (chain.root === null ? (firstHot ?? 0) : end)
    // A gap at the very end is not counted, so that whoever reads to the end gets there.
    const last = hot.lastOffset ?? links.findLast(isFilled)?.manifest.lastBatchOffset ?? null
    this.highWatermark = last === null ? this.startOffset : last + 1
    this.#hotTransactions = new TransactionTracker(links.at(-1)?.manifest.openTransactions ?? [])
    for (const { step } of hot.batches) if (step !== null) this.#hotTransactions.take(step)
    const open = this.#hotTransactions.open.map(({ firstOffset }) => firstOffset)
    this.lastStableOffset = Math.max(this.startOffset, Math.min(this.highWatermark, ...open))
  }

  /** The offset that the next captured batch has if nothing is missing before it; null if any offset may be the first. */
  get next(): number | null {
    const { root, end } = this.chain
    const { lastOffset } = this.hot
    return lastOffset !== null ? lastOffset + 1 : root === null ? null : end
  }

  /** The segments that hold batches at or above an offset. */
  *filledFrom(offset: number): Generator<Link> {
    for (const link of this.chain.links) if (link.manifest.nextOffset > offset && isFilled(link)) yield link
  }

  /** Aborted transactions with records in [from, to). As TransactionIndex.collectAbortedTxns in apache/kafka. */
  abortedTransactions(from: number, to: number): AbortedTransaction[] {
    const found: AbortedTransaction[] = []
    for (const { firstOffset, lastOffset, lastStableOffset, producerId } of this.#aborted(from)) {
      if (lastOffset >= from && firstOffset < to) found.push({ producerId, firstOffset })
      // Nothing that ended later can have begun below.
      if (lastStableOffset >= to) break
    }
    return found
  }

  /** In the order of their markers, from the segment that holds an offset on. */
  *#aborted(from: number) {
    for (const { manifest } of this.chain.links) if (manifest.nextOffset > from) yield* manifest.abortedTransactions
    yield* this.#hotTransactions.aborted
  }
}

function isFilled({ manifest }: Link): boolean {
  return manifest.lastBatchOffset !== null
}
