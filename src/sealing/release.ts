// Release by content: the WAL lets a batch go only when the archive holds that very batch. Where something else stands in
// its place, the batch is put beside the main line first, as an extra.
import { rm } from 'node:fs/promises'
import type { Logger } from 'pino'
import type { Archive, Chain, Link } from '../archive/archive.ts'
import { SegmentReader } from '../segment/reader.ts'
import type { SegmentPlan } from '../segment/writer.ts'
import type { WalEntry } from '../wal/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { Wal } from '../wal/wal.ts'
import type { BrokerLog } from './broker-log.ts'
import type { SegmentBuilder } from './segment-builder.ts'

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
  async release(chain: Chain, entries: readonly WalEntry[]): Promise<void> {
    let rest = entries.filter(({ baseOffset }) => baseOffset < chain.end)
    for (const link of chain.links) {
      const { baseOffset, nextOffset } = link.manifest
      const inside = rest.filter(row => row.baseOffset >= baseOffset && row.baseOffset < nextOffset)
      if (inside.length === 0) continue
      rest = rest.filter(row => !inside.includes(row))
      await this.#releaseFrom(chain.stream, link, inside)
    }
    // Before the archive's start: the archive began later, or was trimmed.
    for (const row of rest) await this.#putExtra(chain.stream, row)
  }

  async #releaseFrom(stream: StreamKey, link: Link, rows: readonly WalEntry[]): Promise<void> {
    const archived = new Map((await this.#parts.archive.batchesIn(link)).map(batch => [batch.baseOffset, batch]))
    for (const row of rows) {
      const there = archived.get(row.baseOffset)
      const same =
        there?.lastOffset === row.lastOffset &&
        (there.crc === row.crc || (await this.#isSame(stream, link, row, there.crc)))
      if (same) this.#parts.wal.release([row])
      else await this.#putExtra(stream, row)
    }
  }

  /** Whether the archived batch at a row's offsets is the row's after the broker changed its bytes. */
  async #isSame({ topic }: StreamKey, { key }: Link, row: WalEntry, archivedCrc: number): Promise<boolean> {
    const { archive, builder, broker } = this.#parts
    const captured = await builder.identify(row)
    if (captured.correctedCrc === archivedCrc) return true
    if (!(await broker.rewrites(topic))) return false
    const reader = await SegmentReader.open(archive.source(key))
    for await (const { header } of reader.batches({ from: row.baseOffset, to: row.baseOffset + 1 })) {
      return (
        header.recordCount === captured.recordCount &&
        header.producerId === captured.producerId &&
        header.producerEpoch === captured.producerEpoch &&
        header.baseSequence === captured.baseSequence
      )
    }
    return false
  }

  async #putExtra(stream: StreamKey, row: WalEntry): Promise<void> {
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
