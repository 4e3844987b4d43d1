// Release by content: the WAL lets a batch go only when the archive holds that very batch. Where something else stands in
// its place, the batch is put beside the main line first, as an extra.
import { rm } from 'node:fs/promises'
import type { Logger } from 'pino'
import type { Archive, Chain, Link } from '../archive/archive.ts'
import type { BatchHeader } from '../kafka/batch.ts'
import { SegmentReader } from '../segment/reader.ts'
import type { SegmentPlan } from '../segment/writer.ts'
import type { WalEntry } from '../wal/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { Wal } from '../wal/wal.ts'
import type { BrokerLog, LogState } from './broker-log.ts'
import type { BatchIdentity } from './seal-thread.ts'
import type { SegmentBuilder } from './segment-builder.ts'
import { inOrder, isFetched } from './settle.ts'

export interface ReleaserParts {
  readonly wal: Wal
  readonly builder: SegmentBuilder
  readonly archive: Archive
  readonly broker: BrokerLog
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
  async release(chain: Chain, entries: readonly WalEntry[], log: LogState): Promise<void> {
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
      await this.#releaseFrom(chain.stream, link, takeBelow(nextOffset), log)
    }
    for (const row of takeBelow(chain.end)) await this.putExtra(chain.stream, row)
  }

  async #releaseFrom(stream: StreamKey, link: Link, rows: readonly WalEntry[], log: LogState): Promise<void> {
    if (rows.length === 0) return
    const { archive, broker, builder, wal } = this.#parts
    const archived = new Map((await archive.batchesIn(link)).map(batch => [batch.baseOffset, batch]))
    /** Captures that stand where the archive has a batch with other bytes. */
    const others: { readonly row: WalEntry; readonly captured: BatchIdentity }[] = []
    for (const row of rows) {
      const there = archived.get(row.baseOffset)
      if (there?.lastOffset !== row.lastOffset) {
        await this.putExtra(stream, row)
        continue
      }
      const captured = there.crc === row.crc ? null : await builder.identify(row)
      if (captured === null || captured.correctedCrc === there.crc) wal.release([row])
      else if (isFetched(row)) await this.putExtra(stream, row)
      else others.push({ row, captured })
    }
    if (others.length === 0) return
    const newest = others.reduce((last, { row }) => Math.max(last, row.appendedMs), 0)
    const { rewrites, rewroteUntil } = await broker.rewriting(stream, newest, log)
    const rewritten = others.filter(({ row }) => rewrites || row.appendedMs < rewroteUntil)
    const headers = rewritten.length > 0 ? await this.#headersIn(link, rewritten) : new Map<number, BatchHeader>()
    for (const { row, captured } of others) {
      if (isRewritten(captured, headers.get(row.baseOffset))) wal.release([row])
      else await this.putExtra(stream, row)
    }
  }

  /** The archived headers at the offsets of rows in offset order, read in one go: where a topic is rewritten, these are many. */
  async #headersIn({ key }: Link, rows: readonly { readonly row: WalEntry }[]): Promise<Map<number, BatchHeader>> {
    const reader = await SegmentReader.open(this.#parts.archive.source(key))
    const [from, to] = [rows[0]!.row.baseOffset, rows.at(-1)!.row.baseOffset + 1]
    const wanted = new Set(rows.map(({ row }) => row.baseOffset))
    const found = new Map<number, BatchHeader>()
    for await (const { header } of reader.batches({ from, to })) {
      if (wanted.has(header.baseOffset)) found.set(header.baseOffset, header)
    }
    return found
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
    await archive.putExtra(stream, segment)
    await rm(segment.path, { force: true })
    wal.release([row])
    this.#extras += 1
    logger.warn(
      { stream, offset: row.baseOffset },
      'the archive does not have this batch here; it was put beside it as an extra'
    )
  }
}

/** Whether an archived batch is a captured one after the broker changed its bytes. */
function isRewritten(captured: BatchIdentity, archived: BatchHeader | undefined): boolean {
  return (
    archived?.recordCount === captured.recordCount &&
    archived.producerId === captured.producerId &&
    archived.producerEpoch === captured.producerEpoch &&
    archived.baseSequence === captured.baseSequence
  )
}
