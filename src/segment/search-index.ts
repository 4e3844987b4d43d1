// `search.db`: a full-text index (SQLite FTS5) over the keys, values and headers of a range of records. It holds no text,
// only where words occur: records are read from the log.
import Database from 'better-sqlite3'
import { MillraceError, messageOf } from '../errors.ts'
import type { KafkaRecord } from '../kafka/records.ts'

/**
 * Contentless, so that the text is not stored a second time; words are folded to plain lower-case letters. FTS5 gathers
 * 16 MiB before it writes: with its 1 MiB the file is a third larger after gzip, and takes a tenth longer to build.
 */
const schema = `
  CREATE VIRTUAL TABLE text USING fts5(
    key, value, headers, content = '', tokenize = 'unicode61 remove_diacritics 2'
  );
  CREATE TABLE record (offset INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL);
  INSERT INTO text (text, rank) VALUES ('hashsize', 16777216);
  BEGIN`

/** What a file from elsewhere might have so that a harmless query does something else, such as run forever. */
const foreignObjects = `
  SELECT type || ' ' || name FROM sqlite_schema
  WHERE type <> 'table' OR (name <> 'text' AND sql NOT LIKE 'CREATE TABLE %')`

export interface Match {
  readonly offset: number
  readonly timestamp: number
}

export interface MatchOptions {
  readonly fromOffset?: number | undefined
  /** Exclusive. */
  readonly toOffset?: number | undefined
  readonly fromTime?: number | undefined
  /** Exclusive. */
  readonly toTime?: number | undefined
}

/** Fills an index, in a file or in memory. The same records give the same file. */
export class SearchIndexBuilder {
  readonly #db: Database.Database
  readonly #insertText: Database.Statement
  readonly #insertRecord: Database.Statement

  /** `file` must not exist; `:memory:` keeps the index in memory. */
  constructor(file: string) {
    this.#db = new Database(file)
    this.#db.pragma('journal_mode = OFF')
    this.#db.pragma('synchronous = OFF')
    this.#db.exec(schema)
    this.#insertText = this.#db.prepare('INSERT INTO text (rowid, key, value, headers) VALUES (?, ?, ?, ?)')
    this.#insertRecord = this.#db.prepare('INSERT INTO record VALUES (?, ?)')
  }

  add({ offset, timestamp, key, value, headers }: KafkaRecord): void {
    this.#insertText.run(offset, textOf(key), textOf(value), headersText(headers))
    this.#insertRecord.run(offset, timestamp)
  }

  /** Completes the file and closes it. */
  finish(): void {
    this.#db.exec('COMMIT')
    this.#db.close()
  }

  /** Closes an index that is not completed. */
  [Symbol.dispose](): void {
    this.#db.close()
  }

  /** Completes an index in memory and opens it for searching. */
  search(): SearchIndex {
    this.#db.exec('COMMIT')
    return new SearchIndex(this.#db, ':memory:')
  }
}

export class SearchIndex implements Disposable {
  readonly #db: Database.Database
  readonly #name: string

  constructor(db: Database.Database, name: string) {
    this.#db = db
    this.#name = name
  }

  /** Opens the contents of a `search.db`. Throws SEGMENT_CORRUPT. */
  static open(contents: Buffer, name: string): SearchIndex {
    let db: Database.Database | undefined
    try {
      db = new Database(contents)
      const foreign = db.prepare(foreignObjects).pluck().all()
      if (foreign.length > 0) throw new RangeError(`it has ${foreign.join(', ')}, which no search index has`)
      return new SearchIndex(db, name)
    } catch (cause) {
      db?.close()
      throw corrupt(name, cause)
    }
  }

  /** The records that match an FTS5 expression, in offset order. Throws SEGMENT_CORRUPT. */
  *match(expression: string, { fromOffset, toOffset, fromTime, toTime }: MatchOptions = {}): Generator<Match> {
    const most = Number.MAX_SAFE_INTEGER
    try {
      const query = this.#db.prepare<unknown[], Match>(`
        SELECT record.offset, record.timestamp FROM text JOIN record ON record.offset = text.rowid
        WHERE text MATCH ? AND record.offset >= ? AND record.offset < ? AND timestamp >= ? AND timestamp < ?
        ORDER BY record.offset`)
      yield* query.iterate(expression, fromOffset ?? 0, toOffset ?? most, fromTime ?? -most, toTime ?? most)
    } catch (cause) {
      throw corrupt(this.#name, cause)
    }
  }

  /** Every record that is indexed, in offset order. Throws SEGMENT_CORRUPT. */
  *records(): Generator<Match> {
    try {
      yield* this.#db.prepare<unknown[], Match>('SELECT offset, timestamp FROM record ORDER BY offset').iterate()
    } catch (cause) {
      throw corrupt(this.#name, cause)
    }
  }

  /** Has SQLite check its pages and FTS5 its words. Throws SEGMENT_CORRUPT. */
  check(): void {
    try {
      const found = this.#db.pragma('integrity_check(1)', { simple: true })
      if (found !== 'ok') throw new RangeError(String(found))
      this.#db.exec(`INSERT INTO text (text) VALUES ('integrity-check')`)
    } catch (cause) {
      throw corrupt(this.#name, cause)
    }
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }
}

function corrupt(name: string, cause: unknown): MillraceError {
  return new MillraceError('SEGMENT_CORRUPT', `${name}: search.db: ${messageOf(cause)}`, { cause })
}

/** Bytes that are no UTF-8 part words, so that what is readable in a binary value is found. */
function textOf(bytes: Buffer | null): string | null {
  return bytes === null ? null : bytes.toString('utf8')
}

function headersText(headers: KafkaRecord['headers']): string | null {
  if (headers.length === 0) return null
  return headers.map(([name, value]) => `${name} ${textOf(value) ?? ''}`).join('\n')
}
