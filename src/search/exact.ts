// Decides a query that asks for more than words: an index knows which words a record has, and neither where nor in what order.
// FTS5 itself decides, in memory, with a column more for each field, so that words mean there what they mean in an index.
import Database from 'better-sqlite3'
import type { KafkaRecord } from '../kafka/records.ts'
import type { IndexedText } from '../segment/search-text.ts'
import { indexedText, TOKENIZER } from '../segment/search-text.ts'
import { fieldTexts } from './fields.ts'
import type { Exact } from './query.ts'

/** Of key, value and headers, where the query does not ask for them. */
const NOTHING: IndexedText = [null, null, null]

interface Table {
  readonly fields: number
  readonly db: Database.Database
  readonly insert: Database.Statement
  readonly matches: Database.Statement<[string], number>
}

let table: Table | undefined

/** Which of some candidates match, as their places in `records`. */
export function exactMatches(
  { expression, fields, isBeyondFields }: Exact,
  records: readonly KafkaRecord[]
): Set<number> {
  const { db, insert, matches } = tableWith(fields.length)
  db.exec('BEGIN')
  try {
    for (const [index, record] of records.entries()) {
      insert.run(index, ...(isBeyondFields ? indexedText(record) : NOTHING), ...fieldTexts(fields, record))
    }
    return new Set(matches.iterate(expression))
  } finally {
    db.exec('ROLLBACK')
  }
}

/** An empty table; the last one is kept, since making one takes as long as deciding 35 records. */
function tableWith(fields: number): Table {
  if (table?.fields === fields) return table
  table?.db.close()
  table = undefined
  const columns = ['key', 'value', 'headers', ...Array.from({ length: fields }, (_, index) => `f${index}`)]
  const db = new Database(':memory:')
  db.exec(`CREATE VIRTUAL TABLE text USING fts5(${columns.join()}, content = '', tokenize = '${TOKENIZER}')`)
  const insert = db.prepare(`INSERT INTO text (rowid, ${columns.join()}) VALUES (?, ${columns.map(() => '?').join()})`)
  const matches = db.prepare<[string], number>('SELECT rowid FROM text WHERE text MATCH ?').pluck()
  return (table = { fields, db, insert, matches })
}
