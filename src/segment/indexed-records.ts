// Which records a `search.db` has, and when they were: in the rows of `span`, or, before format version 3, each in a row of `record`.
import type Database from 'better-sqlite3'
import { firstIndex } from '../first-index.ts'
import type { Match, Span, SpanRow } from './spans.ts'
import { decodeRecords, withEnds } from './spans.ts'

/** All throw RangeError, or what SQLite says, for what no writer has stored. */
export interface IndexedRecords {
  /** Where the records lie and when they were, in offset order. */
  spans(): readonly Span[]
  /** The records with offsets of [from, to), in offset order. */
  within(from: number, to: number): Iterable<Match>
  /** The record at an offset that the index has. */
  at(offset: number): Match
}

/** The records of an index with these tables. */
export function indexedRecords(db: Database.Database, tables: ReadonlySet<string>): IndexedRecords {
  return tables.has('record') ? new RecordTable(db, tables.has('span')) : new SpanTable(db)
}

const SPAN_COLUMNS = 'first, min_timestamp AS minTimestamp, max_timestamp AS maxTimestamp'

type SpanLimits = Omit<SpanRow, 'records'>

class SpanTable implements IndexedRecords {
  readonly #limits: Database.Statement<[], SpanLimits>
  readonly #records: Database.Statement<[number], Buffer>
  #spans: readonly Span[] | undefined
  /** Of the span that was looked at last. */
  #decoded: { readonly span: Span; readonly records: readonly Match[] } | undefined

  constructor(db: Database.Database) {
    this.#limits = db.prepare<[], SpanLimits>(`SELECT ${SPAN_COLUMNS} FROM span ORDER BY first`)
    this.#records = db.prepare<[number], Buffer>('SELECT records FROM span WHERE first = ?').pluck()
  }

  spans(): readonly Span[] {
    if (this.#spans !== undefined) return this.#spans
    const limits = this.#limits.all()
    const last = limits.at(-1)
    const end = last === undefined ? 0 : (this.#decode(last).at(-1)?.offset ?? Number.NaN) + 1
    return (this.#spans = checkedSpans(limits, end))
  }

  *within(from: number, to: number): Generator<Match> {
    for (const span of this.spans()) {
      if (span.to <= from || span.from >= to) continue
      for (const record of this.#recordsOf(span)) if (record.offset >= from && record.offset < to) yield record
    }
  }

  at(offset: number): Match {
    const decoded = this.#decoded
    const isSame = decoded !== undefined && offset >= decoded.span.from && offset < decoded.span.to
    const span = isSame ? decoded.span : this.spans()[firstIndex(this.spans(), ({ from }) => from > offset) - 1]
    const records = span === undefined ? [] : this.#recordsOf(span)
    const record = records[firstIndex(records, record => record.offset >= offset)]
    if (record?.offset !== offset) throw new RangeError(`it has words of record ${offset}, and not the record`)
    return record
  }

  #recordsOf(span: Span): readonly Match[] {
    if (this.#decoded?.span === span) return this.#decoded.records
    const { from, to, minTimestamp, maxTimestamp } = span
    const records = this.#decode({ first: from, minTimestamp, maxTimestamp })
    if (!(records.length > 0 && records.at(-1)!.offset < to)) throw impossible(span)
    this.#decoded = { span, records }
    return records
  }

  #decode(limits: SpanLimits): Match[] {
    const records = this.#records.get(limits.first)
    if (!Buffer.isBuffer(records)) throw impossible({ from: limits.first })
    return decodeRecords({ ...limits, records })
  }
}

class RecordTable implements IndexedRecords {
  readonly #spans: Database.Statement<[], SpanLimits>
  readonly #end: Database.Statement<[], number | null>
  readonly #within: Database.Statement<[number, number], Match>
  readonly #at: Database.Statement<[number], Match>

  /** Version 1 makes a single span of its records. */
  constructor(db: Database.Database, hasSpans: boolean) {
    const one = 'min(offset) AS first, min(timestamp) AS minTimestamp, max(timestamp) AS maxTimestamp'
    this.#spans = db.prepare<[], SpanLimits>(
      hasSpans ? `SELECT ${SPAN_COLUMNS} FROM span ORDER BY first` : `SELECT ${one} FROM record HAVING count(*) > 0`
    )
    this.#end = db.prepare<[], number | null>('SELECT max(offset) + 1 FROM record').pluck()
    const select = 'SELECT offset, timestamp FROM record WHERE offset'
    this.#within = db.prepare<[number, number], Match>(`${select} >= ? AND offset < ? ORDER BY offset`)
    this.#at = db.prepare<[number], Match>(`${select} = ?`)
  }

  spans(): Span[] {
    return checkedSpans(this.#spans.all(), this.#end.get() ?? 0)
  }

  within(from: number, to: number): IterableIterator<Match> {
    return this.#within.iterate(from, to)
  }

  at(offset: number): Match {
    const record = this.#at.get(offset)
    if (record === undefined) throw new RangeError(`it has words of record ${offset}, and not the record`)
    return record
  }
}

function checkedSpans(limits: readonly SpanLimits[], end: number): Span[] {
  const spans = withEnds(limits, end)
  const wrong = spans.find(({ from, to, minTimestamp, maxTimestamp }) => !(from < to && minTimestamp <= maxTimestamp))
  if (wrong !== undefined) throw impossible(wrong)
  return spans
}

function impossible({ from }: Pick<Span, 'from'>): RangeError {
  return new RangeError(`its span from ${from} on cannot be`)
}
