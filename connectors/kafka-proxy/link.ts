// What the two directions of a session have in common, and all sessions of one proxy.
import type net from 'node:net'
import type { Share } from './budget.ts'
import type { CutReason } from './metrics.ts'
import type { Exchange, Outbox } from './outbox.ts'
import type { SettleContext } from './settle-produce.ts'

export interface Limits {
  /** frame.max.bytes */
  readonly frameBytes: number
  /** request.read.timeout.ms */
  readonly readTimeoutMs: number
  /** connections.max.idle.ms */
  readonly idleMs: number
}

/** What sessions of one proxy share. */
export interface SessionContext extends SettleContext {
  /** The share of the broker's clients. */
  readonly budget: Share
  readonly limits: Limits
}

/** What the two directions of a session have in common. */
export interface Link {
  readonly client: net.Socket
  readonly broker: net.Socket
  readonly outbox: Outbox
  readonly context: SessionContext
  /** Adds to what the client is owed, by default the end of it. */
  readonly send: (exchange: Exchange, chunks: readonly Buffer[], options?: { complete: boolean }) => void
  /** Ends both connections at once. */
  readonly abort: (error: unknown, reason?: CutReason) => void
  /** Takes up what had to wait; aborts for what it throws. */
  readonly proceed: (work: () => void) => void
}
