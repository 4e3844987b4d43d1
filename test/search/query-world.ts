// Records in FTS5 as a search index has them, and the way from a query to those that match.
import Database from 'better-sqlite3'
import type { KafkaRecord } from '../../src/kafka/records.ts'
import { exactMatches } from '../../src/search/exact.ts'
import type { Query } from '../../src/search/query.ts'
import { textSchema } from '../../src/segment/index-schema.ts'
import type { IndexedText } from '../../src/segment/search-text.ts'
import { indexedText } from '../../src/segment/search-text.ts'

type Text = string | Buffer | null

/** A record of which only what is searched matters. */
export function recordOf(key: Text, value: Text, headers: readonly (readonly [string, Text])[] = []): KafkaRecord {
  return {
    offset: 0,
    timestamp: 0,
    key: bytes(key),
    value: bytes(value),
    headers: headers.map(([name, text]) => [name, bytes(text)])
  }
}

function bytes(text: Text): Buffer | null {
  return typeof text === 'string' ? Buffer.from(text) : text
}

export class IndexedRecords implements Disposable {
  readonly #db = new Database(':memory:')
  readonly #records: readonly KafkaRecord[]

  constructor(records: readonly KafkaRecord[], columns: (record: KafkaRecord) => IndexedText = indexedText) {
    this.#records = records
    this.#db.exec(textSchema)
    const insert = this.#db.prepare('INSERT INTO text (rowid, key, value, headers) VALUES (?, ?, ?, ?)')
    for (const [index, record] of records.entries()) insert.run(index, ...columns(record))
  }

  /** The places of the records that an index finds for a query. */
  candidates({ candidates }: Query): number[] {
    return candidates === null ? [...this.#records.keys()] : this.match(candidates)
  }

  match(expression: string): number[] {
    const select = this.#db
      .prepare<[string], number>('SELECT rowid FROM text WHERE text MATCH ? ORDER BY rowid')
      .pluck()
    return select.all(expression)
  }

  /** The places of the records that match a query. */
  matches(query: Query): number[] {
    const candidates = this.candidates(query)
    if (query.exact === null) return candidates
    const matching = exactMatches(
      query.exact,
      candidates.map(index => this.#records[index]!)
    )
    return candidates.filter((_, place) => matching.has(place))
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }
}
