// Decides a query that asks for single headers or fields of values: an index has only found candidates for it. FTS5 itself
// decides, in memory, with a column more for each field, so that words and phrases mean in a field what they mean anywhere.
import Database from 'better-sqlite3'
import type { KafkaRecord } from '../kafka/records.ts'
import type { IndexedText } from '../segment/search-text.ts'
import { indexedText, TOKENIZER } from '../segment/search-text.ts'
import { fieldTexts } from './fields.ts'
import type { Exact } from './query.ts'

/** Of key, value and headers, where the query does not ask for them. */
const NOTHING: IndexedText = [null, null, null]

/** Which of some candidates match, as their places in `records`. */
export function exactMatches(
  { expression, fields, isBeyondFields }: Exact,
  records: readonly KafkaRecord[]
): Set<number> {
  const columns = ['key', 'value', 'headers', ...fields.map((_, index) => `f${index}`)]
  const db = new Database(':memory:')
  try {
    db.exec(`CREATE VIRTUAL TABLE text USING fts5(${columns.join()}, content = '', tokenize = '${TOKENIZER}'); BEGIN`)
    const insert = db.prepare(
      `INSERT INTO text (rowid, ${columns.join()}) VALUES (?, ${columns.map(() => '?').join()})`
    )
    for (const [index, record] of records.entries()) {
      insert.run(index, ...(isBeyondFields ? indexedText(record) : NOTHING), ...fieldTexts(fields, record))
    }
    const matches = db.prepare<[string], number>('SELECT rowid FROM text WHERE text MATCH ?').pluck()
    return new Set(matches.iterate(expression))
  } finally {
    db.close()
  }
}
