// An archive as a store of logs that can be read and not be written, with what a worker beside us has not archived yet.
import { createHash } from 'node:crypto'
import type { Archive, Root } from '../../archive/archive.ts'
import type { WarmSegments } from '../../archive/warm-segments.ts'
import { isMillraceError } from '../../errors.ts'
import type { Aged } from '../../search/incarnations.ts'
import { allStreams, newestFirst } from '../../search/incarnations.ts'
import { WalReader } from '../../wal/reader.ts'
import type { StreamKey } from '../../wal/stream.ts'
import { streamId } from '../../wal/stream.ts'
import type { LogStore, TopicLog } from '../log-store.ts'
import type { Tiers } from './archived-partition.ts'
import { ArchivedPartition } from './archived-partition.ts'
import { ByteCache } from './byte-cache.ts'
import { NO_EPOCH } from './taken.ts'

export interface ArchiveLogsOptions {
  readonly archive: Archive
  /** Null where there are no local copies. */
  readonly warm: WarmSegments | null
  /** The WAL of a worker beside us, null where there is none. */
  readonly walDirectory: string | null
  /** What is kept in memory of what was read. */
  readonly cacheBytes: number
}

interface Topic extends TopicLog {
  readonly partitions: readonly ArchivedPartition[]
}

interface Topics {
  readonly byName: ReadonlyMap<string, Topic>
  readonly byId: ReadonlyMap<string, Topic>
}

/** How old the list of topics may get while somebody asks for topics. */
const LIST_MS = 5_000
/** Listing a whole archive may take long: this share of the time is not exceeded. */
const LIST_SHARE = 1 / 20
/** How many partitions are looked at at a time. */
const LOOKS = 16
/** How often deleted WAL files are let go of: until then they take their space. */
const CLOSE_DELETED_MS = 10_000

export class ArchiveLogs implements LogStore, AsyncDisposable {
  readonly clusterId: string
  readonly leaderEpoch = NO_EPOCH
  readonly #tiers: Tiers
  readonly #closing: NodeJS.Timeout
  /** By stream: what is known of a partition outlives the list of topics. */
  readonly #partitions = new Map<string, ArchivedPartition>()
  readonly #roots = new Map<string, Root>()
  #topics: Topics = { byName: new Map(), byId: new Map() }
  #listDue = 0
  #listing: Promise<void> | null = null

  private constructor({ archive, warm, walDirectory, cacheBytes }: ArchiveLogsOptions) {
    const hot = walDirectory === null ? null : { wal: WalReader.open(walDirectory), directory: walDirectory }
    this.#tiers = { archive, warm, hot, cache: new ByteCache(cacheBytes) }
    this.#closing = setInterval(() => hot?.wal.closeDeleted(), CLOSE_DELETED_MS).unref()
    // As long as a cluster's own, which are UUIDs.
    this.clusterId = createHash('sha256').update(archive.store.url).digest('base64url').slice(0, 22)
  }

  /** Lists the topics. Throws what archive and WAL throw. The archive stays the caller's to close, after this. */
  static async open(options: ArchiveLogsOptions): Promise<ArchiveLogs> {
    const logs = new ArchiveLogs(options)
    try {
      await logs.#list()
      return logs
    } catch (error) {
      await logs[Symbol.asyncDispose]()
      throw error
    }
  }

  /** What is kept in memory of what was read. */
  get cachedBytes(): number {
    return this.#tiers.cache.bytes
  }

  async topics(): Promise<readonly TopicLog[]> {
    await this.#list()
    return [...this.#topics.byName.values()]
  }

  async topic(name: string): Promise<TopicLog | undefined> {
    await this.#list()
    return await renewed(this.#topics.byName.get(name))
  }

  async topicById(topicId: string): Promise<TopicLog | undefined> {
    await this.#list()
    return await renewed(this.#topics.byId.get(topicId))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#closing)
    this.#tiers.hot?.wal.close()
  }

  /** Sees to it that the list of topics is not too old. */
  async #list(): Promise<void> {
    if (performance.now() < this.#listDue) return
    this.#listing ??= this.#listNow().finally(() => (this.#listing = null))
    await this.#listing
  }

  async #listNow(): Promise<void> {
    const started = performance.now()
    const { archive, hot } = this.#tiers
    const streams = await allStreams(hot?.wal.streams() ?? [], archive)
    this.#topics = await this.#named(streams)
    const ended = performance.now()
    this.#listDue = ended + Math.max(LIST_MS, (ended - started) / LIST_SHARE)
  }

  /** The newest topic of each name under its name, the others under names that tell them apart. */
  async #named(streams: readonly StreamKey[]): Promise<Topics> {
    const names = Map.groupBy(streams, ({ topic }) => topic)
    const byName = new Map<string, Topic>()
    const older: (readonly StreamKey[])[] = []
    for (const [name, ofName] of names) {
      const incarnations = await newestFirst(ofName.map(stream => this.#aged(stream)))
      const [newest, ...others] = incarnations.map(streams => streams.map(({ stream }) => stream))
      byName.set(name, this.#topic(name, newest!))
      older.push(...others)
    }
    for (const streams of older) {
      const { topic, topicId } = streams[0]!
      const id = Buffer.from(topicId, 'base64url').toString('hex')
      const short = `${topic}.${id.slice(0, SHORT_ID)}`
      const name = byName.has(short) ? `${topic}.${id}` : short
      byName.set(name, this.#topic(name, streams))
    }
    const sorted = [...byName].sort(([a], [b]) => (a < b ? -1 : 1))
    return { byName: new Map(sorted), byId: new Map(sorted.map(([, topic]) => [topic.topicId, topic])) }
  }

  #topic(name: string, streams: readonly StreamKey[]): Topic {
    const { clusterId, topic, topicId } = streams[0]!
    const count = 1 + Math.max(...streams.map(({ partition }) => partition))
    const partitions = Array.from({ length: count }, (_, partition) =>
      this.#partition({ clusterId, topic, topicId, partition })
    )
    return { name, topicId, partitions }
  }

  #partition(stream: StreamKey): ArchivedPartition {
    const id = streamId(stream)
    const partition = this.#partitions.get(id) ?? new ArchivedPartition(stream, this.#tiers)
    this.#partitions.set(id, partition)
    return partition
  }

  #aged(stream: StreamKey): Aged {
    const { hot } = this.#tiers
    return {
      stream,
      get captured() {
        return hot?.wal.entries(stream) ?? []
      },
      root: () => this.#root(stream)
    }
  }

  /** Roots never change. */
  async #root(stream: StreamKey): Promise<Root | null> {
    const known = this.#roots.get(streamId(stream))
    if (known !== undefined) return known
    try {
      const root = await this.#tiers.archive.readRoot(stream)
      this.#roots.set(streamId(stream), root)
      return root
    } catch (error) {
      if (isMillraceError(error, 'OBJECT_MISSING')) return null
      throw error
    }
  }
}

/** Hex digits of a topic id that tell topics of one name apart. */
const SHORT_ID = 8

/** The topic, with all of its partitions looked at. */
async function renewed(topic: Topic | undefined): Promise<Topic | undefined> {
  const waiting = topic?.partitions.values()
  if (waiting === undefined) return undefined
  const one = async (): Promise<void> => {
    for (const partition of waiting) await partition.renew()
  }
  await Promise.all(Array.from({ length: LOOKS }, one))
  return topic
}
