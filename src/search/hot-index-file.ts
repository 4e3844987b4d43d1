// The hot index of one WAL file, `<n>.db`, as the index thread writes it: an SQLite database with the very full-text table that
// segments have. It is a cache: whatever is odd about it is a reason to make it anew, or to do without.
import { hash } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import type { KafkaRecord } from '../kafka/records.ts'
import { packageVersion } from '../package-version.ts'
import { textSchema, WRITER_CACHE } from '../segment/index-schema.ts'
import { indexedText } from '../segment/search-text.ts'

/** A record's row id is its frame's id times this, and the record's offset less the batch's base offset. */
export const FRAME_ROWS = 2 ** 22

/** A span ends with the frame that brings it to so many records. */
const SPAN_RECORDS = 1024

/**
 * FTS5 merges what it has written in steps once there are so many pieces of a size, of which a search asks each. With its 4
 * the pieces of a file are written once more, and a search is no quicker that anybody would notice.
 */
const AUTOMERGE = 16

const schema = `${textSchema};
  INSERT INTO text (text, rank) VALUES ('automerge', ${AUTOMERGE});
  CREATE TABLE record (id INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL);
  -- Runs of frames, by the first one's id; a run ends where the next begins.
  CREATE TABLE span (frame INTEGER PRIMARY KEY, min_timestamp INTEGER NOT NULL, max_timestamp INTEGER NOT NULL);
  -- Frames up to the last one that was gone through of which the records are not here.
  CREATE TABLE left_out (frame INTEGER PRIMARY KEY);
  CREATE TABLE state (identity TEXT NOT NULL, through INTEGER NOT NULL)`

const schemaHash = hash('sha256', schema, 'hex').slice(0, 8)

export function hotIndexPath(directory: string, file: number): string {
  return path.join(directory, `${file}.db`)
}

/** Deletes the index of a WAL file, if there is one. The database goes first: without it nobody looks at what is beside it. */
export function dropHotIndex(directory: string, file: number): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(hotIndexPath(directory, file) + suffix, { force: true })
}

/**
 * What an index must say of itself to be used: its words are those of this Millrace, its frames those of this file and no other
 * of the same number, and the system has run since it was begun, for it is written without fsync.
 */
export function hotIndexIdentity(salt: bigint): string {
  return JSON.stringify([packageVersion, schemaHash, salt.toString(16), bootId()])
}

/** Another one after each start of the system; empty where the system does not tell. */
function bootId(): string {
  if (process.platform !== 'linux') return ''
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return ''
  }
}

export class HotIndexWriter implements Disposable {
  readonly #db: Database.Database
  readonly #insertText: Database.Statement
  readonly #insertRecord: Database.Statement
  readonly #leaveOut: Database.Statement
  readonly #insertSpan: Database.Statement
  readonly #setThrough: Database.Statement
  #span: { frame: number; records: number; min: number; max: number } | null = null
  #through: number
  /** What others see. */
  #shown: number
  #bytesWaiting = 0

  private constructor(db: Database.Database) {
    this.#db = db
    this.#insertText = db.prepare('INSERT INTO text (rowid, key, value, headers) VALUES (?, ?, ?, ?)')
    this.#insertRecord = db.prepare('INSERT INTO record VALUES (?, ?)')
    this.#leaveOut = db.prepare('INSERT INTO left_out VALUES (?)')
    this.#insertSpan = db.prepare('INSERT INTO span VALUES (?, ?, ?)')
    this.#setThrough = db.prepare('UPDATE state SET through = ?')
    this.#shown = this.#through = db.prepare<[], number>('SELECT through FROM state').pluck().get()!
    db.exec('BEGIN')
  }

  /** Goes on with what is there, or begins anew. Throws what SQLite says. */
  static open(directory: string, file: number, salt: bigint): HotIndexWriter {
    const identity = hotIndexIdentity(salt)
    const existing = tryOpen(hotIndexPath(directory, file), identity)
    if (existing !== null) return new HotIndexWriter(existing)
    dropHotIndex(directory, file)
    return new HotIndexWriter(create(hotIndexPath(directory, file), identity))
  }

  /** The frames of the file up to this id are here or left out. */
  get through(): number {
    return this.#through
  }

  /** Bytes of what was added and is not committed, without compression. */
  get bytesWaiting(): number {
    return this.#bytesWaiting
  }

  /**
   * Takes in the records of a frame. Frames come by id. After a throw, which is what SQLite says or a RangeError for a record
   * that lies too far from the base offset, the index is not to be gone on with.
   */
  add(frame: number, baseOffset: number, records: Iterable<KafkaRecord>): void {
    this.#reach(frame)
    const span = (this.#span ??= { frame, records: 0, min: Number.MAX_SAFE_INTEGER, max: -Number.MAX_SAFE_INTEGER })
    for (const record of records) {
      const place = record.offset - baseOffset
      if (place < 0 || place >= FRAME_ROWS)
        throw new RangeError(`a batch at ${baseOffset} has a record ${record.offset}`)
      const id = frame * FRAME_ROWS + place
      this.#insertText.run(id, ...indexedText(record))
      this.#insertRecord.run(id, record.timestamp)
      this.#bytesWaiting += (record.key?.length ?? 0) + (record.value?.length ?? 0)
      span.records++
      span.min = Math.min(span.min, record.timestamp)
      span.max = Math.max(span.max, record.timestamp)
    }
    if (span.records >= SPAN_RECORDS) this.#endSpan()
  }

  /** Takes note that a search has to read a frame itself. */
  leaveOut(frame: number): void {
    this.#reach(frame)
    this.#leaveOut.run(frame)
  }

  /** Of frames that nobody could name nothing is here. */
  #reach(frame: number): void {
    for (let missing = this.#through + 1; missing < frame; missing++) this.#leaveOut.run(missing)
    this.#through = frame
  }

  /** Shows to others what has come. */
  commit(): void {
    if (this.#through === this.#shown) return
    this.#endSpan()
    this.#setThrough.run(this.#through)
    this.#db.exec('COMMIT; BEGIN')
    this.#shown = this.#through
    this.#bytesWaiting = 0
  }

  #endSpan(): void {
    const span = this.#span
    this.#span = null
    if (span !== null && span.records > 0) this.#insertSpan.run(span.frame, span.min, span.max)
  }

  /** What is not committed is lost. */
  [Symbol.dispose](): void {
    this.#db.close()
  }
}

function create(file: string, identity: string): Database.Database {
  const db = writable(new Database(file))
  db.exec(`BEGIN; ${schema}`)
  db.prepare('INSERT INTO state VALUES (?, 0)').run(identity)
  db.exec('COMMIT')
  return db
}

function writable(db: Database.Database): Database.Database {
  db.pragma(`synchronous = ${bootId() === '' ? 'NORMAL' : 'OFF'}`)
  db.pragma(WRITER_CACHE)
  db.pragma('journal_mode = WAL') // so that nobody who reads waits for the thread, nor the thread for them
  return db
}

/** Null for whatever is not there, or is not to be gone on with. */
function tryOpen(file: string, identity: string): Database.Database | null {
  let db: Database.Database | undefined
  try {
    db = new Database(file, { fileMustExist: true })
    if (db.prepare('SELECT identity FROM state').pluck().get() === identity) return writable(db)
  } catch {
    // Torn, or no database at all.
  }
  db?.close()
  return null
}
