// Finds what no source has captured: how far each watched partition's log reaches at the broker, compared with how far it is
// captured or archived. What was sent with acks=0, past the proxy or before it stood there is found so, and control batches.
// With `captured`, a topic is watched from when something of it came to a source: a worker beside one application among many
// must not fetch what all the others write.
import type { Cluster } from '../kafka/cluster.ts'
import { LATEST } from '../kafka/cluster.ts'
import type { StreamKey } from '../wal/stream.ts'
import { streamId, streamOf } from '../wal/stream.ts'
import type { Wal } from '../wal/wal.ts'
import type { Backfill } from './backfill.ts'
import type { ReachedParts } from './reached.ts'
import { Reached } from './reached.ts'
import type { SealStep } from './seal-step.ts'

export interface GapFinderParts extends ReachedParts {
  readonly cluster: Cluster
  readonly clusterId: string
  readonly wal: Wal
  /** Null for a topic that is not to be archived. */
  watched(topic: string): Backfill | null
  /** Whether something of a topic may have gone through a source without having been captured. */
  hasPassed(topic: string, topicId: string): boolean
  /** Of how many topics it may; it only grows. */
  passedTopics(): number
  /** How long a partition may lack something before it is fetched, in milliseconds. */
  readonly segmentMs: number
}

/** What a look has seen of a partition. */
interface Seen {
  readonly key: StreamKey
  /** The high watermark. */
  readonly end: number
  /** Behind the last offset that is captured and not archived; 0 when there is none. */
  readonly captured: number
  /**
   * Since when, by `performance.now()`, nothing more was captured although the log reaches further, or no longer so far; undefined
   * where nothing lacks.
   */
  readonly since: number | undefined
}

const LOOK_MS = 30_000
/** A topic of which something has passed for the first time is noted sooner: a restart would forget where it began. */
const NEWS_LOOK_MS = 1_000
/** So many records that were not captured are fetched at the second look: their log may not keep them long. */
const MANY_RECORDS = 100_000

export class GapFinder {
  readonly #parts: GapFinderParts
  readonly #reached: Reached
  /** The high watermarks when the worker started; undefined for a partition without a leader then. */
  readonly #atStart: ReadonlyMap<string, number | undefined>
  /** Of the topics that are watched, by their ids, the last partition that they had at the start, as far as is known. */
  readonly #lastPartitions = new Map<string, number>()
  #seen = new Map<string, Seen>()
  #silent: StreamKey[] = []
  #lookedAt = Number.NEGATIVE_INFINITY
  /** `passedTopics` of the last look. */
  #passedTopics = 0

  private constructor(parts: GapFinderParts, atStart: Map<string, number | undefined>) {
    this.#parts = parts
    this.#reached = new Reached(parts)
    this.#atStart = atStart
    for (const topicId of this.#reached.topicIds()) {
      this.#lastPartitions.set(topicId, this.#reached.lastPartition(topicId) ?? Number.POSITIVE_INFINITY)
    }
  }

  /** To be called before sources let anything in: what a topic holds now was not sent while they were watching. */
  static async start(parts: GapFinderParts): Promise<GapFinder> {
    const ends = await endsOf(parts)
    const atStart = new Map(ends.map(({ key, end }) => [streamId(key), end]))
    return new GapFinder(parts, atStart)
  }

  /** How often to look, in milliseconds. */
  get interval(): number {
    return Math.min(this.#parts.segmentMs, LOOK_MS)
  }

  /** Looks if it is time to. */
  async lookAgain(): Promise<void> {
    const hasNews = this.#parts.passedTopics() > this.#passedTopics
    const interval = hasNews ? Math.min(NEWS_LOOK_MS, this.interval) : this.interval
    if (performance.now() - this.#lookedAt < interval) return
    this.#lookedAt = performance.now()
    await this.look()
  }

  /** Asks the brokers how far the logs reach. To be called when all sources run. Throws BROKER_UNREACHABLE, BROKER_ERROR. */
  async look(): Promise<void> {
    const { wal, watched, passedTopics } = this.#parts
    const passed = passedTopics()
    const held = wal.streams()
    const captured = new Map(held.map(({ key, lastOffset }) => [streamId(key), lastOffset + 1]))
    const capturedTopics = new Set(held.map(({ key }) => key.topicId))
    const now = performance.now()
    const seen = new Map<string, Seen>()
    const silent: StreamKey[] = []
    const ids = new Set<string>()
    for (const { key, end } of await endsOf(this.#parts)) {
      const backfill = watched(key.topic)
      if (backfill === null) continue
      const id = streamId(key)
      const isArchived = this.#lastPartitions.has(key.topicId) || capturedTopics.has(key.topicId)
      const isKnown = isArchived || this.#parts.hasPassed(key.topic, key.topicId)
      if (backfill === 'captured' && !isKnown) continue
      ids.add(id)
      this.#reached.showed(key)
      if (end === undefined) {
        silent.push(key)
        continue
      }
      const reached = this.#remembered(id, backfill) ?? this.#begin(key, backfill, end)
      this.#reached.saw(id, end)
      const one = { key, end, captured: captured.get(id) ?? 0 }
      const before = this.#seen.get(id)
      const since = before?.captured === one.captured ? before.since : undefined
      const isLacking = end < reached || end > Math.max(reached, one.captured)
      seen.set(id, { ...one, since: isLacking ? (since ?? now) : undefined })
    }
    // What a topic that is gone had without its being captured is due at once, also after a restart: it becomes a gap.
    for (const [id, end] of this.#reached.lacking()) {
      const key = streamOf(id)
      const isMissing = !ids.has(id) && key.clusterId === this.#parts.clusterId && watched(key.topic) !== null
      if (isMissing) seen.set(id, { key, end, captured: captured.get(id) ?? 0, since: Number.NEGATIVE_INFINITY })
    }
    this.#seen = seen
    this.#silent = silent
    this.#passedTopics = passed
    this.#reached.write()
    await this.#forget(this.#reached.longMissing(new Set([...ids, ...seen.keys()])))
    this.#reached.write()
  }

  /** Forgets what no look has shown for long, if no broker knows it or it is not to be archived any more. */
  async #forget(missing: readonly string[]): Promise<void> {
    const { cluster, clusterId, watched } = this.#parts
    for (const ids of Map.groupBy(missing, id => streamOf(id).topicId).values()) {
      const key = streamOf(ids[0]!)
      if (key.clusterId !== clusterId) continue // the worker may be back there one day
      // Where too few brokers say so, it is asked again when it has been missing for as long once more.
      if (watched(key.topic) !== null && (await cluster.knows(key).catch(() => true))) continue
      for (const id of ids) this.#reached.forget(id)
      this.#lastPartitions.delete(key.topicId)
      this.#reached.forgetTopic(key.topicId)
    }
  }

  #remembered(id: string, backfill: Backfill | null): number | undefined {
    if (backfill === 'earliest') this.#reached.wantAll(id)
    return this.#reached.get(id)
  }

  /**
   * All is wanted of a topic that was not there at the start, and was made while we watched; and of a partition that was added to
   * one that is archived, also while no worker ran: those that were there before have lower numbers.
   */
  #begin(key: StreamKey, backfill: Backfill, end: number): number {
    const id = streamId(key)
    const last = this.#lastPartitions.get(key.topicId) ?? Number.POSITIVE_INFINITY
    this.#lastPartitions.set(key.topicId, last)
    const leavesOut = backfill === 'captured' && this.#atStart.has(id) && key.partition <= last
    const offset = leavesOut ? (this.#atStart.get(id) ?? end) : 0
    this.#reached.begin(id, offset, { leavesOut })
    return offset
  }

  /** Partitions of which something has lacked long enough, or much. */
  due(): StreamKey[] {
    const { segmentMs } = this.#parts
    const now = performance.now()
    return this.#lacking()
      .filter(({ lack, since }) => now - since >= (lack >= MANY_RECORDS ? this.interval : segmentMs))
      .map(({ key }) => key)
  }

  /** Partitions of which something lacks, and the last offset that their logs had at the last look. */
  behind(): { key: StreamKey; lastOffset: number }[] {
    return this.#lacking().map(({ key, end }) => ({ key, lastOffset: end - 1 }))
  }

  /** Watched partitions of which the last look got no answer. */
  silent(): readonly StreamKey[] {
    return this.#silent
  }

  /** Offsets that the brokers' logs had at the last look and that are neither captured nor archived. */
  get uncapturedOffsets(): number {
    return this.#lacking().reduce((sum, { lack }) => sum + lack, 0)
  }

  #lacking(): { key: StreamKey; end: number; lack: number; since: number }[] {
    return [...this.#seen.values()].flatMap(({ key, end, captured, since }) => {
      const reached = this.#reached.get(streamId(key)) ?? 0
      const lack = Math.max(0, end - Math.max(reached, captured))
      // Where a log ends below its archive's end, an unclean election may have put other batches there.
      return since !== undefined && (lack > 0 || end < reached) ? [{ key, end, lack, since }] : []
    })
  }

  /** With which offset a partition's archive is to begin that has none yet; undefined for one that is not watched. */
  async begin(key: StreamKey): Promise<number | undefined> {
    const id = streamId(key)
    if (this.#remembered(id, this.#parts.watched(key.topic)) === undefined) await this.look()
    return this.#reached.get(id)
  }

  /** How far a partition's log reached at the last look that found it, before a restart too; 0 where all of that is archived. */
  seenEnd(key: StreamKey): number {
    return this.#reached.seenEnd(streamId(key))
  }

  /** Takes note of how far a partition's log is archived, or beside its archive. */
  sealed(key: StreamKey, step: Pick<SealStep, 'progressed' | 'covered'>): void {
    const id = streamId(key)
    if (this.#reached.get(id) === undefined) return
    this.#reached.sealed(id, step)
    const seen = this.#seen.get(id)
    if (seen && step.covered >= seen.end) this.#seen.set(id, { ...seen, since: undefined })
  }
}

/** Every partition of the cluster and its high watermark. */
async function endsOf({ cluster, clusterId }: GapFinderParts): Promise<{ key: StreamKey; end: number | undefined }[]> {
  const keys = (await cluster.refresh(null)).flatMap(({ name, topicId, leaders }) =>
    [...leaders.keys()].map((partition): StreamKey => ({ clusterId, topic: name, topicId, partition }))
  )
  const ends = await cluster.listOffsets(keys, LATEST)
  return keys.map((key, i) => ({ key, end: ends[i] }))
}
