// The flow: capture → WAL → segment → archive. Sources append to the WAL; this decides when what they appended is sealed
// and shipped, and carries it out one segment after the other.
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { before } from '../deadline.ts'
import { isMillraceError, MillraceError, messageOf } from '../errors.ts'
import { Unanswering } from '../kafka/broker-connections.ts'
import { Throttled } from '../kafka/log-fetches.ts'
import type { GapFinder } from '../sealing/gap-finder.ts'
import type { SealStep } from '../sealing/seal-step.ts'
import type { Sealer } from '../sealing/sealer.ts'
import type { CapturedBatch } from '../wal/messages.ts'
import type { StreamKey } from '../wal/stream.ts'
import { streamId } from '../wal/stream.ts'
import type { StreamState, Wal } from '../wal/wal.ts'
import type { FlushReport, FlushRequest } from './flush.ts'
import { flush } from './flush.ts'

export interface PipelineOptions {
  readonly wal: Wal
  /** Captures of other clusters stay in the WAL, until a worker runs before theirs again. */
  readonly clusterId: string
  readonly sealer: Sealer
  readonly gaps: Pick<GapFinder, 'look' | 'lookAgain' | 'due' | 'behind' | 'silent' | 'begin' | 'seenEnd' | 'sealed'>
  readonly logger: Logger
  readonly segmentBytes: number
  readonly segmentMs: number
  readonly walMaxBytes: number
}

const TICK_MS = 250
/** How long a segment that is being built or put may still take at the end. */
const STOP_MS = 5_000
/** After a failure a partition waits this long, twice as long each time, up to a minute. */
const FIRST_BACKOFF_MS = 1_000
const MAX_BACKOFF_MS = 60_000
/** A leader that does not answer is not waited for, so that to ask for it often costs nothing. */
const MAX_UNANSWERED_MS = 5_000

export class Pipeline implements AsyncDisposable {
  readonly #options: PipelineOptions
  readonly #stopping = new AbortController()
  /** By stream: how often its seal has failed, and until when, by `performance.now()`, it waits. */
  readonly #failures = new Map<string, { count: number; until: number }>()
  /** By stream: until when, by `performance.now()`, it was said to wait for a quota. */
  readonly #throttledUntil = new Map<string, number>()
  /** By stream: why its last seal did not get on. */
  readonly #causes = new Map<string, string>()
  #sealingFailures = 0
  /** The seal that is under way: its partition, and since when by `performance.now()`. */
  #sealing: { readonly partition: string; readonly since: number } | null = null
  #tidyAgainAt = 0
  /** Whether the last look for what was not captured succeeded. */
  #looked = true
  #loop: Promise<void> | null = null
  /** Segments are built one at a time; whoever wants one waits for the one before. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: PipelineOptions) {
    this.#options = options
  }

  /** Seals what is due from now on. To be called when all sources run: they say what is watched, and from where on. */
  start(): void {
    const { wal, logger, clusterId } = this.#options
    const others = new Set(wal.streams().flatMap(({ key }) => (this.#isOurs(key) ? [] : [key.clusterId])))
    if (others.size > 0) {
      logger.warn(
        { others: [...others] },
        `captures of other clusters than ${clusterId} wait until a worker runs before theirs again`
      )
    }
    this.#loop = this.#run()
  }

  /** Makes captured batches durable. This is all that a source waits for. Throws WAL_FAILED, WAL_FULL. */
  capture(batches: readonly CapturedBatch[]): Promise<void> {
    return this.#options.wal.append(batches)
  }

  /** Why nothing can be captured now; null while it can. */
  captureFault(): MillraceError | null {
    const { health } = this.#options.wal
    return health.ok ? null : health.error
  }

  /** The partitions of which something is not known to be archived, and why the archive has not got further. */
  unarchived(): (StreamState & { readonly cause: string })[] {
    return this.#pending().map(state => ({
      ...state,
      cause: this.#causes.get(streamId(state.key)) ?? this.#occupation()
    }))
  }

  /** Seals that failed since the start. */
  get sealingFailures(): number {
    return this.#sealingFailures
  }

  #occupation(): string {
    if (this.#sealing === null) return 'its turn to be sealed has not come'
    const { partition, since } = this.#sealing
    return `${partition} has been under way to the archive for ${Math.round((performance.now() - since) / 1000)} s`
  }

  /** See `flush`. Throws WORKER_UNREACHABLE before the start. */
  async flush(request: FlushRequest): Promise<FlushReport> {
    if (this.#loop === null) {
      const hint = 'Try again when /readyz says that it is ready.'
      throw new MillraceError('WORKER_UNREACHABLE', 'the worker is starting: it does not archive yet', { hint })
    }
    const seal = (key: StreamKey) => this.#seal(key, { toHighWatermark: true })
    return await flush({ pending: () => this.#pending(), seal, gaps: this.#options.gaps }, request)
  }

  /** Stops sealing; a store that does not answer is not waited for. What is not archived stays in the WAL. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    await before(performance.now() + STOP_MS, Promise.all([this.#loop, this.#turn.catch(() => {})]))
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#look()
      for (const key of this.#due()) {
        if (this.#stopping.signal.aborted) return
        await this.#sealDue(key)
      }
      await this.#tidy()
      await delay(TICK_MS, undefined, { signal: this.#stopping.signal }).catch(() => {})
    }
  }

  async #look(): Promise<void> {
    try {
      await this.#options.gaps.lookAgain()
      this.#looked = true
    } catch (err) {
      if (this.#looked)
        this.#options.logger.warn({ err }, 'what was not captured cannot be looked for; it is tried again')
      this.#looked = false
    }
  }

  async #sealDue(key: StreamKey): Promise<void> {
    const id = streamId(key)
    // Without captures it is due because the broker has more.
    const aged = this.#isAged(this.#state(key)?.oldestAppend ?? 0)
    try {
      const { progressed } = await this.#seal(key, { toHighWatermark: aged })
      this.#failures.delete(id)
      // Nothing could be sealed yet, most likely because the high watermark lags: not to be asked again at once.
      if (!progressed) this.#failures.set(id, { count: 0, until: performance.now() + FIRST_BACKOFF_MS })
    } catch (error) {
      if (error instanceof Throttled) {
        this.#failures.set(id, { count: 0, until: performance.now() + error.forMs })
        return
      }
      this.#tell(key, error, this.#postpone(id, error))
    }
  }

  /** Of a leader that is elected meanwhile nothing has failed; one that does not answer is named once for each partition. */
  #tell(key: StreamKey, err: unknown, count: number): void {
    const { logger } = this.#options
    const isLeaders = isMillraceError(err) && err.code.startsWith('BROKER_') && err.retriable
    if (isLeaders && count === 1) logger.info({ stream: key, reason: err.message }, 'not sealed yet; it is tried again')
    else if (!(err instanceof Unanswering) || count === 2)
      logger.error({ err, stream: key }, 'sealing failed; the batches stay in the WAL and it is tried again')
  }

  /** Once for each time that a partition has to wait. */
  #tellThrottled(key: StreamKey, { forMs, hint }: Throttled): void {
    const now = performance.now()
    const id = streamId(key)
    if ((this.#throttledUntil.get(id) ?? 0) > now) return
    this.#throttledUntil.set(id, now + forMs)
    const seconds = (forMs / 1000).toFixed(1)
    const what = `${key.topic}-${key.partition} waits ${seconds} s: the quota of client id millrace is used up`
    this.#options.logger.info({ stream: key, forMs, hint }, what)
  }

  /** Frees files that little is needed of. A seal must not be under way: it knows rows by their places. */
  async #tidy(): Promise<void> {
    if (this.#tidyAgainAt > performance.now()) return
    try {
      await this.#inTurn(() => this.#options.wal.freeSparseFile())
    } catch (error) {
      this.#tidyAgainAt = performance.now() + MAX_BACKOFF_MS
      this.#options.logger.error({ err: error }, 'a WAL file of which little is needed stays; it is tried again')
    }
  }

  /** The next segment of a stream, when those before it are done; keeps in mind why it did not get on. */
  async #seal(key: StreamKey, options: { toHighWatermark: boolean }): Promise<SealStep> {
    const id = streamId(key)
    try {
      const { gaps, sealer } = this.#options
      const step = await this.#inTurn(async () => {
        this.#sealing = { partition: `${key.topic}-${key.partition}`, since: performance.now() }
        try {
          return await sealer.sealNext(key, { ...options, begin: await gaps.begin(key), seenEnd: gaps.seenEnd(key) })
        } finally {
          this.#sealing = null
        }
      })
      gaps.sealed(key, step)
      if (step.progressed) this.#causes.delete(id)
      else this.#causes.set(id, `the high watermark is not past what was captured from offset ${step.end} on`)
      return step
    } catch (error) {
      if (error instanceof Throttled) this.#tellThrottled(key, error)
      else this.#sealingFailures += 1
      this.#causes.set(id, messageOf(error))
      throw error
    }
  }

  /** Gives how often it has failed. */
  #postpone(id: string, error: unknown): number {
    const count = (this.#failures.get(id)?.count ?? 0) + 1
    const longest = error instanceof Unanswering ? MAX_UNANSWERED_MS : MAX_BACKOFF_MS
    const wait = Math.min(FIRST_BACKOFF_MS * 2 ** (count - 1), longest)
    this.#failures.set(id, { count, until: performance.now() + wait })
    return count
  }

  /**
   * Streams that are to be sealed now: by size, by age, for what lacks of them, and before these, when the WAL is half full
   * or takes nothing, those that keep the oldest file from being deleted.
   */
  #due(): Iterable<StreamKey> {
    const { segmentBytes } = this.#options
    const due = this.#pending().filter(
      ({ key, unreleasedBytes, oldestAppend }) =>
        (unreleasedBytes >= segmentBytes || this.#isAged(oldestAppend)) && !this.#isPostponed(key)
    )
    const lacking = this.#options.gaps.due().filter(key => !this.#isPostponed(key))
    const keys = [...(this.#isPressed ? this.#pinning() : []), ...due.map(({ key }) => key), ...lacking]
    return new Map(keys.map(key => [streamId(key), key])).values()
  }

  /** By how much the two times differ: the clock may have been set back since. */
  #isAged(oldestAppend: number): boolean {
    return Math.abs(Date.now() - oldestAppend) >= this.#options.segmentMs
  }

  /** Files that are being deleted are no reason to seal more. */
  get #isPressed(): boolean {
    const { wal, walMaxBytes } = this.#options
    return wal.heldBytes > walMaxBytes / 2 || !wal.health.ok
  }

  /** The streams of the oldest file that has any which can be sealed now. */
  #pinning(): StreamKey[] {
    for (const keys of this.#options.wal.streamsByFile()) {
      const sealable = keys.filter(key => this.#isOurs(key) && !this.#isPostponed(key))
      if (sealable.length > 0) return sealable
    }
    return []
  }

  #isPostponed(key: StreamKey): boolean {
    return (this.#failures.get(streamId(key))?.until ?? 0) > performance.now()
  }

  #pending(): StreamState[] {
    return this.#options.wal.streams().filter(one => one.unreleasedBatches > 0 && this.#isOurs(one.key))
  }

  #isOurs({ clusterId }: StreamKey): boolean {
    return clusterId === this.#options.clusterId
  }

  #state(key: StreamKey): StreamState | undefined {
    return this.#pending().find(state => streamId(state.key) === streamId(key))
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work, work)
    this.#turn = mine
    return mine
  }
}
