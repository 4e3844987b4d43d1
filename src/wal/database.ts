// One WAL file as an SQLite database: its schema, how it comes into being, and how it is opened. See docs/formats.md.
import { closeSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs'
import Database from 'better-sqlite3'
import { MillraceError } from '../errors.ts'
import { dbPath, draftPath, syncPath, walPath } from './files.ts'

/** Kept in `user_version`; any change of the tables is a new number. */
const SCHEMA_VERSION = 1

/** The columns before the blob are read without it: SQLite follows no overflow page for them. */
const schema = `
  create table stream (
    id integer primary key, cluster text not null, topic text not null, topic_id text not null, partition integer not null
  ) strict;
  create table frame (
    id integer primary key, stream integer not null, base integer not null, last integer not null, crc integer not null,
    flags integer not null, bytes integer not null, appended_ms integer not null, body blob not null
  ) strict;
  pragma application_id = ${0xca7e};
  pragma user_version = ${SCHEMA_VERSION};
`

/** 16 KiB: a 64 KiB batch then takes four pages and a little; other sizes were slower or wrote more (docs/formats.md). */
const PAGE_BYTES = 16_384

/** A database with its schema and no row: a page each for SQLite's own table and our two. */
export const EMPTY_DATABASE_BYTES = 3 * PAGE_BYTES

/**
 * Makes the empty file `<n>.db` beside an empty `-wal`, schema and names on the disk. It is built under another name: a
 * `.db` that SQLite finds empty makes it delete the `-wal` beside it, and no crash may leave such a pair.
 */
export function createDatabase(directory: string, file: number): void {
  const draft = draftPath(directory, file)
  try {
    const db = new Database(draft)
    try {
      db.pragma(`page_size = ${PAGE_BYTES}`)
      db.pragma('journal_mode = WAL')
      db.pragma('synchronous = FULL')
      db.exec(schema)
    } finally {
      db.close() // the last one: moves everything into the database and deletes the draft's -wal
    }
    syncPath(draft)
    createEmpty(walPath(directory, file))
    syncPath(directory)
    renameSync(draft, dbPath(directory, file))
    syncPath(directory)
  } catch (error) {
    for (const path of [draft, `${draft}-wal`, `${draft}-shm`]) rmSync(path, { force: true })
    rmSync(dbPath(directory, file), { force: true })
    rmSync(walPath(directory, file), { force: true })
    throw error
  }
}

function createEmpty(path: string): void {
  const fd = openSync(path, 'wx')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** How long a commit waits for another program that has locked the file: none of ours does, and producers are waiting. */
const FOREIGN_LOCK_WAIT_MS = 200

/** Opens a file for appending: every commit is an fsync of the `-wal`, and nothing is ever moved out of it. */
export function openForAppend(directory: string, file: number): Database.Database {
  const db = new Database(dbPath(directory, file), { fileMustExist: true, timeout: FOREIGN_LOCK_WAIT_MS })
  try {
    db.pragma('synchronous = FULL')
    db.pragma('fullfsync = on') // macOS: fsync alone stops at the drive's cache
    db.pragma('wal_autocheckpoint = 0')
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

/**
 * Opens a file readonly, and holds it: as long as this handle lives, closing the writer does not checkpoint, and a
 * readonly handle never does. Throws WAL_CORRUPT for a database of another kind or a later version.
 */
export function openReadonly(directory: string, file: number): Database.Database {
  const path = dbPath(directory, file)
  const db = new Database(path, { readonly: true, fileMustExist: true })
  try {
    db.pragma('cache_size = -512')
    const version = db.pragma('user_version', { simple: true }) // a first read: SQLite takes its lock only then
    if (version !== SCHEMA_VERSION || db.pragma('application_id', { simple: true }) !== 0xca7e) {
      throw new MillraceError(
        'WAL_CORRUPT',
        `${path} is not a WAL file of version ${SCHEMA_VERSION} (got ${version})`,
        {
          hint: 'A newer Millrace may have written it: start that one, or move the file and its -wal away.'
        }
      )
    }
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

/** True for an error of SQLite whose code begins with `code`, as in SQLITE_IOERR. */
export function isSqliteError(error: unknown, code: string): boolean {
  return error instanceof Database.SqliteError && error.code.startsWith(code)
}
