// Reads the hot indexes of WAL files, from any process and beside the thread that writes them. They are a cache: where one is
// missing, torn, of another Millrace or behind, a search does without it.
import Database from 'better-sqlite3'
import { FRAME_ROWS, hotIndexIdentity, hotIndexPath } from './hot-index-file.ts'

/** A run of frames, from the one with this id to where the next run begins, and the times between which their records lie. */
export interface FrameSpan {
  readonly frame: number
  readonly minTimestamp: number
  readonly maxTimestamp: number
}

export interface HotMatch {
  readonly frame: number
  /** The record's offset less the base offset of its batch. */
  readonly place: number
  readonly timestamp: number
}

/** So many matches in frames of others, one after the other, cost about as much as going on at the next of one's own. */
const LEAP_AFTER = 64

const selectMatches = `
  SELECT record.id, record.timestamp FROM text CROSS JOIN record ON record.id = text.rowid
  WHERE text MATCH ? AND text.rowid >= CAST(? AS INTEGER) AND text.rowid < CAST(? AS INTEGER) ORDER BY text.rowid`
const selectAll = `
  SELECT id, timestamp FROM record WHERE id >= CAST(? AS INTEGER) AND id < CAST(? AS INTEGER) ORDER BY id`

type Row = [id: number, timestamp: number]

/** One index, as it was when it was opened: what is added later is not looked at. */
export class HotIndex implements Disposable {
  readonly #db: Database.Database
  readonly #through: number
  readonly #leftOut: ReadonlySet<number>
  /** In the order of their frames. */
  readonly spans: readonly FrameSpan[]

  private constructor(db: Database.Database, through: number) {
    this.#db = db
    this.#through = through
    this.#leftOut = new Set(db.prepare<[], number>('SELECT frame FROM left_out').pluck().all())
    this.spans = db
      .prepare<[], FrameSpan>(
        'SELECT frame, min_timestamp AS minTimestamp, max_timestamp AS maxTimestamp FROM span ORDER BY frame'
      )
      .all()
  }

  /** Opens the index of a WAL file with this salt. Null where there is none that can be used. */
  static open(directory: string, file: number, salt: bigint): HotIndex | null {
    let db: Database.Database | undefined
    try {
      db = new Database(hotIndexPath(directory, file), { readonly: true })
      const state = db.prepare<[], { identity: string; through: number }>('SELECT identity, through FROM state').get()
      if (state?.identity === hotIndexIdentity(salt)) return new HotIndex(db, state.through)
    } catch {
      // It is a cache.
    }
    db?.close()
    return null
  }

  /** Whether the matches in a frame are found here. */
  has(frame: number): boolean {
    return frame <= this.#through && !this.#leftOut.has(frame)
  }

  /** The matches of an FTS5 expression (null: all records) in some frames, which ascend. Throws what SQLite says. */
  *match(expression: string | null, frames: readonly number[]): Generator<HotMatch> {
    const end = ((frames.at(-1) ?? 0) + 1) * FRAME_ROWS
    const query = this.#db.prepare<unknown[], Row>(expression === null ? selectAll : selectMatches).raw()
    const terms = expression === null ? [] : [expression]
    let next = 0
    while (next < frames.length) {
      let foreign = 0
      for (const [id, timestamp] of query.iterate(...terms, frames[next]! * FRAME_ROWS, end)) {
        const frame = Math.floor(id / FRAME_ROWS)
        while (frames[next]! < frame) next++
        if (frames[next] === frame) {
          foreign = 0
          yield { frame, place: id % FRAME_ROWS, timestamp }
        } else if (++foreign === LEAP_AFTER) break
      }
      if (foreign < LEAP_AFTER) return
    }
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }
}

/** The hot indexes of a WAL; each is open while somebody uses it. */
export class HotIndexes {
  readonly #directory: string
  readonly #open = new Map<number, { readonly index: HotIndex; readonly salt: bigint; users: number }>()

  constructor(directory: string) {
    this.#directory = directory
  }

  /** To be given back with `giveBack`. Null as for `HotIndex.open`. */
  take(file: number, salt: bigint): HotIndex | null {
    let held = this.#open.get(file)
    if (held !== undefined && held.salt !== salt) return null
    if (held === undefined) {
      const index = HotIndex.open(this.#directory, file, salt)
      if (index === null) return null
      this.#open.set(file, (held = { index, salt, users: 0 }))
    }
    held.users++
    return held.index
  }

  giveBack(file: number): void {
    const held = this.#open.get(file)
    if (held === undefined || --held.users > 0) return
    this.#open.delete(file)
    held.index[Symbol.dispose]()
  }
}
