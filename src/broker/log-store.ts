// Topics and their logs as the protocol sees them. Two things are behind it: the embedded broker's own logs, and an archive.

export interface TopicLog {
  readonly name: string
  /** Base64, as Kafka prints it. */
  readonly topicId: string
  /** By partition number, without holes. */
  readonly partitions: readonly PartitionLog[]
}

export interface LogStore {
  readonly clusterId: string
  /** Stamped into every batch and told in Metadata; -1 where none is known, then clients do not check it. */
  readonly leaderEpoch: number
  /** All topics, by name. */
  topics(): Promise<readonly TopicLog[]>
  /** One topic by its name; undefined if there is none. */
  topic(name: string): Promise<TopicLog | undefined>
  /** One topic by its id. */
  topicById(topicId: string): Promise<TopicLog | undefined>
}

/** An offset and the timestamp of its record. */
export interface TimedOffset {
  readonly offset: number
  readonly timestamp: number
}

export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
}

export interface ReadOptions {
  /** Batches that begin at or above this offset are not given. */
  readonly upTo: number
  /** What is given has no more bytes than this, but for a first batch that alone is larger. */
  readonly maxBytes: number
}

/**
 * The log of one partition. Offsets at or above `highWatermark` are not there yet for readers. Where it cannot be told what
 * there is, everything but `changed` throws the reason, the three numbers too.
 */
export interface PartitionLog {
  /** The first offset that can be read. */
  readonly startOffset: number
  /** One more than the last offset that can be read. */
  readonly highWatermark: number
  /** No offset below it belongs to a transaction without an outcome. */
  readonly lastStableOffset: number

  /**
   * Whole batches, as they are on the wire: that which holds `offset` first, or the next one where the offset lies in a gap,
   * and those that follow. Empty when there is nothing below `upTo`. The batches carry their own base offsets and the
   * store's leader epoch. Throws OBJECT_MISSING when the offset was deleted meanwhile, and what reading throws.
   */
  read(offset: number, options: ReadOptions): Promise<readonly Buffer[]>

  /** Aborted transactions that have records in [from, to), for clients that read committed records only. */
  abortedTransactions(from: number, to: number): readonly AbortedTransaction[]

  /** The first record whose timestamp is not below `timestamp`; null if there is none. */
  offsetForTime(timestamp: number): Promise<TimedOffset | null>

  /** The first of the records with the highest timestamp; null where there are no records. */
  maxTimestamp(): Promise<TimedOffset | null>

  /**
   * Resolves when more can be read than up to `highWatermark`, as given, or the log starts elsewhere, or the topic is gone;
   * or when the signal is aborted. Never rejects.
   */
  changed(highWatermark: number, signal: AbortSignal): Promise<void>
}
