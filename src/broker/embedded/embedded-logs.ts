// The embedded broker's topics: a WAL of its own for their batches, and a small database for everything else. It keeps what it
// took until its size limit, and then forgets the oldest, whichever topic it belongs to.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { MillraceError } from '../../errors.ts'
import { WalReader } from '../../wal/reader.ts'
import type { RecoveryReport } from '../../wal/recovery-report.ts'
import type { StreamKey } from '../../wal/stream.ts'
import { streamId } from '../../wal/stream.ts'
import type { WalHealth } from '../../wal/wal.ts'
import { Wal } from '../../wal/wal.ts'
import type { LogStore, TopicLog } from '../log-store.ts'
import { MetaStore, newId } from './meta-store.ts'
import { EmbeddedPartition, LEADER_EPOCH } from './partition.ts'
import { recoverPartition } from './recovery.ts'
import { Storage } from './storage.ts'
import { Tail } from './tail.ts'
import type { TopicSettings } from './topic-configs.ts'

export interface EmbeddedLogsOptions {
  /** Holds `wal/` and `meta.db`; made if it is not there. */
  readonly directory: string
  /** What the logs may take on the disk. */
  readonly maxBytes: number
}

export interface EmbeddedTopic extends TopicLog {
  readonly partitions: readonly EmbeddedPartition[]
  readonly settings: TopicSettings
}

/** Bytes of batches in memory for consumers that keep up. */
const TAIL_BYTES = 32 * 1024 * 1024
/**
 * The part of `maxBytes` beyond which the oldest file is forgotten; the rest is for what is under way to the disk. A file
 * ends with the commit that brings it to a quarter of `maxBytes`, so there is always one before the newest by then.
 */
const KEPT_PART = 0.75
/** Producer ids that are taken with one write. */
const PRODUCER_ID_BLOCK = 1000

interface Parts {
  readonly wal: Wal
  readonly reader: WalReader
  readonly meta: MetaStore
  readonly maxBytes: number
}

type Topic = EmbeddedTopic & { readonly partitions: EmbeddedPartition[] }

export class EmbeddedLogs implements LogStore, AsyncDisposable {
  readonly leaderEpoch = LEADER_EPOCH
  readonly #parts: Parts
  readonly #storage: Storage
  readonly #topics = new Map<string, Topic>()
  readonly #topicsById = new Map<string, Topic>()
  readonly #partitions = new Map<string, EmbeddedPartition>()
  #producerIds = { next: 0, end: 0 }

  private constructor(parts: Parts) {
    this.#parts = parts
    const { wal, reader } = parts
    this.#storage = new Storage({ wal, reader, tail: new Tail(TAIL_BYTES), makeRoom: bytes => this.#makeRoom(bytes) })
    this.#recover()
  }

  /**
   * Opens what an earlier run left, or begins anew with a new cluster id. Throws DATA_LOCKED, CONFIG_INVALID, WAL_CORRUPT or
   * WAL_FAILED.
   */
  static async open({ directory, maxBytes }: EmbeddedLogsOptions): Promise<EmbeddedLogs> {
    const folder = join(directory, 'wal')
    mkdirSync(folder, { recursive: true })
    const wal = await Wal.open({ directory: folder, maxBytes }) // first, since it locks the folder
    const reader = WalReader.open(folder)
    let meta: MetaStore | undefined
    try {
      meta = MetaStore.open(join(directory, 'meta.db'))
      return new EmbeddedLogs({ wal, reader, meta, maxBytes })
    } catch (error) {
      meta?.[Symbol.dispose]()
      reader.close()
      await wal.close()
      throw error
    }
  }

  #recover(): void {
    const { wal, reader, meta } = this.#parts
    const starts = new Map(
      meta.logStarts().map(({ topicId, partition, offset }) => [`${topicId} ${partition}`, offset])
    )
    for (const { name, topicId, partitionCount, settings } of meta.topics()) {
      const topic = this.#add({ name, topicId, settings, partitions: [] })
      this.#grow(topic, partitionCount, partition => starts.get(`${topicId} ${partition}`) ?? 0)
    }
    const streams = reader.streams()
    wal.releaseStreams(streams.filter(stream => !this.#partitions.has(streamId(stream)))) // of topics that were deleted
    for (const partition of this.#partitions.values()) recoverPartition(partition, wal, reader)
    reader.close()
  }

  get clusterId(): string {
    return this.#parts.meta.clusterId
  }

  /** What the start found of earlier runs. */
  get recovery(): RecoveryReport {
    return this.#parts.wal.recovery
  }

  /** Whether batches would be taken now. */
  get health(): WalHealth {
    return this.#parts.wal.health
  }

  /** What the logs take on the disk. */
  get bytes(): number {
    return this.#parts.wal.bytes
  }

  async topics(): Promise<readonly EmbeddedTopic[]> {
    return [...this.#topics.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  async topic(name: string): Promise<EmbeddedTopic | undefined> {
    return this.find(name)
  }

  async topicById(topicId: string): Promise<EmbeddedTopic | undefined> {
    return this.findById(topicId)
  }

  find(name: string): EmbeddedTopic | undefined {
    return this.#topics.get(name)
  }

  findById(topicId: string): EmbeddedTopic | undefined {
    return this.#topicsById.get(topicId)
  }

  /** Makes a topic under a name that is not taken; it is on the disk when this returns. Throws WAL_FAILED. */
  createTopic(name: string, partitionCount: number, settings: TopicSettings): EmbeddedTopic {
    const topic = { name, topicId: newId(), settings, partitions: [] }
    this.#parts.meta.addTopic({ name, topicId: topic.topicId, partitionCount, settings })
    this.#add(topic)
    this.#grow(topic, partitionCount)
    return topic
  }

  #add(topic: Topic): Topic {
    this.#topics.set(topic.name, topic)
    this.#topicsById.set(topic.topicId, topic)
    return topic
  }

  /** The topic of that name, made with one partition if there is none. Throws WAL_FAILED. */
  async createOnFirstUse(name: string): Promise<EmbeddedTopic> {
    return this.find(name) ?? this.createTopic(name, 1, {})
  }

  /** Gives a topic more partitions. Throws WAL_FAILED. */
  addPartitions({ name, topicId }: EmbeddedTopic, count: number): void {
    this.#parts.meta.setPartitionCount(topicId, count)
    this.#grow(this.#topics.get(name)!, count)
  }

  #grow(topic: Topic, count: number, startOffset: (partition: number) => number = () => 0): void {
    const { name, topicId, partitions } = topic
    for (let partition = partitions.length; partition < count; partition++) {
      const stream = { clusterId: this.clusterId, topic: name, topicId, partition }
      const log = new EmbeddedPartition(stream, this.#storage, startOffset(partition))
      partitions.push(log)
      this.#partitions.set(streamId(stream), log)
    }
  }

  /** Deletes a topic with all that is in it. Throws WAL_FAILED. */
  deleteTopic({ name, topicId, partitions }: EmbeddedTopic): void {
    this.#parts.meta.removeTopic(topicId)
    this.#topics.delete(name)
    this.#topicsById.delete(topicId)
    for (const partition of partitions) {
      this.#partitions.delete(streamId(partition.stream))
      partition.remove()
    }
    this.#parts.reader.close() // what it has open takes its space
    this.#parts.wal.releaseStreams(partitions.map(({ stream }) => stream))
  }

  /** A producer id that nobody else has had. Throws WAL_FAILED. */
  nextProducerId(): number {
    if (this.#producerIds.next === this.#producerIds.end) {
      const next = this.#parts.meta.takeProducerIds(PRODUCER_ID_BLOCK)
      this.#producerIds = { next, end: next + PRODUCER_ID_BLOCK }
    }
    return this.#producerIds.next++
  }

  /** Forgets the oldest files until there is room for a batch. Throws WAL_FAILED, and WAL_FULL when too much is under way. */
  #makeRoom(bytes: number): void {
    const { wal, reader, meta, maxBytes } = this.#parts
    while (wal.heldBytes > maxBytes * KEPT_PART) {
      const oldest = wal.oldestFile()
      if (oldest === undefined) break
      const begins = [...oldest.lastOffsets].flatMap(([stream, last]) => this.#beginBehind(stream, last))
      meta.setLogStarts(begins.map(({ log, offset }) => ({ ...log.stream, offset })))
      for (const { log, offset } of begins) log.startAt(offset)
      reader.close() // what it has open takes its space
      wal.releaseFile(oldest.file)
    }
    const limit = maxBytes * (1 - KEPT_PART)
    if (wal.waitingBytes + bytes > limit) {
      throw new MillraceError(
        'WAL_FULL',
        `${wal.waitingBytes} bytes wait for the disk, and ${bytes} more exceed ${limit}`
      )
    }
  }

  #beginBehind(stream: StreamKey, lastOffset: number): { log: EmbeddedPartition; offset: number }[] {
    const log = this.#partitions.get(streamId(stream))
    return log === undefined ? [] : [{ log, offset: log.startBehind(lastOffset) }]
  }

  /** Waits for the appends that are under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { wal, reader, meta } = this.#parts
    reader.close()
    await wal.close()
    meta[Symbol.dispose]()
  }
}
