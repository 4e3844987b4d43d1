// `search.db`: a full-text index (SQLite FTS5) over the keys, values and headers of a range of records. It holds no text,
// only where words occur: records are read from the log.
import Database from 'better-sqlite3'
import { MillraceError, messageOf } from '../errors.ts'
import type { KafkaRecord } from '../kafka/records.ts'
import { HeaderNames } from './header-names.ts'
import { checkedTables, openReadOnly, searchSchema } from './index-schema.ts'
import { indexedText } from './search-text.ts'
import type { Span } from './spans.ts'
import { SpanTally, withEnds } from './spans.ts'
import type { Vocabulary } from './vocabulary.ts'
import { vocabularyOf, wordPages } from './vocabulary.ts'

export type { Span } from './spans.ts'

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
  /** Greatest offset first. */
  readonly descending?: boolean | undefined
}

/** A word of the text that many records have, or the name of a header of many. */
export interface FrequentWord {
  readonly kind: 'term' | 'header'
  readonly word: string
  readonly records: number
}

/** More than any index of Millrace's own has. */
const MAX_WORDS = 2_000

/** Fills an index, in a file or in memory. The same records give the same file. */
export class SearchIndexBuilder {
  readonly #db: Database.Database
  readonly #insertText: Database.Statement
  readonly #insertRecord: Database.Statement
  readonly #spans = new SpanTally()
  readonly #headerNames = new HeaderNames()
  #vocabulary: Vocabulary | undefined

  /** `file` must not exist; `:memory:` keeps the index in memory. */
  constructor(file: string) {
    this.#db = new Database(file)
    this.#db.pragma('journal_mode = OFF')
    this.#db.pragma('synchronous = OFF')
    this.#db.exec(searchSchema)
    this.#insertText = this.#db.prepare('INSERT INTO text (rowid, key, value, headers) VALUES (?, ?, ?, ?)')
    // A row at a time: a statement for many is guarded by a savepoint, at which FTS5 writes what it has gathered.
    this.#insertRecord = this.#db.prepare('INSERT INTO record VALUES (?, ?)')
    this.#db.exec('BEGIN')
  }

  /** Takes a record of a greater offset than the one before. */
  add(record: KafkaRecord): void {
    const { offset, timestamp, headers } = record
    this.#insertText.run(offset, ...indexedText(record))
    this.#insertRecord.run(offset, timestamp)
    this.#spans.add(record)
    this.#headerNames.add(headers)
  }

  /** The contents of a `search.filter` for the words of all records. Call after the last one. */
  filter(): Buffer {
    this.#vocabulary ??= vocabularyOf(this.#db)
    return this.#vocabulary.filter
  }

  /** Completes the file and closes it. */
  finish(): void {
    this.#storeSpans()
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
    this.#storeSpans()
    this.#db.exec('COMMIT')
    return new SearchIndex(this.#db, ':memory:')
  }

  #storeSpans(): void {
    const insert = this.#db.prepare('INSERT INTO span VALUES (?, ?, ?)')
    for (const { from, minTimestamp, maxTimestamp } of this.#spans.spans()) insert.run(from, minTimestamp, maxTimestamp)
  }
}

export class SearchIndex implements Disposable {
  readonly #db: Database.Database
  readonly #name: string
  readonly #tables: ReadonlySet<string>

  /** Takes the database over. Throws SEGMENT_CORRUPT where it is not an index. */
  constructor(db: Database.Database, name: string) {
    this.#db = db
    this.#name = name
    try {
      this.#tables = checkedTables(db)
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
    const direction = options.descending ? 'DESC' : 'ASC'
    const { from, bindings } = selection(expression, options, true)
    const order = `${expression === null ? 'record.offset' : 'text.rowid'} ${direction}`
    yield* this.#rows<Match>(`SELECT record.offset, record.timestamp ${from} ORDER BY ${order}`, ...bindings)
  }

  /** How many records match. Throws SEGMENT_CORRUPT. */
  count(expression: string | null, options: MatchOptions = {}): number {
    const { from, bindings } = selection(expression, options, false)
    const [row] = this.#rows<{ records: number }>(`SELECT count(*) AS records ${from}`, ...bindings)
    return row!.records
  }

  /** Every record that is indexed, in offset order. Throws SEGMENT_CORRUPT. */
  records(): Generator<Match> {
    return this.match(null)
  }

  /** All that is indexed, in offset order; version 1 makes a single span of it. Throws SEGMENT_CORRUPT. */
  spans(): Span[] {
    const stored = this.#tables.has('span')
      ? 'first AS "from", min_timestamp AS minTimestamp, max_timestamp AS maxTimestamp FROM span ORDER BY first'
      : 'min(offset) AS "from", min(timestamp) AS minTimestamp, max(timestamp) AS maxTimestamp FROM record HAVING count(*) > 0'
    const [last] = this.#rows<{ end: number | null }>('SELECT max(offset) + 1 AS "end" FROM record')
    const spans = withEnds([...this.#rows<Omit<Span, 'to'>>(`SELECT ${stored}`)], last!.end ?? 0)
    const wrong = spans.find(({ from, to, minTimestamp, maxTimestamp }) => !(from < to && minTimestamp <= maxTimestamp))
    if (wrong !== undefined) throw corrupt(this.#name, new RangeError(`its span from ${wrong.from} on cannot be`))
    return spans
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

/** FTS5 seeks a bound of rowids, but only one that is an integer to SQLite, which a number of JavaScript is not. */
const withinOffsets = 'text.rowid >= CAST(? AS INTEGER) AND text.rowid < CAST(? AS INTEGER)'

/** What follows SELECT and its columns: with times, or with `record` where its columns are needed, from both tables. */
function selection(expression: string | null, options: MatchOptions, isRecordNeeded: boolean) {
  const most = Number.MAX_SAFE_INTEGER
  const { fromOffset = 0, toOffset = most, fromTime, toTime } = options
  const hasTime = fromTime !== undefined || toTime !== undefined
  const offsets = [fromOffset, toOffset]
  const times = hasTime ? [fromTime ?? -most, toTime ?? most] : []
  const withinTimes = hasTime ? 'AND record.timestamp >= ? AND record.timestamp < ?' : ''
  if (expression === null) {
    const from = `FROM record WHERE record.offset >= ? AND record.offset < ? ${withinTimes}`
    return { from, bindings: [...offsets, ...times] }
  }
  const join = hasTime || isRecordNeeded ? 'CROSS JOIN record ON record.offset = text.rowid' : ''
  const from = `FROM text ${join} WHERE text MATCH ? AND ${withinOffsets} ${withinTimes}`
  return { from, bindings: [expression, ...offsets, ...times] }
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
