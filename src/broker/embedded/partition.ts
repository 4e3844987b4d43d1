// The log of one partition: it gives offsets in the order of the calls, and shows readers only what is on the disk.
import { MillraceError } from '../../errors.ts'
import type { BatchHeader } from '../../kafka/batch.ts'
import { assignBaseOffset, assignLeaderEpoch, CanonicalBatch } from '../../kafka/batch.ts'
import type { KafkaRecord } from '../../kafka/records.ts'
import type { StreamKey } from '../../wal/stream.ts'
import type { AbortedTransaction, PartitionLog, ReadOptions, TimedOffset } from '../log-store.ts'
import { LogIndex } from './log-index.ts'
import type { RememberedBatch } from './producer-state.ts'
import { ProducerStates } from './producer-state.ts'
import type { Refusal } from './refusal.ts'
import { isRefusal } from './refusal.ts'
import type { Storage } from './storage.ts'
import { LogTail } from './tail.ts'

/** There is one leader, and it never changes. */
export const LEADER_EPOCH = 0

/** More offsets than a batch has: an end that far off is itself damaged. */
const MOST_LOST = 1_000_000

export interface Appended {
  readonly baseOffset: number
  /** Of a LogAppendTime topic, and of a batch that was there already; otherwise -1. */
  readonly logAppendTimeMs: number
}

/** A batch that has its offsets and is on its way to the disk. */
interface Pending {
  readonly baseOffset: number
  readonly lastOffset: number
  readonly maxTimestamp: number
  readonly wire: Buffer
  /** Makes the producer's state what it was. */
  readonly undo: () => void
  confirmed?: Promise<void>
}

export class EmbeddedPartition implements PartitionLog {
  readonly stream: StreamKey
  readonly #storage: Storage
  readonly #index = new LogIndex()
  readonly #producers = new ProducerStates()
  readonly #tail = new LogTail()
  /** In order of their offsets. */
  readonly #pending: Pending[] = []
  readonly #waiters = new Set<() => void>()
  #startOffset: number
  #highWatermark: number
  #nextOffset: number
  #gone = false

  /** A log that begins, and ends, at an offset. */
  constructor(stream: StreamKey, storage: Storage, startOffset: number) {
    this.stream = stream
    this.#storage = storage
    this.#startOffset = this.#highWatermark = this.#nextOffset = startOffset
  }

  get startOffset(): number {
    return this.#startOffset
  }

  get highWatermark(): number {
    return this.#highWatermark
  }

  /** There are no transactions. */
  get lastStableOffset(): number {
    return this.#highWatermark
  }

  abortedTransactions(): readonly AbortedTransaction[] {
    return []
  }

  /** Takes in the next batch that the disk holds already. */
  recover(header: BatchHeader): void {
    this.#index.add(header.baseOffset, header.maxTimestamp)
    this.#producers.add(header)
    this.#highWatermark = this.#nextOffset = header.lastOffset + 1
  }

  /** Takes note that the disk held a batch that cannot be read any more: its offsets are not given again. */
  recoverLost(baseOffset: number, lastOffset: number): void {
    const follows = baseOffset === this.#nextOffset && lastOffset >= baseOffset && lastOffset - baseOffset < MOST_LOST
    if (follows) this.#highWatermark = this.#nextOffset = lastOffset + 1
  }

  /**
   * Appends a batch that is checked. Its offsets are given before this returns; the promise resolves when it is on the disk, and
   * rejects with WAL_FAILED or WAL_FULL when it is not, nor anything that was appended behind it. A refusal changes nothing.
   */
  append(batch: CanonicalBatch): Promise<Appended> | Refusal {
    const { header } = batch
    const known = this.#producers.judge(header)
    if (known === null) return this.#appendNew(batch)
    return isRefusal(known) ? known : this.#repeated(known)
  }

  async #appendNew(batch: CanonicalBatch): Promise<Appended> {
    const { header } = batch
    this.#storage.makeRoom(header.sizeInBytes)
    const baseOffset = this.#nextOffset
    const lastOffset = baseOffset + header.lastOffset - header.baseOffset
    const wire = Buffer.from(batch.toWire()) // of its own: what came is a piece of a whole request
    assignBaseOffset(wire, 0, baseOffset)
    assignLeaderEpoch(wire, 0, LEADER_EPOCH)
    const { maxTimestamp, recordCount, timestampType } = header
    const undo = this.#producers.add({ ...header, baseOffset, lastOffset })
    const pending: Pending = { baseOffset, lastOffset, maxTimestamp, wire, undo }
    this.#pending.push(pending)
    this.#nextOffset = lastOffset + 1
    pending.confirmed = this.#store(pending, recordCount)
    await pending.confirmed
    return { baseOffset, logAppendTimeMs: timestampType === 'LogAppendTime' ? maxTimestamp : -1 }
  }

  async #store(pending: Pending, recordCount: number): Promise<void> {
    const { baseOffset, lastOffset, wire } = pending
    try {
      await this.#storage.append({ stream: this.stream, baseOffset, lastOffset, recordCount, flags: 0, chunks: [wire] })
    } catch (error) {
      this.#rollBack(pending)
      throw error
    }
    this.#confirm(pending)
  }

  /** As UnifiedLog.append in apache/kafka answers it; but the original may not be on the disk yet. */
  async #repeated({ baseOffset, maxTimestamp }: RememberedBatch): Promise<Appended> {
    await this.#pending.find(pending => pending.baseOffset === baseOffset)?.confirmed
    return { baseOffset, logAppendTimeMs: maxTimestamp }
  }

  #confirm(pending: Pending): void {
    if (this.#pending[0] !== pending) {
      throw new MillraceError('WAL_FAILED', `a batch before the one at offset ${pending.baseOffset} was not stored`)
    }
    this.#pending.shift()
    const { baseOffset, lastOffset, maxTimestamp, wire } = pending
    this.#index.add(baseOffset, maxTimestamp)
    this.#storage.tail.add(this.#tail, { baseOffset, lastOffset, wire })
    this.#highWatermark = lastOffset + 1
    if (this.#gone) this.#storage.wal.releaseStreams([this.stream]) // deleted while this was on its way
    this.#wake()
  }

  /** What was appended behind it goes with it: the WAL stores none of that either, and says so later. */
  #rollBack(pending: Pending): void {
    const place = this.#pending.indexOf(pending)
    if (place < 0) return
    for (const { undo } of this.#pending.splice(place).reverse()) undo()
    this.#nextOffset = pending.baseOffset
  }

  async read(offset: number, { upTo, maxBytes }: ReadOptions): Promise<readonly Buffer[]> {
    if (this.#gone || offset < this.#startOffset) {
      const { topic, partition } = this.stream
      throw new MillraceError('OBJECT_MISSING', `${topic}-${partition} has no offset ${offset} any more`)
    }
    const end = Math.min(upTo, this.#highWatermark)
    if (offset >= end) return []
    const batches = this.#tail.reachesBackTo(offset)
      ? this.#tail.from(offset)
      : this.#storage.read(this.stream, { from: offset, to: end, maxBytes })
    const read: Buffer[] = []
    let bytes = 0
    for (const { baseOffset, wire } of batches) {
      bytes += wire.length
      if (baseOffset >= end || (read.length > 0 && bytes > maxBytes)) break
      read.push(wire)
    }
    return read
  }

  async offsetForTime(timestamp: number): Promise<TimedOffset | null> {
    return this.#firstRecord(this.#index.baseAtTime(timestamp), record => record.timestamp >= timestamp)
  }

  async maxTimestamp(): Promise<TimedOffset | null> {
    const base = this.#index.baseOfMaxTimestamp()
    return this.#firstRecord(base, ({ timestamp }, { maxTimestamp }) => timestamp === maxTimestamp)
  }

  async #firstRecord(
    base: number | undefined,
    isWanted: (record: KafkaRecord, header: BatchHeader) => boolean
  ): Promise<TimedOffset | null> {
    if (base === undefined) return null
    const [wire] = await this.read(base, { upTo: base + 1, maxBytes: 0 })
    const { batch } = CanonicalBatch.fromWire(wire!)
    for (const record of batch.records()) {
      if (isWanted(record, batch.header)) return { offset: record.offset, timestamp: record.timestamp }
    }
    return null
  }

  async changed(highWatermark: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#gone || this.#highWatermark > highWatermark) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const wake = () => resolve()
    this.#waiters.add(wake)
    signal.addEventListener('abort', wake)
    await promise
    this.#waiters.delete(wake)
    signal.removeEventListener('abort', wake)
  }

  #wake(): void {
    for (const wake of this.#waiters) wake()
  }

  /** Where the log would begin if nothing up to an offset were kept. */
  startBehind(offset: number): number {
    return Math.max(this.#startOffset, this.#index.baseAbove(offset) ?? this.#highWatermark)
  }

  /** Forgets what lies below an offset, which is that of a batch. */
  startAt(offset: number): void {
    this.#startOffset = offset
    this.#index.dropBelow(offset)
    this.#producers.forgetBelow(offset)
    this.#wake()
  }

  /** The topic was deleted. */
  remove(): void {
    this.#gone = true
    this.#wake()
  }
}
