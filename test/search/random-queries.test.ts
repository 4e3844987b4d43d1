// Random queries, in FTS5 against a plain evaluation.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { KafkaRecord } from '../../src/kafka/records.ts'
import { parseQuery } from '../../src/search/query.ts'
import { indexedText } from '../../src/segment/search-text.ts'
import { wordsOf } from '../../src/segment/words.ts'
import { plainQuery, plainRecord } from './plain-queries.ts'
import { IndexedRecords } from './query-world.ts'

test.for<[string, boolean]>([
  ['an index', true],
  ['an index without the hashes of keys', false]
])('random queries find in %s what a plain evaluation finds, and no filter denies it', ([, keyHash]) => {
  const columns = (record: KafkaRecord) => {
    const [key, value, headers] = indexedText(record)
    return [keyHash ? key : (record.key?.toString() ?? null), value, headers] as const
  }
  const recordLists = fc.array(plainRecord, { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(recordLists, fc.array(plainQuery, { minLength: 1, maxLength: 4 }), (list, plainQueries) => {
      using records = new IndexedRecords(list, columns)
      for (const { text, matches } of plainQueries) {
        const query = parseQuery(text, { keyHash })
        const expected = [...list.keys()].filter(index => matches(list[index]!))
        expect(records.matches(query), text).toEqual(expected)
        expect(records.candidates(query), text).toEqual(expect.arrayContaining(expected))
        for (const index of expected) {
          const words = new Set(columns(list[index]!).flatMap(column => wordsOf(String(column ?? ''))))
          expect(
            query.mayMatch(word => words.has(word)),
            text
          ).toBe(true)
        }
      }
    }),
    { numRuns: 300 }
  )
})
