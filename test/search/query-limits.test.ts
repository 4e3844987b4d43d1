// Whatever a user types, however long, either runs in FTS5 or is refused with its place.
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { isMillraceError } from '../../src/errors.ts'
import { parseQuery } from '../../src/search/query.ts'
import { IndexedRecords, recordOf } from './query-world.ts'

const records = new IndexedRecords([recordOf('fox', 'brown'), recordOf('k', '{"fox":"fox"}'), recordOf('k1', 'dog')])
afterAll(() => records[Symbol.dispose]())

function found(query: string): number[] {
  return records.matches(parseQuery(query))
}

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
    fc.constantFrom(
      'key:',
      'value:',
      'header:',
      'rowid:',
      'key=',
      'key=0x',
      'value.a',
      'header.',
      '.',
      '\0',
      '\\',
      'é',
      '\u{1f600}'
    ),
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
    { numRuns: 3_000 }
  )
})

describe('what is as deep and long as is allowed still runs', () => {
  const many = <T>(count: number, make: (index: number) => T) =>
    Array.from({ length: count }, (_, index) => make(index))
  const nested = (level: (inner: string) => string, depth = 8) =>
    many(depth, () => level).reduce((inner, wrap) => wrap(inner), 'fox')

  test.for<[string, string, number[]]>([
    ['parentheses', `${'(aa OR bb '.repeat(8)}fox${')'.repeat(8)}`, []],
    ['all there is on each level', nested(inner => `aa OR bb cc NOT dd NOT (value:ee OR ${inner})`), []],
    [
      'fields on each level',
      nested(inner => `value.a:aa OR header.b:bb c NOT d NOT value.e:ee NOT (f OR ${inner})`),
      []
    ],
    ['a field around each level', `value.a:(${nested(inner => `aa OR bb cc NOT dd NOT (ee OR ${inner})`, 7)})`, []],
    ['words', 'fox '.repeat(5_000), [0, 1]],
    ['different words', `fox ${many(4_999, n => `w${n}`).join(' ')}`, []],
    ['alternatives', `fox ${many(4_999, n => `OR w${n}`).join(' ')}`, [0, 1]],
    ['what is not wanted', `fox ${many(4_999, n => `NOT w${n}`).join(' ')}`, [0, 1]],
    ['keys', `fox OR ${many(2_000, n => `key=k${n}`).join(' OR ')}`, [0, 1, 2]],
    ['fields', `fox NOT (${many(100, n => `value.f${n}:fox`).join(' OR ')})`, [0, 1]],
    ['alternating operators', `fox ${many(2_499, n => `OR w${n} NOT fox`).join(' ')}`, [0, 1]],
    ['a phrase', `fox OR "${many(4_999, n => `w${n}`).join(' ')}"`, [0, 1]],
    ['a word', `fox OR ${'w'.repeat(1_000_000)}`, [0, 1]],
    ['quotes', `fox OR "ww ${'\\"'.repeat(1_000_000)}"`, [0, 1]],
    ['a path', `fox OR value${'.a'.repeat(10_000)}:x`, [0, 1]]
  ])('%s', ([, query, expected]) => {
    expect(found(query)).toEqual(expected)
  })
})
