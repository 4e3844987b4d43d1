// One archived partition as a log to read: its segments, cold or local, and what the WAL of a worker beside us has after them.
import { setTimeout as pause } from 'node:timers/promises'
import type { Link } from '../../archive/archive.ts'
import type { SegmentPlaces } from '../../archive/segment-source.ts'
import { isMillraceError, MillraceError } from '../../errors.ts'
import { settle } from '../../sealing/settle.ts'
import { standing } from '../../search/partitions.ts'
import { isLocked } from '../../wal/lock.ts'
import type { WalEntry, WalReader } from '../../wal/reader.ts'
import type { StreamKey } from '../../wal/stream.ts'
import type { AbortedTransaction, PartitionLog, ReadOptions, TimedOffset } from '../log-store.ts'
import type { ByteCache } from './byte-cache.ts'
import { HotLog } from './hot-log.ts'
import { SegmentLog } from './segment-log.ts'
import { Taken } from './taken.ts'
import { PartitionView } from './view.ts'

export interface Tiers extends SegmentPlaces {
  /** Null where no worker's data is beside us. */
  readonly hot: { readonly wal: WalReader; readonly directory: string } | null
  readonly cache: ByteCache
}

/** How old what is known of an archive may get while it is used: a look is a listing and a small read. */
const ARCHIVE_LOOK_MS = 5_000
/** The same for partitions of a topic that nobody asks for while others of it are read. */
const IDLE_LOOK_MS = 30_000
/** How often the WAL is looked at: half of what a consumer waits by default (fetch.max.wait.ms). */
const HOT_LOOK_MS = 250
/** So close to the end of a segment the next one is opened: two requests to the store that a reader need not wait for. */
const NEAR_END_BYTES = 4 * 1024 * 1024

export class ArchivedPartition implements PartitionLog {
  readonly stream: StreamKey
  readonly #tiers: Tiers
  #view: PartitionView | null = null
  /** Why it cannot be told what there is, until a look succeeds. */
  #fault: unknown = null
  #archiveLooked = Number.NEGATIVE_INFINITY
  #hotLooked = Number.NEGATIVE_INFINITY
  #isUsed = false
  #looking: Promise<void> | null = null

  constructor(stream: StreamKey, tiers: Tiers) {
    this.stream = stream
    this.#tiers = tiers
  }

  get startOffset(): number {
    return this.#known().startOffset
  }

  get highWatermark(): number {
    return this.#known().highWatermark
  }

  get lastStableOffset(): number {
    return this.#known().lastStableOffset
  }

  /** Looks again at what may have changed. Never rejects: what fails is thrown by whatever needs it. */
  renew(): Promise<void> {
    const now = performance.now()
    const keepFor = this.#isUsed ? ARCHIVE_LOOK_MS : IDLE_LOOK_MS
    if (this.#view === null || this.#fault !== null || now - this.#archiveLooked >= keepFor) return this.#look('all')
    if (this.#isUsed && this.#tiers.hot !== null && now - this.#hotLooked >= HOT_LOOK_MS) return this.#look('hot')
    return this.#looking ?? Promise.resolve()
  }

  read(offset: number, options: ReadOptions): Promise<readonly Buffer[]> {
    return this.#withView(async view => {
      if (offset < view.startOffset) {
        const { topic, partition } = this.stream
        throw new MillraceError('OBJECT_MISSING', `${topic}-${partition} begins at offset ${view.startOffset} by now`)
      }
      const taken = new Taken(offset, options)
      try {
        await this.#take(view, taken)
      } catch (error) {
        // What comes before a fault is given; who reads on meets the fault.
        if (taken.batches.length === 0) throw error
      }
      return taken.batches
    })
  }

  abortedTransactions(from: number, to: number): readonly AbortedTransaction[] {
    return this.#known().abortedTransactions(from, to)
  }

  /** Records of control batches, which no client ever sees, do not count. */
  offsetForTime(timestamp: number): Promise<TimedOffset | null> {
    return this.#withView(view => this.#firstSince(view, timestamp))
  }

  maxTimestamp(): Promise<TimedOffset | null> {
    return this.#withView(async view => {
      let max = await view.hot.maxTimestamp()
      for (const { manifest } of view.chain.links) {
        if (manifest.maxTimestamp !== null) max = Math.max(max ?? manifest.maxTimestamp, manifest.maxTimestamp)
      }
      return max === null ? null : await this.#firstSince(view, max)
    })
  }

  async changed(highWatermark: number, signal: AbortSignal): Promise<void> {
    const start = this.#view?.startOffset
    const aborted = Promise.withResolvers<void>()
    const onAbort = () => aborted.resolve()
    signal.addEventListener('abort', onAbort)
    try {
      while (!signal.aborted && this.#fault === null) {
        if (this.#view?.highWatermark !== highWatermark || this.#view.startOffset !== start) return
        await Promise.race([pause(HOT_LOOK_MS, undefined, { signal }).catch(() => undefined), aborted.promise])
        this.#isUsed = true
        if (!signal.aborted) await Promise.race([this.renew(), aborted.promise])
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  #known(): PartitionView {
    this.#isUsed = true
    if (this.#fault !== null) throw this.#fault
    if (this.#view === null) throw new TypeError('a partition is used before it was looked at')
    return this.#view
  }

  /** Merging, trimming and sealing move what a view points to: then a new look says where it is. */
  async #withView<T>(use: (view: PartitionView) => Promise<T>): Promise<T> {
    try {
      return await use(this.#known())
    } catch (error) {
      if (!isMillraceError(error, 'OBJECT_MISSING')) throw error
      while (this.#looking !== null) await this.#looking
      await this.#look('all')
      return await use(this.#known())
    }
  }

  async #take(view: PartitionView, taken: Taken): Promise<void> {
    let left = 0
    for (const link of view.filledFrom(taken.next)) {
      if (left > 0 || !taken.reaches(link.manifest.firstBatchOffset!)) {
        if (left < NEAR_END_BYTES) this.#beginAhead(link)
        return
      }
      left = await (await this.#open(link)).read(taken)
    }
    if (left === 0) view.hot.read(taken)
  }

  /** Opens a segment that will be needed soon. What fails now fails again when it is needed. */
  #beginAhead(link: Link): void {
    this.#open(link).then(
      segment => segment.readAhead(),
      () => undefined
    )
  }

  #open(link: Link): Promise<SegmentLog> {
    return SegmentLog.open(link, this.#tiers, this.#tiers.cache)
  }

  async #firstSince(view: PartitionView, timestamp: number): Promise<TimedOffset | null> {
    for (const link of view.filledFrom(0)) {
      const { maxTimestamp } = link.manifest
      if (maxTimestamp === null || maxTimestamp < timestamp) continue
      const found = await (await this.#open(link)).firstSince(timestamp)
      if (found !== null) return found
    }
    return await view.hot.firstSince(timestamp)
  }

  /** One look at a time; who asks for another meanwhile gets the outcome of the one that is under way. */
  #look(what: 'all' | 'hot'): Promise<void> {
    this.#looking ??= this.#lookNow(what).finally(() => (this.#looking = null))
    return this.#looking
  }

  async #lookNow(what: 'all' | 'hot'): Promise<void> {
    this.#isUsed = false
    this.#hotLooked = performance.now()
    try {
      if (what === 'hot') return await this.#lookHot(this.#view!)
      this.#archiveLooked = performance.now()
      this.#view = await this.#lookAll().catch(error => {
        // A batch was archived, and its WAL file deleted, between the two: now the archive has it.
        if (isMillraceError(error, 'OBJECT_MISSING')) return this.#lookAll()
        throw error
      })
      this.#fault = null
    } catch (error) {
      this.#fault = error
    }
  }

  /** The WAL is read before the archive: a batch that moves from one to the other is seen twice, and counted once. */
  async #lookAll(): Promise<PartitionView> {
    const { archive, hot } = this.#tiers
    const hasWorker = hot !== null && isLocked(hot.directory)
    const captured = hot?.wal.entries(this.stream, this.#view?.chain.end) ?? []
    const chain = await archive.walk(this.stream)
    if (hot === null) return new PartitionView(chain, HotLog.EMPTY)
    const from = chain.root === null ? (captured[0]?.baseOffset ?? 0) : chain.end
    // What is missing between captures a worker still fetches, and a consumer must not be led past it. Without a worker
    // nobody will.
    const line = hasWorker ? unbroken(captured, from) : standing(captured, from)
    return new PartitionView(chain, await HotLog.of(hot.wal, line, this.#view?.hot ?? HotLog.EMPTY))
  }

  /** Only what follows without a hole is added: else batches may have gone to the archive that were never seen here. */
  async #lookHot(view: PartitionView): Promise<void> {
    const { wal } = this.#tiers.hot!
    if (view.next === null) return
    const line = unbroken(wal.entries(this.stream, view.next), view.next)
    if (line.length === 0) return
    const entries = [...view.hot.batches.map(({ entry }) => entry), ...line]
    this.#view = new PartitionView(view.chain, await HotLog.of(wal, entries, view.hot))
  }
}

/** The settled captures from an offset on, up to the first that is missing or in doubt. */
function unbroken(captured: readonly WalEntry[], from: number): readonly WalEntry[] {
  const { line, holes } = settle(captured, { from, to: Number.MAX_SAFE_INTEGER })
  const end = holes[0]?.from ?? Number.MAX_SAFE_INTEGER
  return line.filter(({ baseOffset }) => baseOffset < end)
}
