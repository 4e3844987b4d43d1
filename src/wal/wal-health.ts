// Whether the WAL takes appends: it does not after a failed write, nor while the room that it may take is used up.
import { MillraceError } from '../errors.ts'
import { Listeners } from './listeners.ts'

export type WalHealth = { readonly ok: true } | { readonly ok: false; readonly error: MillraceError }

export class HealthWatch {
  readonly changes = new Listeners<WalHealth>()
  /** Set from a failed write until the next file is open. */
  failed: MillraceError | undefined
  /** Set while the disk has less free than its reserve. */
  shortage: MillraceError | undefined
  readonly #full: MillraceError
  readonly #isFull: () => boolean
  /** The error that the listeners know of. */
  #told: MillraceError | undefined

  /** `usedBytes` is what counts against `maxBytes`, asked whenever it matters. */
  constructor(maxBytes: number, usedBytes: () => number) {
    this.#isFull = () => usedBytes() >= maxBytes
    this.#full = new MillraceError('WAL_FULL', `the WAL has reached its limit of ${maxBytes} bytes`, {
      hint: 'It goes on when what is in it has been archived; or raise wal.max.bytes.'
    })
  }

  /** What of the room is used up. */
  get lack(): MillraceError | undefined {
    return this.#isFull() ? this.#full : this.shortage
  }

  get now(): WalHealth {
    const error = this.failed ?? this.lack
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
