// The rows of a WAL file as readers see them: what a row says of its frame, the frame itself, and the check of a whole file,
// which goes on behind whatever it cannot read.
import type Database from 'better-sqlite3'
import { isMillraceError, MillraceError, messageOf } from '../errors.ts'
import { isSqliteError } from './database.ts'
import { WalRecord } from './frame.ts'
import { streamsOf } from './recovery.ts'
import type { StreamKey } from './stream.ts'
import { streamId } from './stream.ts'

/** What is known of a frame without reading it. */
export interface WalEntry {
  readonly file: number
  readonly id: number
  readonly baseOffset: number
  readonly lastOffset: number
  /** The batch's own CRC-32C. */
  readonly crc: number
  readonly flags: number
  /** Bytes of the batch. */
  readonly bytes: number
  readonly appendedMs: number
}

export type EntryRow = Omit<WalEntry, 'file'>

/** An EntryRow's columns. */
export const entryColumns = 'id, base baseOffset, last lastOffset, crc, flags, bytes, appended_ms appendedMs'

/** The outcome for one frame; without an entry, for rows or a whole file that cannot be read. */
export interface FrameCheck {
  readonly file: number
  readonly key?: StreamKey
  readonly entry?: WalEntry
  readonly error?: MillraceError
}

/** How many rows may lie behind damage before nothing more is looked for: more than a page of 16 KiB has room for. */
const MOST_ROWS_OF_A_PAGE = 1000

/**
 * Decodes what `get` gives for a row and compares it with what the row's columns say; `key` too, where it is known.
 * Throws WAL_CORRUPT that begins with `where`.
 */
export function readFrame(get: () => { body: unknown } | undefined, entry: EntryRow, where: string, key?: StreamKey) {
  const corrupt = (what: string) => new MillraceError('WAL_CORRUPT', `${where} ${what}`)
  const row = orCorruption(get, where)
  if (row instanceof MillraceError) throw row
  if (row === undefined) throw corrupt('is missing')
  if (!Buffer.isBuffer(row.body)) throw corrupt('holds no frame')
  const record = WalRecord.decode(row.body, where)
  const offset = record.version === 2 ? record.baseOffset : record.offset
  const isOurs =
    offset === entry.baseOffset &&
    record.flags === entry.flags &&
    (record.version === 1 || (record.lastOffset === entry.lastOffset && record.batch.length === entry.bytes)) &&
    (key === undefined || streamId(record.stream) === streamId(key))
  if (!isOurs) {
    const { topic, partition } = record.stream
    throw corrupt(`holds the frame of another row, of ${topic}-${partition} at offset ${offset}`)
  }
  return record
}

/** Reads every frame of a file, in the order of their ids, which count from 1 without a gap, and yields the outcomes. */
export function* verifyRows(db: Database.Database, file: number, path: string): Generator<FrameCheck> {
  const streams = orCorruption(() => new Map(streamsOf(db).map(({ id, key }) => [id, key])), `${path} table stream`)
  if (streams instanceof MillraceError) yield { file, error: streams }
  const rows = new RowCheck(db, { file, path, streams: streams instanceof MillraceError ? undefined : streams })
  for (let id = 1; ; ) {
    const { check, error } = rows.first(id)
    const found = check?.entry.id
    if (found !== id && (found !== undefined || error !== undefined)) {
      const which =
        found === undefined ? `rows from ${id} on` : found === id + 1 ? `row ${id}` : `rows ${id} to ${found - 1}`
      yield { file, error: new MillraceError('WAL_CORRUPT', `${path} ${which} cannot be read`, { cause: error }) }
    }
    if (found === undefined) return
    yield check!
    id = found + 1
  }
}

type StreamRow = EntryRow & { readonly stream: number }

interface FileFacts {
  readonly file: number
  readonly path: string
  /** By their numbers; undefined when their table cannot be read, and the frames alone say whose they are. */
  readonly streams: ReadonlyMap<number, StreamKey> | undefined
}

class RowCheck {
  readonly #facts: FileFacts
  readonly #next: Database.Statement<[number], StreamRow>
  readonly #body: Database.Statement<[number], { body: unknown }>

  constructor(db: Database.Database, facts: FileFacts) {
    this.#facts = facts
    this.#next = db.prepare(`select stream, ${entryColumns} from frame where id >= ? order by id limit 1`)
    this.#body = db.prepare('select body from frame where id = ?')
  }

  /**
   * The first row from `id` on that can be read, checked, and the error that stood before it, if any. In a damaged page a
   * search may end at a row before, or at one whose id is no id: after a leap only a row with a sound frame is believed.
   */
  first(id: number): { check?: FrameCheck & { entry: WalEntry }; error?: MillraceError } {
    let error: MillraceError | undefined
    for (let wanted = id; wanted < id + MOST_ROWS_OF_A_PAGE; wanted++) {
      const row = orCorruption(() => this.#next.get(wanted), this.#facts.path)
      if (row === undefined) break
      if (row instanceof MillraceError) {
        error ??= row
        continue
      }
      const check = this.#check(row)
      if (row.id === wanted || (row.id > wanted && check.error === undefined)) return { check, ...(error && { error }) }
      error ??= check.error ?? new MillraceError('WAL_CORRUPT', `${this.#facts.path} row ${row.id} is out of place`)
    }
    return error === undefined ? {} : { error }
  }

  #check({ stream, ...row }: StreamRow): FrameCheck & { entry: WalEntry } {
    const { file, path, streams } = this.#facts
    const named = streams?.get(stream)
    const name = named === undefined ? `unknown stream ${stream}` : `${named.topic}-${named.partition}`
    const where = `${path} row ${row.id} (${name}, offset ${row.baseOffset})`
    const outcome = orCorruption(() => {
      if (streams?.has(stream) === false) throw new MillraceError('WAL_CORRUPT', `${where} names no stream of the file`)
      return readFrame(() => this.#body.get(row.id), row, where, named)
    }, where)
    if (outcome instanceof MillraceError)
      return { file, ...(named && { key: named }), entry: { file, ...row }, error: outcome }
    return { file, key: outcome.stream, entry: { file, ...row } }
  }
}

/** What `read` gives, or the WAL_CORRUPT that it throws; what SQLite itself cannot read counts as that. Throws all else. */
export function orCorruption<T>(read: () => T, where: string): T | MillraceError {
  try {
    return read()
  } catch (error) {
    if (isMillraceError(error, 'WAL_CORRUPT')) return error
    // A RangeError is an integer beyond 2^53, which no row of ours has.
    const unreadable = ['SQLITE_CORRUPT', 'SQLITE_NOTADB', 'SQLITE_IOERR'].some(code => isSqliteError(error, code))
    if (!unreadable && !(error instanceof RangeError)) throw error
    return new MillraceError('WAL_CORRUPT', `${where}: SQLite cannot read it (${messageOf(error)})`, { cause: error })
  }
}
