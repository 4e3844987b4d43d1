// Release by content: the WAL lets a batch go only when the archive holds that very batch. Where something else stands in
// its place, the batch is put beside the main line first, as an extra.
import { rm } from 'node:fs/promises'
import type { Logger } from 'pino'
import type { Archive, Chain, Link } from '../archive/archive.ts'
import { isMillraceError } from '../errors.ts'
import type { CanonicalBatch } from '../kafka/batch.ts'
import { SegmentReader } from '../segment/reader.ts'
import type { SegmentPlan } from '../segment/writer.ts'
import type { WalEntry } from '../wal/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { Wal } from '../wal/wal.ts'
import type { SegmentBuilder } from './segment-builder.ts'
import { inOrder, isFetched } from './settle.ts'
import { isStored } from './stored.ts'

export interface ReleaserParts {
  readonly wal: Wal
  readonly builder: SegmentBuilder
  readonly archive: Archive
  readonly logger: Logger
  readonly createdBy: string
  /** Where the segment file that begins at this offset is built. */
  fileFor(stream: StreamKey, offset: number): string
}

export class Releaser {
  readonly #parts: ReleaserParts
  #extras = 0

  constructor(parts: ReleaserParts) {
    this.#parts = parts
  }

  /** Batches put beside the main line since the start. */
  get extras(): number {
    return this.#extras
  }

  /** Releases all entries that begin below the chain's end. */
  async release(chain: Chain, entries: readonly WalEntry[]): Promise<void> {
    const below = inOrder(entries.filter(({ baseOffset }) => baseOffset < chain.end))
    let next = 0
    const takeBelow = (offset: number): WalEntry[] => {
      const first = next
      while (next < below.length && below[next]!.baseOffset < offset) next++
      return below.slice(first, next)
    }
    for (const link of chain.links) {
      const { baseOffset, nextOffset } = link.manifest
      // Before the archive's start: the archive began later, or was trimmed.
      for (const row of takeBelow(baseOffset)) await this.putExtra(chain.stream, row)
      await this.#releaseFrom(chain.stream, link, takeBelow(nextOffset))
    }
    for (const row of takeBelow(chain.end)) await this.putExtra(chain.stream, row)
  }

  async #releaseFrom(stream: StreamKey, link: Link, rows: readonly WalEntry[]): Promise<void> {
    if (rows.length === 0) return
    const { archive, builder, wal } = this.#parts
    const archived = new Map((await archive.batchesIn(link)).map(batch => [batch.baseOffset, batch]))
    await using log = new ForwardReader(archive, link)
    for (const row of rows) {
      const there = archived.get(row.baseOffset)
      // What was fetched has the broker's own bytes, so that other bytes are another batch.
      const read = async () => (isFetched(row) ? undefined : await log.batchAt(row.baseOffset))
      const isThere = there?.lastOffset === row.lastOffset && (await isStored(builder, row, { crc: there.crc, read }))
      if (isThere) wal.release([row])
      else await this.putExtra(stream, row)
    }
  }

  /** Puts a captured batch beside the main line, and releases it. */
  async putExtra(stream: StreamKey, row: WalEntry): Promise<void> {
    const { archive, builder, wal, logger, createdBy, fileFor } = this.#parts
    const plan: SegmentPlan = {
      ...stream,
      baseOffset: row.baseOffset,
      nextOffset: row.lastOffset + 1,
      gaps: [],
      previousChainSha256: null,
      openTransactions: [],
      createdBy
    }
    const segment = await builder.build(plan, [row], fileFor(stream, row.baseOffset))
    try {
      await archive.putExtra(stream, segment)
    } finally {
      await rm(segment.path, { force: true })
    }
    wal.release([row])
    this.#extras += 1
    logger.warn(
      { stream, offset: row.baseOffset },
      'the archive does not have this batch here; it was put beside it as an extra'
    )
  }
}

/** Reads batches of a segment at offsets that ascend, in one go: where a topic is rewritten, these are nearly all of them. */
class ForwardReader implements AsyncDisposable {
  readonly #archive: Archive
  readonly #link: Link
  #batches: AsyncGenerator<CanonicalBatch> | null = null
  #last: CanonicalBatch | undefined

  constructor(archive: Archive, link: Link) {
    this.#archive = archive
    this.#link = link
  }

  /** Undefined also where the segment cannot be read. Throws what the archive throws. */
  async batchAt(offset: number): Promise<CanonicalBatch | undefined> {
    try {
      this.#batches ??= (await SegmentReader.open(this.#archive.source(this.#link.key))).batches({ from: offset })
      while (this.#last === undefined || this.#last.header.baseOffset < offset) {
        const { done, value } = await this.#batches.next()
        if (done) return undefined
        this.#last = value
      }
      return this.#last.header.baseOffset === offset ? this.#last : undefined
    } catch (error) {
      if (isMillraceError(error, 'SEGMENT_CORRUPT')) return undefined
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#batches?.return(undefined)
  }
}
