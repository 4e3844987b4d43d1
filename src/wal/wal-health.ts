// Whether the WAL takes appends: it does not after a failed write, nor while the room that it may take is used up, nor while
// the disk hangs.
import { MillraceError } from '../errors.ts'
import { Listeners } from './listeners.ts'

export type WalHealth = { readonly ok: true } | { readonly ok: false; readonly error: MillraceError }

/**
 * An append that waits so long for the disk counts as a fault, though no error has come. What is appended behind it is held in
 * memory, and nothing else bounds that: held answers are given up in time for their producers. A choice, not a measurement.
 */
const STALLED_MS = 5_000

const stalled = new MillraceError('WAL_FAILED', `the disk has not taken an append for ${STALLED_MS / 1000} s`, {
  hint: 'The WAL goes on by itself when the disk does.'
})

export class HealthWatch {
  readonly changes = new Listeners<WalHealth>()
  /** Set from a failed write until the next file is open. */
  failed: MillraceError | undefined
  /** Set while the disk has less free than its reserve. */
  shortage: MillraceError | undefined
  readonly #full: MillraceError
  readonly #isFull: () => boolean
  readonly #isStalled: () => boolean
  /** The error that the listeners know of. */
  #told: MillraceError | undefined

  /** `usedBytes` is what counts against `maxBytes`, `waitingMs` how long an append has waited; asked whenever it matters. */
  constructor(maxBytes: number, usedBytes: () => number, waitingMs: () => number) {
    this.#isFull = () => usedBytes() >= maxBytes
    this.#isStalled = () => waitingMs() > STALLED_MS
    this.#full = new MillraceError('WAL_FULL', `the WAL has reached its limit of ${maxBytes} bytes`, {
      hint: 'It goes on when what is in it has been archived; or raise wal.max.bytes.'
    })
  }

  /** What of the room is used up. */
  get lack(): MillraceError | undefined {
    return this.#isFull() ? this.#full : this.shortage
  }

  /** Why nothing is taken now that is not there to make room. */
  get refusal(): MillraceError | undefined {
    return this.lack ?? (this.#isStalled() ? stalled : undefined)
  }

  get now(): WalHealth {
    const error = this.failed ?? this.refusal
    return error === undefined ? { ok: true } : { ok: false, error }
  }

  /** Tells the listeners if it turned good or bad, or bad for another reason. */
  tell(): void {
    const health = this.now
    const error = health.ok ? undefined : health.error
    if (error === this.#told) return
    this.#told = error
    this.changes.tell(health)
  }
}
