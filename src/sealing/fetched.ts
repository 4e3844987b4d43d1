// What was fetched from the broker takes the same way as what is captured, so that a crash loses neither.
import { isMillraceError, MillraceError } from '../errors.ts'
import type { CanonicalBatch } from '../kafka/batch.ts'
import { Throttled } from '../kafka/log-fetches.ts'
import { FrameFlag } from '../wal/frame.ts'
import type { StreamKey } from '../wal/stream.ts'
import { streamId } from '../wal/stream.ts'
import type { Wal } from '../wal/wal.ts'

/** Where only one stream cannot be archived, as where its objects are refused, the others go on after so long. A choice. */
const BEYOND_FOR_MS = 600_000

/**
 * Takes what is fetched into the WAL. It may exceed the WAL's limit, since only sealing makes room again: but while the archive
 * takes nothing each stream would add a segment. So one goes beyond at a time, and the next when that one is sealed, or cannot be
 * because of its broker, of which nobody knows when it can again.
 */
export class Fetched {
  readonly #wal: Wal
  /** The stream of which something lies beyond the limit and waits for the archive, or for a quota. */
  #beyond: { readonly stream: StreamKey; readonly since: number } | null = null

  constructor(wal: Wal) {
    this.#wal = wal
  }

  /** To be asked before anything is fetched for a stream. Throws WAL_FULL. */
  check(stream: StreamKey): void {
    const full = this.#full
    if (full === undefined || this.#beyond === null || this.#isBeyond(stream)) return
    const { stream: first, since } = this.#beyond
    if (performance.now() - since >= BEYOND_FOR_MS) return
    const what = `${first.topic}-${first.partition} has to be archived before more is fetched`
    throw new MillraceError('WAL_FULL', `${full.message}: ${what}`, { hint: full.hint })
  }

  /**
   * Appends batches of a broker's log, each in a row of its own: one that was released before does not count. Throws WAL_FULL,
   * WAL_FAILED.
   */
  async append(stream: StreamKey, batches: readonly CanonicalBatch[]): Promise<void> {
    this.check(stream)
    if (this.#full !== undefined && !this.#isBeyond(stream)) this.#beyond = { stream, since: performance.now() }
    await appendFetched(this.#wal, stream, batches)
  }

  /** Takes note of how a seal of a stream ends. */
  async during<T>(stream: StreamKey, seal: () => Promise<T>): Promise<T> {
    try {
      const step = await seal()
      if (this.#isBeyond(stream)) this.#beyond = null
      return step
    } catch (error) {
      const isBrokers = isMillraceError(error) && error.code.startsWith('BROKER_') && !(error instanceof Throttled)
      if (this.#isBeyond(stream) && isBrokers) this.#beyond = null
      throw error
    }
  }

  get #full(): MillraceError | undefined {
    const { health } = this.#wal
    return !health.ok && health.error.code === 'WAL_FULL' ? health.error : undefined
  }

  #isBeyond(stream: StreamKey): boolean {
    return this.#beyond !== null && streamId(this.#beyond.stream) === streamId(stream)
  }
}

/** Appends batches, whatever the WAL holds: for what is let go of elsewhere at once. Throws WAL_FAILED. */
export async function appendFetched(wal: Wal, stream: StreamKey, batches: readonly CanonicalBatch[]): Promise<void> {
  const fetched = batches.map(batch => ({
    stream,
    baseOffset: batch.header.baseOffset,
    lastOffset: batch.header.lastOffset,
    recordCount: batch.header.recordCount,
    flags: FrameFlag.FETCHED,
    chunks: [batch.toWire()]
  }))
  await wal.append(fetched, { beyondLimit: true, keepRepeats: true })
}
