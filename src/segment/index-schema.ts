// The tables of `search.db`, and what a file from elsewhere may not have beside them.
import { closeSync, openSync, readSync } from 'node:fs'
import Database from 'better-sqlite3'
import { TOKENIZER } from './search-text.ts'

/** Those beside `text` and FTS5's own. */
const tables: Readonly<Record<string, string>> = {
  span:
    'CREATE TABLE span (first INTEGER PRIMARY KEY, min_timestamp INTEGER NOT NULL, max_timestamp INTEGER NOT NULL, ' +
    'records BLOB NOT NULL)',
  word: 'CREATE TABLE word (kind TEXT, word TEXT, records INTEGER NOT NULL, PRIMARY KEY (kind, word)) WITHOUT ROWID'
}

/** What format versions 1 and 2 have in their place: 1 only the first, and no `word`. */
const tablesBefore: Readonly<Record<string, string>> = {
  record: 'CREATE TABLE record (offset INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL)',
  span: 'CREATE TABLE span (first INTEGER PRIMARY KEY, min_timestamp INTEGER NOT NULL, max_timestamp INTEGER NOT NULL)'
}

/**
 * The full-text table, whatever the row ids mean. Contentless, so that the text is not stored a second time; words are folded to
 * plain lower-case letters. It has no places of words (`detail = none`): they would take three bytes a word, two fifths of the
 * file, and a record is read anyway before it is shown. FTS5 gathers 4 MiB before it writes a piece of the index: with 16 MiB,
 * which no core's cache holds, the file is a tenth smaller, and building it takes a third longer. A page of FTS5 fills one of SQLite's.
 */
export const textSchema = `
  CREATE VIRTUAL TABLE text USING fts5(
    value, key, headers, content = '', columnsize = 0, detail = none, tokenize = '${TOKENIZER}'
  );
  INSERT INTO text (text, rank) VALUES ('hashsize', 4194304), ('pgsz', 4000)`

/**
 * Larger pages are written a little faster. Pieces are not merged: a search of some dozens takes less than the merging, which leaves
 * the file with empty pages, too.
 */
export const searchSchema = `PRAGMA page_size = 8192; ${textSchema};
  ${Object.values(tables).join(';\n  ')};
  INSERT INTO text (text, rank) VALUES ('automerge', 0), ('crisismerge', 256), ('pgsz', 8050)`

/**
 * For whoever writes an index: better-sqlite3 lets each connection keep 16 MB of pages. Building one takes as long with 2 MB, as
 * pages of words are written once, behind each other.
 */
export const WRITER_CACHE = 'cache_size = -2000'

/** The names of its tables. Throws RangeError for what might make a harmless query do something else, such as run forever. */
export function checkedTables(db: Database.Database): ReadonlySet<string> {
  const objects = db
    .prepare<[], { type: string; name: string; sql: string | null }>('SELECT type, name, sql FROM sqlite_schema')
    .all()
  const foreign = objects.filter(({ type, name, sql }) => {
    if (type !== 'table') return true
    const known = [tables, tablesBefore].filter(version => Object.hasOwn(version, name))
    if (known.length > 0) return !known.some(version => version[name] === sql)
    return name !== 'text' && !(/^text_\w+$/.test(name) && sql?.startsWith('CREATE TABLE '))
  })
  if (foreign.length > 0) {
    const names = foreign.map(({ type, name }) => `${type} ${name}`)
    throw new RangeError(`it has ${names.join(', ')}, which no search index has`)
  }
  return new Set(objects.map(({ name }) => name))
}

/** Where a database's header has the versions of its format for writing and reading: https://www.sqlite.org/fileformat.html */
const FILE_FORMAT_AT = 18
const ROLLBACK_JOURNAL = 0x0101

/** Opens a database's file. SQLite makes files beside one that says it has a write-ahead log, so that is refused: with RangeError. */
export function openReadOnly(file: string): Database.Database {
  const fd = openSync(file, 'r')
  try {
    const header = Buffer.alloc(FILE_FORMAT_AT + 2)
    readSync(fd, header, 0, header.length, 0)
    if (header.readUInt16BE(FILE_FORMAT_AT) !== ROLLBACK_JOURNAL)
      throw new RangeError('it is no database with a rollback journal')
  } finally {
    closeSync(fd)
  }
  return new Database(file, { readonly: true, fileMustExist: true })
}
