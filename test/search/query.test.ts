// Queries find what they should in SQLite's own FTS5, and whatever a user types either runs or is refused with its place.
import Database from 'better-sqlite3'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { isMillraceError } from '../../src/errors.ts'
import { parseQuery } from '../../src/search/query.ts'

const rows: [key: string, value: string, headers: string][] = [
  ['k1', 'the quick brown fox', 'trace abc'],
  ['k2', 'the brown quick dog', 'trace def'],
  ['fox', 'nothing to see: order-123', 'AND OR NOT'],
  ['k4', 'brownish quicksand', 'fox den'],
  ['k5', 'Ünïcode naïve 東京 12:30', ''],
  ['k6', 'alert("value")', "it's {x} ^y + z - w"]
]

const database = new Database(':memory:')
database.exec('CREATE VIRTUAL TABLE records USING fts5(key, value, headers)')
for (const row of rows) database.prepare('INSERT INTO records VALUES (?, ?, ?)').run(...row)
afterAll(() => database.close())

/** The numbers, from 1, of the rows that a query finds. */
function found(query: string): unknown[] {
  const select = database.prepare('SELECT rowid FROM records WHERE records MATCH ? ORDER BY rowid').pluck()
  return select.all(parseQuery(query))
}

test.for<[string, number[]]>([
  ['fox', [1, 3, 4]],
  ['FOX', [1, 3, 4]],
  ['quick brown', [1, 2]],
  ['quick AND brown', [1, 2]],
  ['"quick brown"', [1]],
  ['"brown quick"', [2]],
  ['brown*', [1, 2, 4]],
  ['"the qui"*', [1]],
  ['fox OR dog', [1, 2, 3, 4]],
  ['fox NOT den', [1, 3]],
  ['fox NOT den NOT order', [1]],
  ['fox AND NOT den', [1, 3]],
  ['NOT den fox', [1, 3]],
  ['fox NOT (den OR order)', [1]],
  ['quick (fox OR dog)', [1, 2]],
  ['quick fox OR den', [1, 4]],
  ['((fox))', [1, 3, 4]],
  ['key:fox', [3]],
  ['value:fox', [1]],
  ['header:fox', [4]],
  ['headers:fox', [4]],
  ['key: fox', [3]],
  ['value:"quick brown"', [1]],
  ['value:quick*', [1, 2, 4]],
  ['value:(fox OR dog)', [1, 2]],
  ['key:fox OR value:dog', [2, 3]],
  ['fox NOT key:fox', [1, 4]],
  ['order-123', [3]],
  ['123-order', []],
  ['12:30', [5]],
  ['unicode', [5]],
  ['東京', [5]],
  ['"AND OR NOT"', [3]],
  ['and', [3]],
  ['"AND"', [3]],
  ['alert("value")', [6]],
  ["it's", [6]],
  ['{x}', [6]],
  ['^y', [6]],
  ['-w', [6]],
  ['NEAR', []],
  ['rowid:1', []],
  ['records', []]
])('%s', ([query, expected]) => {
  expect(found(query)).toEqual(expected)
})

test.for<[string, string]>([
  ['', 'character 1: expected a word, a "phrase" or (, got the end'],
  ['   ', 'character 4: expected a word, a "phrase" or (, got the end'],
  ['say "hello', 'character 5: the quote is not closed: expected another "'],
  ['"', 'character 1: the quote is not closed'],
  ['(a', 'character 3: expected a word or the ) for the ( at 1, got the end'],
  ['a)', 'character 2: expected a word or the end of the query, got )'],
  ['()', 'character 2: expected a word, a "phrase" or (, got )'],
  ['a OR', 'character 5: expected a word, a "phrase" or (, got the end'],
  ['OR a', 'character 1: expected a word, a "phrase" or (, got OR'],
  ['a AND OR b', 'character 7: expected a word, a "phrase" or (, got OR'],
  ['a NOT', 'character 6: expected a word, a "phrase" or (, got the end'],
  ['NOT a', 'character 1: NOT alone'],
  ['a OR NOT b', 'character 6: NOT alone'],
  ['key:', 'character 5: expected a word, a phrase or ( after key:'],
  ['key:value:x', 'character 5: expected a word, a phrase or ( after key:'],
  ['a*b', 'character 2: expected * at the end of a word only'],
  ['*', 'character 1: expected a letter or digit in ""'],
  ['a ---', 'character 3: expected a letter or digit in "---"'],
  ['""', 'character 1: expected a letter or digit in ""'],
  ['('.repeat(40), 'character 9: parentheses are nested more than 8 deep']
])('%s is refused', ([query, message]) => {
  expect(() => parseQuery(query)).toThrow(
    expect.objectContaining({ code: 'QUERY_INVALID', message: expect.stringContaining(message) })
  )
})

test('no input leaks FTS5 syntax: it runs, or is refused with a place', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      'a',
      '"',
      '(',
      ')',
      '*',
      ':',
      '-',
      '+',
      '^',
      '{',
      '}',
      "'",
      ';',
      ',',
      ' ',
      'AND',
      'OR',
      'NOT',
      'NEAR'
    ),
    fc.constantFrom('key:', 'value:', 'header:', 'rowid:', '\0', '\\', 'é', '\u{1f600}'),
    fc.string({ unit: 'binary', maxLength: 3 })
  )
  const queries = fc.array(piece, { maxLength: 12 }).map(pieces => pieces.join(''))
  fc.assert(
    fc.property(queries, query => {
      try {
        found(query)
      } catch (error) {
        if (!isMillraceError(error, 'QUERY_INVALID')) throw error
        expect(error.message).toMatch(/^query, character \d+: /)
      }
    }),
    { numRuns: 5_000 }
  )
})

test('what is as deep and long as is allowed still runs', () => {
  expect(found(`${'(a OR b '.repeat(8)}fox${')'.repeat(8)}`)).toEqual([])
  const level = (inner: string) => `a OR b NOT c NOT value:(${inner})`
  expect(found(Array.from({ length: 8 }).reduce<string>(level, 'fox'))).toEqual([])
  expect(found(`fox ${'OR zebra '.repeat(2_000)}`)).toEqual([1, 3, 4])
  expect(found('the '.repeat(2_000))).toEqual([1, 2])
})
