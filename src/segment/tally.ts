// What is counted, hashed and indexed of a segment's batches as they go by: the same for writing a segment and for
// verifying one.
import { createHash } from 'node:crypto'
import { MillraceError } from '../errors.ts'
import type { CanonicalBatch } from '../kafka/batch.ts'
import type { ReadRecords } from '../kafka/read-records.ts'
import type { Gap, OpenTransaction, SegmentManifest } from './manifest.ts'
import { IndexBuilder } from './offset-index.ts'
import { encodeTxnIndex, TransactionTracker } from './txn-index.ts'

/** What a segment covers and continues. */
export interface SegmentRange {
  readonly baseOffset: number
  /** Exclusive. */
  readonly nextOffset: number
  readonly gaps: readonly Gap[]
  /** Null at the root. */
  readonly previousChainSha256: string | null
  readonly openTransactions: readonly OpenTransaction[]
}

/** The parts of `segment.json` that follow from the batches. */
export type Counted = Pick<
  SegmentManifest,
  | 'firstBatchOffset'
  | 'lastBatchOffset'
  | 'leaderEpochs'
  | 'minTimestamp'
  | 'maxTimestamp'
  | 'records'
  | 'batches'
  | 'logBytes'
  | 'logSha256'
  | 'chainSha256'
  | 'abortedTransactions'
  | 'openTransactions'
>

/** Positions and relative offsets are 32-bit integers in Kafka's index formats. */
const MAX_INDEXED = 2 ** 31 - 1

const LEADER_EPOCH_START = 12
const LEADER_EPOCH_END = 16
const NO_EPOCH = Buffer.alloc(LEADER_EPOCH_END - LEADER_EPOCH_START)

export class Tally {
  readonly #range: SegmentRange
  readonly #log = createHash('sha256')
  #chain: Buffer
  readonly #indexes: IndexBuilder
  readonly #transactions: TransactionTracker
  readonly #leaderEpochs: { epoch: number; startOffset: number }[] = []
  #position = 0
  #reached: number
  #gapsPassed = 0
  #firstBatchOffset: number | null = null
  #lastBatchOffset: number | null = null
  #minTimestamp = Number.POSITIVE_INFINITY
  #maxTimestamp = Number.NEGATIVE_INFINITY
  #records = 0
  #batches = 0

  constructor(range: SegmentRange) {
    this.#range = range
    this.#reached = range.baseOffset
    this.#chain = range.previousChainSha256 === null ? Buffer.alloc(32) : Buffer.from(range.previousChainSha256, 'hex')
    this.#indexes = new IndexBuilder(range.baseOffset)
    this.#transactions = new TransactionTracker(range.openTransactions)
  }

  /** Takes the next batch and what is known of its records. Throws SEGMENT_CORRUPT when it does not follow the one before. */
  add(batch: CanonicalBatch, { count, minTimestamp, maxTimestamp }: ReadRecords): void {
    const { header } = batch
    this.#reach(header.baseOffset)
    this.#checkIndexable(header)
    this.#reached = header.lastOffset + 1
    const wire = batch.toWire()
    this.#log.update(wire)
    this.#chain = createHash('sha256')
      .update(this.#chain)
      .update(wire.subarray(0, LEADER_EPOCH_START))
      .update(NO_EPOCH)
      .update(wire.subarray(LEADER_EPOCH_END))
      .digest()
    this.#indexes.add(header, this.#position)
    this.#transactions.add(batch)
    if (this.#leaderEpochs.at(-1)?.epoch !== header.partitionLeaderEpoch) {
      this.#leaderEpochs.push({ epoch: header.partitionLeaderEpoch, startOffset: header.baseOffset })
    }
    this.#position += wire.length
    this.#firstBatchOffset ??= header.baseOffset
    this.#lastBatchOffset = header.lastOffset
    this.#batches++
    this.#records += count
    this.#minTimestamp = Math.min(this.#minTimestamp, minTimestamp)
    this.#maxTimestamp = Math.max(this.#maxTimestamp, maxTimestamp)
  }

  /** Goes on to `offset` over nothing but gaps. */
  #reach(offset: number): void {
    const { gaps } = this.#range
    for (let gap = gaps[this.#gapsPassed]; gap?.from === this.#reached; gap = gaps[++this.#gapsPassed]) {
      if (gap.to <= gap.from || gap.to > offset) break
      this.#reached = gap.to
    }
    if (this.#reached !== offset) {
      throw new MillraceError(
        'SEGMENT_CORRUPT',
        `offset ${this.#reached} is followed by ${offset}: batches and gaps leave a hole or overlap`
      )
    }
  }

  #checkIndexable({ baseOffset, lastOffset, sizeInBytes }: CanonicalBatch['header']): void {
    const span = lastOffset - this.#range.baseOffset
    const end = this.#position + sizeInBytes
    if (span <= MAX_INDEXED && end <= MAX_INDEXED) return
    throw new MillraceError(
      'SEGMENT_CORRUPT',
      `the batch at offset ${baseOffset} reaches ${span} offsets and ${end} bytes into a segment that begins at ${this.#range.baseOffset}`,
      { hint: `Kafka's indexes reach no further than ${MAX_INDEXED}: a segment must begin before this batch.` }
    )
  }

  /** All that was counted, and the index files. Throws SEGMENT_CORRUPT when the range is not covered to its end. */
  finish(): { counted: Counted; index: Buffer; timeindex: Buffer; txnindex: Buffer } {
    this.#reach(this.#range.nextOffset)
    const left = this.#range.gaps[this.#gapsPassed]
    if (left !== undefined) {
      throw new MillraceError('SEGMENT_CORRUPT', `the gap from ${left.from} to ${left.to} is no gap between batches`)
    }
    const counted: Counted = {
      firstBatchOffset: this.#firstBatchOffset,
      lastBatchOffset: this.#lastBatchOffset,
      leaderEpochs: this.#leaderEpochs,
      minTimestamp: this.#records > 0 ? this.#minTimestamp : null,
      maxTimestamp: this.#records > 0 ? this.#maxTimestamp : null,
      records: this.#records,
      batches: this.#batches,
      logBytes: this.#position,
      logSha256: this.#log.digest('hex'),
      chainSha256: this.#chain.toString('hex'),
      abortedTransactions: this.#transactions.aborted,
      openTransactions: this.#transactions.open
    }
    return { counted, ...this.#indexes.finish(), txnindex: encodeTxnIndex(this.#transactions.aborted) }
  }
}
