// Whether a worker should get traffic, and if not, why: a pure look at the state of its parts, so that a probe waits
// for nothing.
import type { StreamState } from '../wal/wal.ts'

export const reasonKinds = ['starting', 'draining', 'upstream', 'wal', 'archive'] as const

export interface Reason {
  readonly what: (typeof reasonKinds)[number]
  readonly message: string
}

/** A partition of which something is not archived. */
export interface UnarchivedPartition extends StreamState {
  /** Why the archive has not got further. */
  readonly cause: string
}

export interface WorkerState {
  readonly phase: 'starting' | 'running' | 'draining'
  /** Why the cluster does not answer; null while it does. */
  readonly upstreamFault: string | null
  /** Why the WAL takes nothing; null while it does. */
  readonly walFault: string | null
  readonly unarchived: readonly UnarchivedPartition[]
  /** See `archiveLimitMs`. */
  readonly archiveLimitMs: number
  readonly now: number
}

/**
 * The age at which a captured batch should long have been archived. A batch is due at `segment.ms`; twice that again,
 * and a minute, is left for what is before it and for a store that has to be asked more than once. Sealing that has
 * failed for so long is behind too, since what it fails on was captured before.
 */
export function archiveLimitMs(segmentMs: number): number {
  return 3 * segmentMs + 60_000
}

/** Why the worker should get no traffic, at most one reason of each kind; none when it is ready. */
export function notReady(state: WorkerState): Reason[] {
  const messages: Record<Reason['what'], string | null> = {
    starting: state.phase === 'starting' ? 'not every connector is running yet' : null,
    draining: state.phase === 'draining' ? 'told to stop: it takes no new connections and archives what it has' : null,
    upstream: state.upstreamFault,
    wal: state.walFault,
    archive: behind(state)
  }
  return reasonKinds.flatMap(what => (messages[what] === null ? [] : [{ what, message: messages[what] }]))
}

/** Names the partition that is furthest behind, and how many others are. */
function behind({ unarchived, archiveLimitMs, now }: WorkerState): string | null {
  const late = unarchived.filter(({ oldestAppend }) => now - oldestAppend > archiveLimitMs)
  const [worst, ...others] = late.toSorted((a, b) => a.oldestAppend - b.oldestAppend)
  if (worst === undefined) return null
  const more = others.length === 0 ? '' : `, and ${others.length} other partitions are behind`
  const age = `captured ${seconds(now - worst.oldestAppend)} ago and not archived (limit ${seconds(archiveLimitMs)})`
  return `${worst.key.topic}-${worst.key.partition}: ${age}${more}: ${worst.cause}`
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`
}
