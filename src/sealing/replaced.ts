// An archive is not rewritten. What the broker's log has in the place of what is archived, since an unclean election took that
// back, is fetched and goes through the WAL, which releases it only when it is beside the archive.
import type { Logger } from 'pino'
import type { Chain } from '../archive/archive.ts'
import { extraKey } from '../archive/layout.ts'
import { streamId } from '../wal/stream.ts'
import type { BrokerLog, LogState } from './broker-log.ts'
import { replacedIn } from './elections.ts'
import type { Fetched } from './fetched.ts'
import type { OffsetRange } from './settle.ts'

/** Each becomes a segment and an object of its own, and other partitions wait meanwhile. */
export const MAX_EXTRAS_AT_ONCE = 100

export interface Taken {
  /** Whether there may be more of it. */
  readonly progressed: boolean
  /** Up to where what the log has is archived or taken. */
  readonly covered: number
  /** Batches that were fetched and are not beside the archive. */
  readonly fetched: number
}

export class Replaced {
  readonly #parts: { readonly fetched: Fetched; readonly broker: BrokerLog; readonly logger: Logger }
  /** By stream: what was taken, when its log's newest leader epoch was this one. */
  readonly #taken = new Map<string, OffsetRange & { readonly epoch: number }>()

  constructor(parts: { readonly fetched: Fetched; readonly broker: BrokerLog; readonly logger: Logger }) {
    this.#parts = parts
  }

  /**
   * Takes the next of what was not taken yet; null where there is nothing. Throws BROKER_ERROR, BROKER_UNREACHABLE, WAL_FULL,
   * WAL_FAILED.
   */
  async take(chain: Chain, log: LogState): Promise<Taken | null> {
    const { broker, fetched, logger } = this.#parts
    const { stream } = chain
    const range = await replacedIn(broker, chain, log)
    if (range === null) return null
    const id = streamId(stream)
    const before = this.#taken.get(id)
    // After another election the log may have others again.
    const isSame = before?.epoch === log.leaderEpoch && before.from <= range.from
    const from = isSame ? Math.max(before.to, range.from) : range.from
    if (from >= range.to) return null
    fetched.check(stream)
    const { batches, gaps } = await broker.fill(stream, [{ from, to: range.to }], log, from)
    const some = batches.slice(0, MAX_EXTRAS_AT_ONCE)
    const afterGaps = some.length === batches.length ? (gaps.at(-1)?.to ?? 0) : 0
    const to = Math.max(from, afterGaps, (some.at(-1)?.header.lastOffset ?? -1) + 1)
    const extras = new Set(chain.extras.map(({ key }) => key))
    const fresh = some.filter(({ header }) => !extras.has(extraKey(stream, header.baseOffset, header.crc)))
    if (fresh.length > 0) {
      logger.warn({ stream, from, to }, 'where the log has other batches than the archive, they are put beside it')
      await fetched.append(stream, fresh)
    }
    this.#taken.set(id, { from: isSame ? before.from : range.from, to, epoch: log.leaderEpoch })
    return { progressed: to > from, covered: Math.min(to, range.to), fetched: fresh.length }
  }
}
