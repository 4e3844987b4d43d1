// A log store in memory, over batches that a real broker recorded: what the handlers are tried with.

import type {
  AbortedTransaction,
  LogStore,
  PartitionLog,
  ReadOptions,
  TimedOffset,
  TopicLog
} from '../../src/broker/log-store.ts'
import { assignBaseOffset, batchesOf, CanonicalBatch } from '../../src/kafka/batch.ts'
import { batchFixture } from '../fixtures/load.ts'

export class MemoryLog implements PartitionLog {
  readonly #batches: CanonicalBatch[] = []
  readonly #waiting = new Set<() => void>()
  readonly aborted: AbortedTransaction[] = []
  /** What reading throws. */
  fault: unknown = null
  reads = 0
  startOffset = 0
  #lastStableOffset: number | null = null

  get highWatermark(): number {
    const last = this.#batches.at(-1)
    return last === undefined ? this.startOffset : last.header.lastOffset + 1
  }

  get lastStableOffset(): number {
    return this.#lastStableOffset ?? this.highWatermark
  }

  set lastStableOffset(offset: number) {
    this.#lastStableOffset = offset
  }

  /** How many wait for a change now. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Appends recorded batches under the next offsets, as a broker does. */
  append(...fixtures: string[]): this {
    for (const name of fixtures) {
      const wire = Buffer.from(batchFixture(name).wire)
      assignBaseOffset(wire, 0, this.highWatermark)
      this.#batches.push(CanonicalBatch.fromWire(wire).batch)
    }
    this.wake()
    return this
  }

  /** Takes a stretch of a broker's log as it is. */
  take(log: Buffer): this {
    this.#batches.push(...batchesOf(log))
    return this
  }

  wake(): void {
    for (const resolve of [...this.#waiting]) resolve()
  }

  /** The bytes of the batches by their place. */
  bytes(from = 0, to = this.#batches.length): Buffer {
    return Buffer.concat(this.#batches.slice(from, to).map(batch => batch.toWire()))
  }

  async read(offset: number, { upTo, maxBytes }: ReadOptions): Promise<readonly Buffer[]> {
    this.reads++
    if (this.fault !== null) throw this.fault
    const found: Buffer[] = []
    let size = 0
    for (const batch of this.#batches) {
      const { lastOffset, baseOffset, sizeInBytes } = batch.header
      if (lastOffset < offset) continue
      if (baseOffset >= upTo || (found.length > 0 && size + sizeInBytes > maxBytes)) break
      found.push(batch.toWire())
      size += sizeInBytes
    }
    return found
  }

  abortedTransactions(from: number, to: number): readonly AbortedTransaction[] {
    return this.aborted.filter(({ firstOffset }) => firstOffset >= from && firstOffset < to)
  }

  async offsetForTime(timestamp: number): Promise<TimedOffset | null> {
    if (this.fault !== null) throw this.fault
    return this.#records().find(record => record.timestamp >= timestamp) ?? null
  }

  async maxTimestamp(): Promise<TimedOffset | null> {
    return this.#records().reduce<TimedOffset | null>(
      (max, record) => (max === null || record.timestamp > max.timestamp ? record : max),
      null
    )
  }

  async changed(highWatermark: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.highWatermark > highWatermark) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.add(resolve)
    signal.addEventListener('abort', () => resolve())
    await promise
    this.#waiting.delete(resolve)
  }

  #records(): TimedOffset[] {
    return this.#batches
      .filter(({ header }) => !header.isControl)
      .flatMap(batch => [...batch.records()].map(({ offset, timestamp }) => ({ offset, timestamp })))
  }
}

export class MemoryStore implements LogStore {
  clusterId = 'kmO0NFlued6noGXfTxvvHQ'
  readonly leaderEpoch: number = 0
  readonly #topics = new Map<string, TopicLog>()

  /** Adds a topic, with one empty partition unless told. */
  add(name: string, topicId: string, partitions: readonly PartitionLog[] = [new MemoryLog()]): TopicLog {
    const topic = { name, topicId, partitions }
    this.#topics.set(name, topic)
    return topic
  }

  remove(name: string): void {
    this.#topics.delete(name)
  }

  async topics(): Promise<readonly TopicLog[]> {
    return [...this.#topics.values()]
  }

  async topic(name: string): Promise<TopicLog | undefined> {
    return this.#topics.get(name)
  }

  async topicById(topicId: string): Promise<TopicLog | undefined> {
    return (await this.topics()).find(topic => topic.topicId === topicId)
  }
}

export const ORDERS_ID = 'WJfmqNh2Sqi5uHgTOj6Rqg'

/** A store with the topic `orders`: one partition of three batches with the offsets 0 to 4, 5 to 9 and 10 to 14. */
export function ordersStore(): { store: MemoryStore; log: MemoryLog } {
  const store = new MemoryStore()
  const log = new MemoryLog().append('java-none', 'kafkajs-gzip', 'librdkafka-lz4')
  store.add('orders', ORDERS_ID, [log])
  return { store, log }
}
