// The broker's side of sealing: how far its log is safe, whether it stores what it was sent, and what was not captured.
import type { Logger } from 'pino'
import { MillraceError } from '../errors.ts'
import type { CanonicalBatch } from '../kafka/batch.ts'
import type { Cluster } from '../kafka/cluster.ts'
import { EARLIEST, LATEST } from '../kafka/cluster.ts'
import type { Gap, GapReason } from '../segment/manifest.ts'
import type { WalEntry } from '../wal/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import { streamId } from '../wal/stream.ts'
import { damageAt, endOfSame, soundBatchesOf } from './damaged.ts'
import type { SegmentBuilder } from './segment-builder.ts'
import type { OffsetRange } from './settle.ts'
import type { Misfiled } from './successor.ts'
import { misfiled } from './successor.ts'

export interface LogState {
  /** False for a topic that was deleted, or deleted and made anew: what was captured is all there will ever be. */
  readonly exists: boolean
  /** The first offset that the broker's log holds. */
  readonly start: number
  /** The high watermark: what lies above it may still vanish. */
  readonly end: number
  /** The newest that was heard of; -1 for none. */
  readonly leaderEpoch: number
}

/** What the broker has for holes. */
export interface Filled {
  readonly batches: readonly CanonicalBatch[]
  /** Parts of the holes for which it has nothing, in offset order. */
  readonly gaps: readonly Gap[]
}

/** Whether the settings of a topic make the broker store batches otherwise than they are sent: other times, another codec. */
export interface Rewriting {
  readonly rewrites: boolean
  /** Until then they did, in epoch ms, as far as is known; 0 for never. */
  readonly rewroteUntil: number
}

const neverRewritten: Rewriting = { rewrites: false, rewroteUntil: 0 }

/** A broker may not have heard of a topic yet: one is believed gone only after so long, and if then none of the brokers knows it. */
const GONE_AFTER_MS = 5_000

/** What to read behind a damaged batch: a broker takes batches of up to 1 MiB, unless it is told otherwise. */
const BEHIND_DAMAGE_BYTES = 2 * 1024 * 1024

const GONE: LogState = { exists: false, start: 0, end: Number.MAX_SAFE_INTEGER, leaderEpoch: -1 }

export class BrokerLog {
  readonly #cluster: Cluster
  readonly #logger: Logger
  /** By stream: since when, by `performance.now()`, the cluster says that it does not know the topic. */
  readonly #missingSince = new Map<string, number>()
  readonly #rewriting = new Map<string, Rewriting & { readonly askedAt: number }>()
  /** By stream: where something seemed damaged, and how much is to be read once more, since a quota may leave nothing for that now. */
  readonly #doubtful = new Map<string, { readonly from: number; readonly bytes: number }>()

  constructor(cluster: Cluster, logger: Logger) {
    this.#cluster = cluster
    this.#logger = logger
  }

  /** The state of a partition's log. Throws BROKER_ERROR, BROKER_UNREACHABLE. */
  async state(stream: StreamKey): Promise<LogState> {
    const clusterId = await this.#cluster.clusterId()
    if (stream.clusterId !== clusterId) {
      const what = `${stream.topic}-${stream.partition} was captured from the cluster ${stream.clusterId}, this is ${clusterId}`
      const hint = 'What waits of it is archived when a worker runs with this data folder before that cluster again.'
      throw new MillraceError('BROKER_ERROR', what, { hint, retriable: true })
    }
    const [found] = await this.#cluster.refresh([stream.topic])
    if (found?.topicId !== stream.topicId) return await this.#gone(stream)
    this.#missingSince.delete(streamId(stream))
    // To ask nobody, again and again, would keep all other partitions waiting for half a minute.
    if ((found.leaders.get(stream.partition) ?? -1) < 0) {
      const what = `${stream.topic}-${stream.partition} has no leader`
      throw new MillraceError('BROKER_ERROR', what, { hint: 'Is the broker up that leads it?', retriable: true })
    }
    return {
      exists: true,
      start: await this.#cluster.listOffset(stream, EARLIEST),
      end: await this.#cluster.listOffset(stream, LATEST),
      leaderEpoch: this.#cluster.epochs.newest(stream.topicId, stream.partition)
    }
  }

  async #gone(stream: StreamKey): Promise<LogState> {
    const id = streamId(stream)
    const since = this.#missingSince.get(id) ?? performance.now()
    this.#missingSince.set(id, since)
    if (performance.now() - since >= GONE_AFTER_MS && !(await this.#cluster.knows(stream))) return GONE
    throw new MillraceError('BROKER_ERROR', `the cluster does not know topic ${stream.topic} (${stream.topicId})`, {
      retriable: true
    })
  }

  /**
   * Whether the settings of a topic had the broker rewrite batches that were captured up to `asOf`, in epoch ms. They are asked for
   * anew only for later ones, and not for a topic that is gone: another may have its name. Throws BROKER_ERROR.
   */
  async rewriting({ topic, topicId }: StreamKey, asOf: number, { exists }: LogState): Promise<Rewriting> {
    const known = this.#rewriting.get(topicId)
    if (!exists) return known ?? neverRewritten
    const askedAt = Date.now()
    const wasSetBack = (known?.askedAt ?? 0) > askedAt // the clock: what is captured from now on would seem to be older
    if (known !== undefined && known.askedAt > asOf && !wasSetBack) return known
    const { timestampType, compressionType } = await this.#cluster.topicSettings(topic)
    const rewrites = timestampType === 'LogAppendTime' || compressionType !== 'producer'
    const rewroteUntil = known?.rewrites ? Date.now() : (known?.rewroteUntil ?? 0)
    const answer = { askedAt, rewrites, rewroteUntil }
    this.#rewriting.set(topicId, answer)
    return answer
  }

  /**
   * Where the log of each of these leader epochs ends; undefined from a broker that has no epochs. A capture of an epoch that
   * does not lie below its end was taken back by an election. Throws BROKER_ERROR, BROKER_UNREACHABLE.
   */
  async epochEnds(stream: StreamKey, epochs: ReadonlySet<number>): Promise<ReadonlyMap<number, number> | undefined> {
    const ends = new Map<number, number>()
    for (const epoch of epochs) {
      if (epoch < 0) continue // captured before any was heard of
      const end = await this.#cluster.endOfEpoch(stream, epoch)
      if (end === null) return undefined
      ends.set(epoch, end)
    }
    return ends
  }

  /** See `misfiled`. */
  misfiled(builder: SegmentBuilder, gone: StreamKey, rows: readonly WalEntry[]): Promise<Misfiled | null> {
    return misfiled(this.#cluster, builder, gone, rows)
  }

  /** Where the batch begins that holds the log's start: kafka-delete-records moves the start into the middle of one. */
  async firstBatch(stream: StreamKey, start: number): Promise<number> {
    // However little is asked for, the broker gives a whole batch. One may be damaged on the way, and the answer is for good.
    for (let tries = 0; tries < 2; tries++) {
      const { records } = await this.#cluster.fetchLog(stream, start, 1)
      for (const { header } of soundBatchesOf(records)) return Math.min(start, header.baseOffset)
    }
    return start
  }

  /**
   * Fetches the broker's batches for the first of these holes, which are in offset order, and what the same answer has for
   * the others; and says of which parts of the holes the broker has nothing, and why. Neither: the broker gives nothing now.
   * A batch that begins below `begin`, where the range of the holes begins, cannot stand in it: an election took back what
   * is archived before, and put this batch over it. Messages of the formats 0 and 1 are no batches: a gap, `unsupported`.
   * What is damaged ends what an answer has; what is first in it is read again, and a gap, `damaged`, where it stays so. Of
   * `maxBytes`, where they are told, the broker gives one batch at least.
   */
  async fill(
    stream: StreamKey,
    holes: readonly OffsetRange[],
    { exists, start }: LogState,
    begin: number,
    maxBytes?: number
  ): Promise<Filled> {
    const batches: CanonicalBatch[] = []
    const gaps: Gap[] = []
    let position = 0
    let next = 0
    /** To be called where the log has nothing for the holes between `position` and `offset`. */
    const lackUntil = (offset: number, reason?: GapReason): void => {
      for (let hole = holes[next]; hole !== undefined && hole.from < offset; hole = holes[++next]) {
        const from = Math.max(hole.from, position)
        const to = Math.min(hole.to, offset)
        const cut = reason === undefined ? Math.max(from, Math.min(to, start)) : to
        if (from < cut) gaps.push({ from, to: cut, reason: reason ?? 'retention' })
        if (cut < to) gaps.push({ from: cut, to, reason: 'compacted' })
        if (hole.to > offset) break
      }
      position = offset
    }
    if (!exists) lackUntil(Number.POSITIVE_INFINITY, 'unavailable')
    // The log may start inside a batch (kafka-delete-records); then all of that batch is still there.
    else lackUntil(holes.findLast(({ to }) => to <= start)?.to ?? 0)
    const first = holes[next]
    if (first === undefined) return { batches, gaps }

    const skip = (lastOffset: number): void => lackUntil(Math.max(position, lastOffset + 1), 'unsupported')
    const take = (log: Buffer): void => {
      for (const batch of soundBatchesOf(log, skip)) {
        const { baseOffset, lastOffset } = batch.header
        if (lastOffset < first.from) continue
        lackUntil(Math.max(position, baseOffset))
        const hole = holes[next]
        if (hole === undefined) break
        if (hole.from <= lastOffset) batches.push(batch)
        if (baseOffset < begin) lackUntil(lastOffset + 1, 'truncated')
        position = lastOffset + 1
      }
    }
    const from = Math.max(first.from, start)
    const id = streamId(stream)
    let doubtful = this.#doubtful.get(id)
    if (doubtful?.from !== from) {
      const { records } = await this.#cluster.fetchLog(stream, from, maxBytes)
      take(records)
      if (batches.length > 0 || gaps.length > 0 || records.length === 0) return { batches, gaps }
      doubtful = { from, bytes: records.length + BEHIND_DAMAGE_BYTES }
      this.#doubtful.set(id, doubtful)
    }
    const { end, rest } = await this.#readAgain(stream, { from, to: first.to }, doubtful.bytes)
    this.#doubtful.delete(id)
    if (end === from) take(rest)
    else {
      lackUntil(from)
      lackUntil(end, 'damaged')
    }
    return { batches, gaps }
  }

  /** What of a range is damaged at its beginning, where it seemed to be: it may have been damaged on the way. */
  async #readAgain(stream: StreamKey, range: OffsetRange, maxBytes: number): Promise<{ end: number; rest: Buffer }> {
    const read = async (offset: number, bytes: number): Promise<Buffer> =>
      (await this.#cluster.fetchLog(stream, offset, bytes)).records
    const log = await read(range.from, maxBytes)
    const { end = await endOfSame(offset => read(offset, 1), log, range), rest } = damageAt(log, range.from)
    if (end <= range.from) return { end: range.from, rest }
    const to = Math.min(end, range.to)
    const where = `offsets ${range.from} to ${to - 1} of ${stream.topic}-${stream.partition}`
    this.#logger.error({ stream, from: range.from, to }, `damaged: ${where}, at the broker; they become a gap`)
    return { end: to, rest }
  }
}
