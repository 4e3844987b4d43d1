// Makes segments of captured batches and ships them: walk, settle, fetch what is missing, build, put, walk again, release.
// Killing the process between any two steps loses nothing and duplicates nothing.
import { mkdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import type { Logger } from 'pino'
import type { Archive, Chain } from '../archive/archive.ts'
import { segmentKey } from '../archive/layout.ts'
import type { WarmSegments } from '../archive/warm-segments.ts'
import type { Gap, GapReason, SegmentManifest } from '../segment/manifest.ts'
import type { SegmentPlan, SegmentResult } from '../segment/writer.ts'
import type { WalEntry } from '../wal/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { Wal } from '../wal/wal.ts'
import type { BrokerLog, LogState } from './broker-log.ts'
import { keptBy, takenBack } from './elections.ts'
import { appendFetched, Fetched } from './fetched.ts'
import { Releaser } from './release.ts'
import { MAX_EXTRAS_AT_ONCE, Replaced } from './replaced.ts'
import type { SealCounts, SealOptions, SealStep } from './seal-step.ts'
import type { SegmentBuilder } from './segment-builder.ts'
import type { OffsetRange } from './settle.ts'
import { bytesForFirst, bytesOf, cut, isFetched, isInside, joined, settle } from './settle.ts'
import { giveUpUnreadable, giveUpUnseen } from './unreadable.ts'

export interface SealerParts {
  readonly wal: Wal
  readonly builder: SegmentBuilder
  readonly archive: Archive
  readonly warm: WarmSegments
  readonly broker: BrokerLog
  readonly logger: Logger
  /** Where segment files are built. */
  readonly directory: string
  readonly segmentBytes: number
  readonly createdBy: string
}

const MAX_GAP_BEFORE_BATCHES = 2 ** 30

export class Sealer {
  readonly #parts: SealerParts
  readonly #releaser: Releaser
  readonly #counts = { segments: 0, batches: 0, records: 0, logBytes: 0, fetchedBatches: 0 }
  readonly #gaps = new Map<GapReason, number>()
  readonly #fetched: Fetched
  readonly #replaced: Replaced

  constructor(parts: SealerParts) {
    this.#parts = parts
    rmSync(parts.directory, { recursive: true, force: true }) // what a crash left half built
    mkdirSync(parts.directory, { recursive: true })
    this.#fetched = new Fetched(parts.wal)
    this.#replaced = new Replaced({ ...parts, fetched: this.#fetched })
    this.#releaser = new Releaser({ ...parts, fileFor: (stream, offset) => this.#fileFor(stream, offset) })
  }

  get counts(): SealCounts {
    return { ...this.#counts, gaps: this.#gaps, extras: this.#releaser.extras }
  }

  /**
   * Archives the next segment of a stream: what was captured below the high watermark, up to `segment.bytes`. With
   * `toHighWatermark` also what the broker's log has behind the last capture, or with no capture at all. What was captured and
   * cannot be read any more is fetched from the broker, as if it had never been captured. Of a deleted topic what lacks up to
   * `seenEnd` is a gap. A new archive begins at `begin`, or at the first capture if that lies before it.
   */
  async sealNext(stream: StreamKey, options: SealOptions): Promise<SealStep> {
    return await this.#fetched.during(stream, () => this.#sealNext(stream, options))
  }

  async #sealNext(stream: StreamKey, options: SealOptions): Promise<SealStep> {
    const { toHighWatermark, begin = Number.POSITIVE_INFINITY, seenEnd = 0 } = options
    const { broker, builder, logger, createdBy } = this.#parts
    const log = await broker.state(stream)
    const chain = await this.#begun(stream, log, begin < seenEnd ? begin : Number.POSITIVE_INFINITY)
    if (chain === null) return { progressed: false, end: 0, covered: options.begin ?? 0 }
    if (!log.exists) await this.#refile(stream)
    await this.#releaseBehind(chain)
    const replaced = await this.#replaced.take(chain, log)
    if (replaced !== null) {
      await this.#releaseBehind(chain)
      const { progressed, covered, fetched } = replaced
      this.#counts.fetchedBatches += fetched
      return { progressed, end: chain.end, covered }
    }

    const live = await this.#ahead(stream, chain.end)
    await this.#putAside(stream, (await takenBack(broker, stream, live, log)).slice(0, MAX_EXTRAS_AT_ONCE))
    const ahead = live.filter(row => row.lastOffset < log.end)
    // What follows the last capture is looked for only when all captures are in this segment.
    const isAll = bytesOf(live) < this.#windowBytes
    // By the WAL's own account: what cannot be read was captured all the same.
    const held = this.#parts.wal.needed(stream, log.end).filter(row => isInside(row, chain.end, log.end))
    const lastCaptured = (isAll ? held : ahead).reduce((last, row) => Math.max(last, row.lastOffset), -1)
    let to = lastCaptured + 1
    if (isAll && !log.exists) to = Math.max(to, seenEnd)
    else if (isAll && toHighWatermark) to = log.end
    const first = held.reduce((least, row) => Math.min(least, row.baseOffset), begin)
    const from = chain.links.length === 0 ? Math.max(first, chain.end) : chain.end
    const nothing = { progressed: false, end: chain.end, covered: Math.min(from, log.end) }
    if (from >= to) return nothing
    // Kafka's indexes hold 31 bits: so long a way to the first capture becomes a segment of its own, which is only a gap.
    const leaps = from - chain.end > MAX_GAP_BEFORE_BATCHES
    const { rows, gaps, next } = leaps
      ? { rows: [], gaps: [], next: from }
      : await this.#complete(stream, ahead, { from, to }, log)
    if (next <= from && !leaps) return nothing

    const notRequested: Gap[] = from > chain.end ? [{ from: chain.end, to: from, reason: 'not-requested' }] : []
    const previous = chain.links.at(-1)?.manifest
    const foundAt = new Date().toISOString()
    const plan: SegmentPlan = {
      ...stream,
      baseOffset: chain.end,
      nextOffset: next,
      gaps: [...notRequested, ...gaps.filter(gap => gap.from < next)].map(gap => ({ ...gap, foundAt })),
      previousChainSha256: previous?.chainSha256 ?? null,
      openTransactions: previous?.openTransactions ?? [],
      createdBy
    }
    let segment: SegmentResult
    try {
      segment = await builder.build(plan, rows, this.#fileFor(stream, plan.baseOffset))
    } catch (error) {
      await giveUpUnreadable(this.#parts, stream, rows, error)
      return await this.#sealNext(stream, options)
    }
    const grown = await this.#put(stream, segment)
    if (grown === null) {
      logger.info({ stream, offset: chain.end }, 'another worker archived this range first; going on after it')
      return { progressed: true, end: chain.end, covered: chain.end }
    }
    this.#count(segment.manifest)
    this.#parts.wal.release(rows)
    const { records, logBytes, notIndexed } = segment.manifest
    logger.info({ stream, from: chain.end, to: next, records, logBytes, gaps: plan.gaps }, 'segment archived')
    if (notIndexed) logger.warn({ stream, notIndexed }, 'batches that cannot be read are archived, and not indexed')
    await this.#releaseBehind(grown)
    return { progressed: true, end: next, covered: next }
  }

  /** Null where another worker put that range. Its file stays only as a warm copy: while the archive takes none, there would be many. */
  async #put(stream: StreamKey, segment: SegmentResult): Promise<Chain | null> {
    const { archive } = this.#parts
    try {
      const grown = await archive.append(stream, segment)
      if (grown !== null) this.#keep(stream, segment)
      return grown
    } finally {
      rmSync(segment.path, { force: true })
    }
  }

  /** Without a copy it is read from the archive: on a full disk that must not keep what is archived from being let go. */
  #keep(stream: StreamKey, { manifest, path: file }: SegmentResult): void {
    try {
      this.#parts.warm.keep(segmentKey(stream, manifest.baseOffset), file)
    } catch (err) {
      this.#parts.logger.warn({ err, stream }, 'no local copy of an archived segment could be kept')
    }
  }

  #count({ batches, records, logBytes, gaps }: SegmentManifest): void {
    this.#counts.segments += 1
    this.#counts.batches += batches
    this.#counts.records += records
    this.#counts.logBytes += logBytes
    for (const { reason } of gaps) this.#gaps.set(reason, (this.#gaps.get(reason) ?? 0) + 1)
  }

  /**
   * The chain as it stands; the first segment ever needs a root, which begins where the broker's log begins, or that of a
   * deleted topic at `lost`, from which on it had something. Null where there is nothing to begin one with.
   */
  async #begun(stream: StreamKey, log: LogState, lost: number): Promise<Chain | null> {
    const { archive, broker, createdBy } = this.#parts
    const chain = await archive.walk(stream)
    if (chain.root !== null) return chain
    const firstCaptured = this.#parts.wal.firstUnreleased(stream) ?? Number.POSITIVE_INFINITY
    let begin = Math.min(log.exists ? log.start : lost, firstCaptured)
    if (!Number.isSafeInteger(begin)) return null
    // A batch of which the broker has deleted only the first records is still whole, and can stand only where it begins.
    if (log.exists && begin > 0 && begin < firstCaptured) begin = await broker.firstBatch(stream, begin)
    const root = await archive.createRoot(stream, begin, createdBy)
    return { ...chain, root, end: root.baseOffset }
  }

  /** Lets go of everything below the archive's end, in the end also of what cannot be read: there is nothing to compare. */
  async #releaseBehind(chain: Chain): Promise<void> {
    const { stream, end } = chain
    const { wal } = this.#parts
    const first = wal.firstUnreleased(stream)
    if (first === undefined || first >= end) return
    const held = wal.needed(stream, end) // before the look, which then shows all of it that can be read
    const live = await this.#live(stream, first, end, Number.MAX_SAFE_INTEGER)
    try {
      await this.#releaser.release(chain, live)
    } catch (error) {
      await giveUpUnreadable(this.#parts, stream, live, error)
      return await this.#releaseBehind(chain)
    }
    giveUpUnseen(this.#parts, stream, held)
    wal.release(held)
  }

  /** Gives what was captured under the id of a topic that is gone, and belongs to the next one of its name, to that one. */
  async #refile(stream: StreamKey): Promise<void> {
    const { broker, builder, wal, logger } = this.#parts
    const first = wal.firstUnreleased(stream)
    if (first === undefined) return
    const rows = await this.#live(stream, first, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    const found = await broker.misfiled(builder, stream, rows)
    if (found === null) return
    const { stream: newer, rows: its, batches } = found
    logger.warn({ stream, newer, batches: its.length }, 'captures belong to a newer topic of that name')
    await appendFetched(wal, newer, batches)
    wal.release(its)
  }

  async #putAside(stream: StreamKey, rows: readonly WalEntry[]): Promise<void> {
    try {
      for (const row of rows) await this.#releaser.putExtra(stream, row)
    } catch (error) {
      await giveUpUnreadable(this.#parts, stream, rows, error)
    }
  }

  /** The captures from an offset on that one segment, and some more, has room for. */
  async #ahead(stream: StreamKey, from: number): Promise<WalEntry[]> {
    const entries = await this.#live(stream, from, Number.MAX_SAFE_INTEGER, this.#windowBytes)
    return entries.filter(row => row.baseOffset >= from)
  }

  async #live(stream: StreamKey, from: number, to: number, bytes: number): Promise<WalEntry[]> {
    const entries = await this.#parts.builder.entries(stream, from, to, bytes)
    const { wal } = this.#parts
    return entries.filter(row => !wal.isReleased(row.file, row.id) && wal.isAsAppended(row))
  }

  /** Captures may be there twice, as captured and as fetched. */
  get #windowBytes(): number {
    return 2 * this.#parts.segmentBytes
  }

  /** Settles a range, has its holes filled by the broker, and gives the longest whole part of it. */
  async #complete(
    stream: StreamKey,
    captured: readonly WalEntry[],
    range: OffsetRange,
    log: LogState
  ): Promise<{ rows: readonly WalEntry[]; gaps: readonly Gap[]; next: number }> {
    const { segmentBytes, broker, logger } = this.#parts
    const newest = captured.reduce((last, row) => Math.max(last, row.appendedMs), 0)
    const { rewrites, rewroteUntil } = await broker.rewriting(stream, newest, log)
    const isKeptByElections = await keptBy(broker, stream, captured, log)
    const isKept = (row: WalEntry): boolean =>
      (isFetched(row) || (row.appendedMs >= rewroteUntil && row.appendedMs <= newest)) && isKeptByElections(row)
    let gaps: readonly Gap[] = []
    let lastHole = -1
    for (let entries = captured; ; ) {
      const options = { ...range, fetchedOnly: rewrites, isKept, gaps }
      const settled = settle(entries, options)
      const { line, next } = cut(settled, options, segmentBytes)
      const done = { rows: line, gaps, next }
      const [hole] = settled.holes
      if (hole === undefined || next < hole.from || bytesOf(line) >= segmentBytes || hole.from === lastHole) return done

      if (log.exists) this.#fetched.check(stream)
      const filled = await broker.fill(stream, settled.holes, log, range.from, bytesForFirst(settled))
      const { batches } = filled
      if (batches.length === 0 && filled.gaps.length === 0) return done
      lastHole = hole.from
      gaps = joined([...gaps, ...filled.gaps])
      if (batches.length > 0) {
        await this.#fetched.append(stream, batches)
        this.#counts.fetchedBatches += batches.length
        logger.debug({ stream, hole, batches: batches.length }, 'fetched what was not captured')
        entries = await this.#ahead(stream, range.from)
      }
    }
  }

  #fileFor({ topicId, partition }: StreamKey, offset: number): string {
    return path.join(this.#parts.directory, `${topicId}-${partition}-${offset}.tar.gz`)
  }
}
