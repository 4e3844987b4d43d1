// A flush: what is there when it is called gets into the archive, whatever its size and age.
import { setTimeout as delay } from 'node:timers/promises'
import { before } from '../deadline.ts'
import { isMillraceError, MillraceError, messageOf } from '../errors.ts'
import { Throttled } from '../kafka/log-fetches.ts'
import type { GapFinder } from '../sealing/gap-finder.ts'
import type { SealStep } from '../sealing/seal-step.ts'
import type { StreamKey } from '../wal/stream.ts'
import { streamId } from '../wal/stream.ts'

/** What a flush works with. */
export interface FlushParts {
  /** What is captured and neither archived nor beside the archive, as far as is known. */
  pending(): readonly (Target & { readonly firstOffset: number })[]
  /** Archives the next segment of a stream, up to the high watermark. */
  seal(key: StreamKey): Promise<SealStep>
  readonly gaps: Pick<GapFinder, 'look' | 'silent' | 'behind'>
}

export interface FlushRequest {
  /** All topics where it is left out. */
  readonly topic?: string | undefined
  readonly timeoutMs: number
  /** Does not look for what was not captured. */
  readonly capturedOnly?: boolean
}

/** What a flush has made certain. */
export interface FlushReport {
  /** The archive holds every offset of these that was captured before the call, or that the broker had then. */
  readonly partitions: readonly {
    readonly topic: string
    readonly partition: number
    readonly archivedThrough: number
  }[]
}

interface Target {
  readonly key: StreamKey
  readonly lastOffset: number
}

/** How often a high watermark is looked at. After a failure, or without a leader, it is twice as long each time, up to a second. */
const POLL_MS = 50
const MAX_WAIT_MS = 1_000

/**
 * Seals and ships until the archive holds every offset captured before the call, of one topic or of all; and what the brokers have
 * then of the watched topics without its having been captured. Throws TIMEOUT naming a partition that is not there yet, and
 * BROKER_UNREACHABLE.
 */
export async function flush(
  parts: FlushParts,
  { topic, timeoutMs, capturedOnly = false }: FlushRequest
): Promise<FlushReport> {
  const deadline = performance.now() + timeoutMs
  const isWanted = (key: StreamKey): boolean => topic === undefined || key.topic === topic
  const archived = new Map<string, FlushReport['partitions'][number]>()
  const flushAll = async (targets: readonly Target[], isLeft: (target: Target) => boolean): Promise<void> => {
    for (const target of targets.filter(({ key }) => isWanted(key))) {
      const { topic, partition } = target.key
      const end = await flushOne(parts, target, () => isLeft(target), deadline)
      archived.set(streamId(target.key), { topic, partition, archivedThrough: end - 1 })
    }
  }
  const flushCaptured = (): Promise<void> => {
    const targets = parts.pending().filter(({ key }) => !archived.has(streamId(key)))
    // What an election took back is not left: it lies beside the archive, which may never reach so far.
    return flushAll(targets, ({ key, lastOffset }) =>
      parts.pending().some(one => streamId(one.key) === streamId(key) && one.firstOffset <= lastOffset)
    )
  }
  await flushCaptured()
  await flushCaptured() // of topics that were made anew, to which some of it turned out to belong
  if (!capturedOnly) {
    await lookAtAll(parts, isWanted, deadline)
    await flushAll(parts.gaps.behind(), () => true)
  }
  return { partitions: [...archived.values()] }
}

/** Looks until every wanted partition has a leader that answers. */
async function lookAtAll({ gaps }: FlushParts, isWanted: (key: StreamKey) => boolean, deadline: number): Promise<void> {
  for (let wait = POLL_MS; ; wait = Math.min(2 * wait, MAX_WAIT_MS)) {
    await gaps.look()
    const silent = gaps.silent().find(isWanted)
    if (silent === undefined) return
    if (performance.now() >= deadline) {
      const what = `${silent.topic}-${silent.partition}: no leader says how far its log reaches`
      const hint = 'Is the broker up that leads it? What was captured before the call is archived.'
      throw new MillraceError('TIMEOUT', what, { hint })
    }
    await delayWithin(deadline, wait)
  }
}

async function flushOne(
  { seal }: FlushParts,
  { key, lastOffset }: Target,
  isLeft: () => boolean,
  deadline: number
): Promise<number> {
  let failure: unknown = new Error('the store or the cluster has not answered yet')
  for (let wait = POLL_MS; ; ) {
    try {
      const done = await before(deadline, seal(key))
      if (done && (done.covered > lastOffset || !isLeft())) return done.end
      if (done) wait = POLL_MS
      if (done?.progressed) continue
      if (done) {
        failure = new Error(`the archive reaches offset ${done.end}, the high watermark is not past ${lastOffset} yet`)
      }
    } catch (error) {
      if (!isMillraceError(error) || !error.retriable) throw error
      failure = error
      wait = error instanceof Throttled ? error.forMs : Math.min(2 * wait, MAX_WAIT_MS)
    }
    if (performance.now() >= deadline) {
      const hint = isMillraceError(failure) ? failure.hint : undefined
      throw new MillraceError('TIMEOUT', `${key.topic}-${key.partition}: ${messageOf(failure)}`, {
        cause: failure,
        hint
      })
    }
    await delayWithin(deadline, wait)
  }
}

async function delayWithin(deadline: number, ms: number): Promise<void> {
  await delay(Math.max(0, Math.min(ms, deadline - performance.now())))
}
