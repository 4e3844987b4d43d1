// How far each partition is archived, or with which offset its archive is to begin, and how far its log was seen to reach: kept in a
// file across restarts.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { Logger } from 'pino'
import { messageOf } from '../errors.ts'
import type { StreamKey } from '../wal/stream.ts'
import { streamOf } from '../wal/stream.ts'
import type { SealStep } from './seal-step.ts'

export interface ReachedParts {
  /** Where it is lost, a partition is watched again from when something of it is captured. */
  readonly file: string
  /** Which archive it is. */
  readonly archiveUrl: string
  readonly logger: Logger
}

interface Kept {
  /** The archive of which it is said. */
  readonly archive: string
  readonly reached: Readonly<Record<string, number>>
  /**
   * Files of earlier versions do not have it: then nothing counts as archived, so that `earliest` leaves nothing out. Of what is
   * archived all the same, the archive says so at the next seal.
   */
  readonly begins?: readonly string[]
  /** How far logs were seen to reach beyond that; files of earlier versions do not have it, and leave it out. */
  readonly seen?: Readonly<Record<string, number>>
  /** By topic id, the last partition that was there; nor do they have this, and take none for added since. */
  readonly lastPartitions?: Readonly<Record<string, number>>
}

/** What no look has shown for so long may be forgotten. A broker that has just started does not list everything yet. */
const FORGET_MS = 600_000

/** By `streamId`. */
export class Reached {
  readonly #parts: ReachedParts
  /** The first offset of a log that is not archived, or with which its archive is to begin. */
  readonly #offsets: Map<string, number>
  /** The partitions of which it is where the archive is to begin, with earlier records left out; nothing of them is archived. */
  readonly #begins: Set<string>
  /** How far the logs reached at the last look that showed them, but for those that are archived up to there. */
  readonly #seen: Map<string, number>
  readonly #lastPartitions: Map<string, number>
  /** Since when, by `performance.now()`, looks have not shown a partition. */
  readonly #missingSince = new Map<string, number>()
  #written: string

  constructor(parts: ReachedParts) {
    const { reached, begins, seen, lastPartitions } = read(parts)
    this.#parts = parts
    this.#offsets = new Map(Object.entries(reached))
    this.#begins = new Set(begins)
    this.#seen = new Map(Object.entries(seen))
    this.#lastPartitions = new Map(Object.entries(lastPartitions))
    this.#written = this.#text
  }

  get(id: string): number | undefined {
    return this.#offsets.get(id)
  }

  /** Of the topics of which something is kept. */
  topicIds(): ReadonlySet<string> {
    return new Set(this.#offsets.keys().map(id => streamOf(id).topicId))
  }

  /** The last partition that a look has shown of a topic, with a leader or without; undefined where it is not known. */
  lastPartition(topicId: string): number | undefined {
    return this.#lastPartitions.get(topicId)
  }

  /** A look has shown a partition. */
  showed({ topicId, partition }: StreamKey): void {
    this.#lastPartitions.set(topicId, Math.max(partition, this.#lastPartitions.get(topicId) ?? 0))
  }

  /** Nothing is kept of a topic's partitions any more. */
  forgetTopic(topicId: string): void {
    this.#lastPartitions.delete(topicId)
  }

  /** How far a log was seen to reach beyond what is archived; 0 where no look has shown that. */
  seenEnd(id: string): number {
    return this.#seen.get(id) ?? 0
  }

  /** A look has shown how far a log reaches. */
  saw(id: string, end: number): void {
    this.#seen.set(id, end)
  }

  /** Those that were seen to reach further than they are archived, and how far. */
  lacking(): [id: string, end: number][] {
    return [...this.#seen].filter(([id, end]) => end > (this.#offsets.get(id) ?? Number.POSITIVE_INFINITY))
  }

  /** An archive is to begin with this offset; whether what the log has before is left out. */
  begin(id: string, offset: number, { leavesOut }: { leavesOut: boolean }): void {
    this.#offsets.set(id, offset)
    if (leavesOut) this.#begins.add(id)
  }

  /** Nothing is to be left out any more: an archive that has not begun is not to begin where it was. */
  wantAll(id: string): void {
    if (this.#begins.has(id)) this.forget(id)
  }

  sealed(id: string, { progressed, covered }: Pick<SealStep, 'progressed' | 'covered'>): void {
    this.#offsets.set(id, covered)
    if (progressed) this.#begins.delete(id)
    if (covered >= this.seenEnd(id)) this.#seen.delete(id)
  }

  forget(id: string): void {
    this.#offsets.delete(id)
    this.#begins.delete(id)
    this.#seen.delete(id)
    this.#missingSince.delete(id)
  }

  /** Takes note of which partitions a look has shown. Gives those that none has shown for long, and then not again for as long. */
  longMissing(shown: ReadonlySet<string>): string[] {
    const now = performance.now()
    for (const id of shown) this.#missingSince.delete(id)
    const missing = [...this.#offsets.keys()].filter(id => !shown.has(id))
    const long = missing.filter(id => now - (this.#missingSince.get(id) ?? now) >= FORGET_MS)
    for (const id of long) this.#missingSince.delete(id)
    for (const id of missing) this.#missingSince.set(id, this.#missingSince.get(id) ?? now)
    return long
  }

  get #text(): string {
    const { archiveUrl: archive } = this.#parts
    const [reached, seen] = [Object.fromEntries(this.#offsets), Object.fromEntries(this.lacking())]
    const lastPartitions = Object.fromEntries(this.#lastPartitions)
    const content: Kept = { archive, reached, begins: [...this.#begins], seen, lastPartitions }
    return `${JSON.stringify(content, null, 1)}\n`
  }

  write(): void {
    const text = this.#text
    if (text === this.#written) return
    const { file, logger } = this.#parts
    try {
      writeFileSync(`${file}.new`, text)
      renameSync(`${file}.new`, file)
      this.#written = text
    } catch (err) {
      logger.warn({ err }, 'how far partitions are archived could not be noted')
    }
  }
}

/** Nothing where there is nothing to read, or it is said of another archive. */
function read({ file, archiveUrl, logger }: ReachedParts): Required<Kept> {
  const nothing = { archive: archiveUrl, reached: {}, begins: [], seen: {}, lastPartitions: {} }
  try {
    const kept = JSON.parse(readFileSync(file, 'utf8')) as Kept
    return kept.archive === archiveUrl
      ? { begins: Object.keys(kept.reached), seen: {}, lastPartitions: {}, ...kept }
      : nothing
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      logger.warn(
        { file, reason: messageOf(error) },
        'cannot be read; each partition is watched when something of it is captured'
      )
    }
    return nothing
  }
}
