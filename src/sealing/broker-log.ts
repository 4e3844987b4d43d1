// The broker's side of sealing: how far its log is safe, whether it stores what it was sent, and what was not captured.
import { MillraceError } from '../errors.ts'
import type { Admin, TopicSettings } from '../kafka/admin.ts'
import type { CanonicalBatch } from '../kafka/batch.ts'
import { batchesOf } from '../kafka/batch.ts'
import type { Cluster } from '../kafka/cluster.ts'
import { EARLIEST, LATEST } from '../kafka/cluster.ts'
import type { Gap } from '../segment/manifest.ts'
import type { StreamKey } from '../wal/stream.ts'
import { streamId } from '../wal/stream.ts'
import type { OffsetRange } from './settle.ts'

export interface LogState {
  /** False for a topic that was deleted, or deleted and made anew: what was captured is all there will ever be. */
  readonly exists: boolean
  /** The first offset that the broker's log holds. */
  readonly start: number
  /** The high watermark: what lies above it may still vanish. */
  readonly end: number
  /** The topic's settings make the broker store other bytes than it was sent. */
  readonly rewrites: boolean
}

/** Topic settings are asked for again after this time. */
const SETTINGS_TTL_MS = 60_000

/** A broker that has just heard of other brokers' topics may not know this one yet: only after so long is it believed gone. */
const GONE_AFTER_MS = 5_000

const GONE: LogState = { exists: false, start: 0, end: Number.MAX_SAFE_INTEGER, rewrites: false }

export class BrokerLog {
  readonly #cluster: Cluster
  readonly #admin: Admin
  /** By stream: since when the cluster says that it does not know the topic. */
  readonly #missingSince = new Map<string, number>()
  readonly #settings = new Map<string, { readonly until: number; readonly value: TopicSettings }>()

  constructor(cluster: Cluster, admin: Admin) {
    this.#cluster = cluster
    this.#admin = admin
  }

  /** The state of a partition's log. Throws BROKER_ERROR, BROKER_UNREACHABLE. */
  async state(stream: StreamKey): Promise<LogState> {
    const [found] = await this.#cluster.refresh([stream.topic])
    if (found?.topicId !== stream.topicId) return this.#gone(stream)
    this.#missingSince.delete(streamId(stream))
    return {
      exists: true,
      start: await this.#cluster.listOffset(stream, EARLIEST),
      end: await this.#cluster.listOffset(stream, LATEST),
      rewrites: await this.rewrites(stream.topic)
    }
  }

  #gone(stream: StreamKey): LogState {
    const id = streamId(stream)
    const since = this.#missingSince.get(id) ?? Date.now()
    this.#missingSince.set(id, since)
    if (Date.now() - since >= GONE_AFTER_MS) return GONE
    throw new MillraceError('BROKER_ERROR', `the cluster does not know topic ${stream.topic} (${stream.topicId})`, {
      retriable: true
    })
  }

  /** Whether a topic's settings make the broker store batches otherwise than they are sent: other times, other codec. */
  async rewrites(topic: string): Promise<boolean> {
    let known = this.#settings.get(topic)
    if (known === undefined || known.until < Date.now()) {
      known = { until: Date.now() + SETTINGS_TTL_MS, value: await this.#admin.topicSettings(topic) }
      this.#settings.set(topic, known)
    }
    return known.value.timestampType === 'LogAppendTime' || known.value.compressionType !== 'producer'
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

  /**
   * Fetches the broker's batches for the first of these holes, and what the same answer has for the others; or says why
   * the broker has nothing for it. Neither: the broker gives nothing now.
   */
  async fill(
    stream: StreamKey,
    holes: readonly [OffsetRange, ...OffsetRange[]],
    { exists, start }: LogState
  ): Promise<{ batches: CanonicalBatch[]; gap?: Gap }> {
    const [{ from, to }] = holes
    if (!exists) return { batches: [], gap: { from, to, reason: 'unavailable' } }
    if (to <= start) return { batches: [], gap: { from, to, reason: 'retention' } }
    // The log may start inside a batch (kafka-delete-records); then all of that batch is still there.
    const { records } = await this.#cluster.fetchLog(stream, Math.max(from, start))
    const fetched = [...batchesOf(records)].filter(({ header }) => header.lastOffset >= from)
    const [first] = fetched
    if (first && first.header.baseOffset > from) {
      const reason = from < start ? 'retention' : 'compacted'
      return { batches: [], gap: { from, to: Math.min(to, first.header.baseOffset), reason } }
    }
    const overlaps = ({ header }: CanonicalBatch): boolean =>
      holes.some(hole => header.baseOffset < hole.to && header.lastOffset >= hole.from)
    return { batches: fetched.filter(overlaps) }
  }
}
