// `search.db`: a full-text index (SQLite FTS5) over the keys, values and headers of a range of records. It holds no text,
// only where words occur: records are read from the log.
import Database from 'better-sqlite3'
import { MillraceError, messageOf } from '../errors.ts'
import type { KafkaRecord } from '../kafka/records.ts'
import { HeaderNames } from './header-names.ts'
import { checkedTables, openReadOnly, searchSchema, WRITER_CACHE } from './index-schema.ts'
import type { IndexedRecords } from './indexed-records.ts'
import { indexedRecords } from './indexed-records.ts'
import { indexedText } from './search-text.ts'
import type { Match, Span, SpanRow } from './spans.ts'
import { SpanTally } from './spans.ts'
import type { Vocabulary } from './vocabulary.ts'
import { vocabularyOf, wordPages } from './vocabulary.ts'

export type { Match, Span } from './spans.ts'

export interface MatchOptions {
  readonly fromOffset?: number | undefined
  /** Exclusive. */
  readonly toOffset?: number | undefined
  readonly fromTime?: number | undefined
  /** Exclusive. */
  readonly toTime?: number | undefined
}

/** A word of the text that many records have, or the name of a header of many. */
export interface FrequentWord {
  readonly kind: 'term' | 'header'
  readonly word: string
  readonly records: number
}

/** More than any index of Millrace's own has. */
const MAX_WORDS = 2_000

/** No offset gets there. */
const MOST = Number.MAX_SAFE_INTEGER

/** Fills an index, in a file or in memory. The same records give the same file. */
export class SearchIndexBuilder {
  readonly #db: Database.Database
  readonly #insertText: Database.Statement
  readonly #insertSpan: Database.Statement
  readonly #spans = new SpanTally()
  readonly #headerNames = new HeaderNames()
  #vocabulary: Vocabulary | undefined

  /** `file` must not exist; `:memory:` keeps the index in memory. */
  constructor(file: string) {
    this.#db = new Database(file)
    this.#db.pragma(WRITER_CACHE)
    this.#db.pragma('journal_mode = OFF')
    this.#db.pragma('synchronous = OFF')
    this.#db.exec(searchSchema)
    this.#insertText = this.#db.prepare('INSERT INTO text (rowid, key, value, headers) VALUES (?, ?, ?, ?)')
    // A row at a time: a statement for many is guarded by a savepoint, at which FTS5 writes what it has gathered.
    this.#insertSpan = this.#db.prepare('INSERT INTO span VALUES (?, ?, ?, ?)')
    this.#db.exec('BEGIN')
  }

  /** Takes a record of a greater offset than the one before. */
  add(record: KafkaRecord): void {
    this.#insertText.run(record.offset, ...indexedText(record))
    this.#storeSpans(this.#spans.add(record))
    this.#headerNames.add(record.headers)
  }

  /** The contents of a `search.filter` for the words of all records. Call after the last one. */
  filter(): Buffer {
    this.#vocabulary ??= vocabularyOf(this.#db)
    return this.#vocabulary.filter
  }

  /** Completes the file and closes it. */
  finish(): void {
    this.#storeSpans(this.#spans.end())
    const insertWord = this.#db.prepare('INSERT INTO word VALUES (?, ?, ?)')
    this.#vocabulary ??= vocabularyOf(this.#db)
    for (const [word, records] of this.#vocabulary.frequent) insertWord.run('term', word, records)
    for (const [name, records] of this.#headerNames.frequent()) insertWord.run('header', name, records)
    this.#db.exec('COMMIT')
    this.#db.close()
  }

  /** Closes an index that is not completed. */
  [Symbol.dispose](): void {
    this.#db.close()
  }

  /** Completes an index in memory, without frequent words, and opens it for searching. */
  search(): SearchIndex {
    this.#storeSpans(this.#spans.end())
    this.#db.exec('COMMIT')
    return new SearchIndex(this.#db, ':memory:')
  }

  #storeSpans(spans: readonly SpanRow[]): void {
    for (const { first, minTimestamp, maxTimestamp, records } of spans) {
      this.#insertSpan.run(first, minTimestamp, maxTimestamp, records)
    }
  }
}

export class SearchIndex implements Disposable {
  readonly #db: Database.Database
  readonly #name: string
  readonly #tables: ReadonlySet<string>
  readonly #records: IndexedRecords

  /** Takes the database over. Throws SEGMENT_CORRUPT where it is not an index. */
  constructor(db: Database.Database, name: string) {
    this.#db = db
    this.#name = name
    try {
      this.#tables = checkedTables(db)
      this.#records = indexedRecords(db, this.#tables)
    } catch (cause) {
      db.close()
      throw corrupt(name, cause)
    }
  }

  /** Opens the contents of a `search.db`. Throws SEGMENT_CORRUPT. */
  static open(contents: Buffer, name: string): SearchIndex {
    return new SearchIndex(
      opened(() => new Database(contents), name),
      name
    )
  }

  /** Opens a `search.db` that lies unpacked in a file, for reading. Throws SEGMENT_CORRUPT. */
  static openFile(file: string, name: string): SearchIndex {
    return new SearchIndex(
      opened(() => openReadOnly(file), name),
      name
    )
  }

  /** The records that match an FTS5 expression, or all for null, in offset order. Throws SEGMENT_CORRUPT. */
  *match(expression: string | null, options: MatchOptions = {}): Generator<Match> {
    const {
      fromOffset = 0,
      toOffset = MOST,
      fromTime = Number.NEGATIVE_INFINITY,
      toTime = Number.POSITIVE_INFINITY
    } = options
    try {
      for (const record of this.#within(expression, fromOffset, toOffset)) {
        if (record.timestamp >= fromTime && record.timestamp < toTime) yield record
      }
    } catch (cause) {
      throw corrupt(this.#name, cause)
    }
  }

  *#within(expression: string | null, from: number, to: number): Generator<Match> {
    if (expression === null) yield* this.#records.within(from, to)
    else for (const offset of this.#offsets('rowid', expression, from, to)) yield this.#records.at(offset)
  }

  /** How many records match. Throws SEGMENT_CORRUPT. */
  count(expression: string | null, options: MatchOptions = {}): number {
    const { fromOffset = 0, toOffset = MOST, fromTime, toTime } = options
    if (expression === null || fromTime !== undefined || toTime !== undefined) {
      let count = 0
      for (const _ of this.match(expression, options)) count++
      return count
    }
    try {
      const [count] = this.#offsets('count(*)', expression, fromOffset, toOffset)
      return count!
    } catch (cause) {
      throw corrupt(this.#name, cause)
    }
  }

  /** FTS5 seeks a bound of rowids, but only one that is an integer to SQLite, which a number of JavaScript is not. */
  #offsets(what: string, expression: string, from: number, to: number): IterableIterator<number> {
    const within = 'rowid >= CAST(? AS INTEGER) AND rowid < CAST(? AS INTEGER)'
    const sql = `SELECT ${what} FROM text WHERE text MATCH ? AND ${within} ORDER BY rowid`
    return this.#db.prepare<unknown[], number>(sql).pluck().iterate(expression, from, to)
  }

  /** Every record that is indexed, in offset order. Throws SEGMENT_CORRUPT. */
  records(): Generator<Match> {
    return this.match(null)
  }

  /** All that is indexed, in offset order; version 1 makes a single span of it. Throws SEGMENT_CORRUPT. */
  spans(): readonly Span[] {
    try {
      return this.#records.spans()
    } catch (cause) {
      throw corrupt(this.#name, cause)
    }
  }

  /** The words and header names of most records, the most frequent first; none in version 1. Throws SEGMENT_CORRUPT. */
  words(): FrequentWord[] {
    if (!this.#tables.has('word')) return []
    const isWord = `kind IN ('term', 'header') AND typeof(word) = 'text' AND typeof(records) = 'integer'`
    const sql = `SELECT kind, word, records FROM word WHERE ${isWord} ORDER BY records DESC, kind, word LIMIT ${MAX_WORDS}`
    return [...this.#rows<FrequentWord>(sql)]
  }

  /** All words once, in UTF-8, a space between them. Throws SEGMENT_CORRUPT. */
  *wordPages(): Generator<Buffer> {
    try {
      yield* wordPages(this.#db)
    } catch (cause) {
      throw corrupt(this.#name, cause)
    }
  }

  /** Has SQLite check its pages, and FTS5 its own in them. Throws SEGMENT_CORRUPT. */
  check(): void {
    try {
      const found = this.#db.pragma('integrity_check(1)', { simple: true })
      if (found !== 'ok') throw new RangeError(String(found))
    } catch (cause) {
      throw corrupt(this.#name, cause)
    }
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }

  *#rows<Row>(sql: string, ...bindings: unknown[]): Generator<Row> {
    try {
      yield* this.#db.prepare<unknown[], Row>(sql).iterate(...bindings)
    } catch (cause) {
      throw corrupt(this.#name, cause)
    }
  }
}

function opened(open: () => Database.Database, name: string): Database.Database {
  try {
    return open()
  } catch (cause) {
    throw corrupt(name, cause)
  }
}

function corrupt(name: string, cause: unknown): MillraceError {
  return new MillraceError('SEGMENT_CORRUPT', `${name}: search.db: ${messageOf(cause)}`, { cause })
}
