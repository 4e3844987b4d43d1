// Queries find what they should in SQLite's own FTS5, and what is no query is refused with its place.
import { afterAll, expect, test } from 'vitest'
import { parseQuery } from '../../src/search/query.ts'
import { IndexedRecords, recordOf } from './query-world.ts'

const records = new IndexedRecords([
  recordOf('k1', 'the quick brown fox', [['trace', 'abc']]),
  recordOf('k2', 'the brown quick dog', [['trace', 'def']]),
  recordOf('fox', 'nothing to see: order-123', [['AND', 'OR NOT']]),
  recordOf('k4', 'brownish quicksand', [['fox', 'den']]),
  recordOf('k5', 'Ünïcode naïve 東京 12:30'),
  recordOf('k6', 'alert("value") value.txt', [['odd', "it's {x} ^y + z - w"]]),
  recordOf('{"id":"a\\b"}', 'json key'),
  recordOf('', 'empty key'),
  recordOf(Buffer.from('00ff2e', 'hex'), 'binary key'),
  recordOf(null, 'null key'),
  recordOf('0x2e', null)
])
afterAll(() => records[Symbol.dispose]())

/** The numbers, from 1, of the records that a query finds. */
function found(query: string): number[] {
  return records.matches(parseQuery(query)).map(index => index + 1)
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
  ['"a \\"fox\\" den"', []],
  ['"the \\"quick\\" brown"', [1]],
  ['"quick\\\\brown"', [1]],
  ['"quick\\brown"', [1]],
  ['value.txt', [6]],
  ['value.', [6]],
  ['value..txt', [6]],
  ['header.txt', []],
  ['key=k1', [1]],
  ['key="k1"', [1]],
  ['key=0x6b31', [1]],
  ['key=K1', []],
  ['key=k', []],
  ['key=the', []],
  ['key="{\\"id\\":\\"a\\\\b\\"}"', [7]],
  ['key=""', [8]],
  ['key=0x00FF2e', [9]],
  ['key=0x2e', []],
  ['key="0x2e"', [11]],
  ['key=k1 OR key=fox dog', [1]],
  ['(key=k1 OR key=fox) order', [3]],
  ['quick NOT key=k1', [2]],
  ['key NOT key=0x00ff2e', [7, 8, 10]],
  ['*', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
  [' * ', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
  ['', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
  [' ', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
  ['NEAR', []],
  ['rowid:1', []],
  ['text:fox', []],
  ['records', []]
])('%s', ([query, expected]) => {
  expect(found(query)).toEqual(expected)
})

test.for<[string, string]>([
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
  ['**', 'character 1: expected * at the end of a word only'],
  ['a *', 'character 3: expected a word or the end of the query, got *, which'],
  ['* NOT a', 'character 1: expected a word, a "phrase" or (, got *, which stands alone or at the end of a word'],
  ['(*)', 'character 2: expected a word, a "phrase" or (, got *, which'],
  ['key:*', 'character 5: expected a word, a phrase or ( after key:'],
  ['"\\"', 'character 1: the quote is not closed'],
  ['😀 (a', 'character 1: expected a letter or digit in "😀"'],
  ['"a 😀" (a', 'character 9: expected a word or the ) for the ( at 7, got the end'],
  // A letter to JavaScript, and none to FTS5.
  ['a \u{19b0}', 'character 3: expected a letter or digit in'],
  ['key=', 'character 5: expected the whole key right after key='],
  ['key= a', 'character 5: expected the whole key right after key='],
  ['key=(a)', 'character 5: expected the whole key right after key='],
  ['key=ab*', 'character 7: key= takes a whole key: expected key: before a prefix*, or quotes'],
  ['key=0x', 'character 5: expected pairs of hexadecimal digits after 0x, or quotes around a key that is text'],
  ['key=0xabc', 'character 5: expected pairs of hexadecimal digits'],
  ['key="a', 'character 5: the quote is not closed'],
  ['value:(a key:b)', 'character 10: expected words alone inside value:( ), got key:'],
  ['value:(a OR (key=b))', 'character 14: expected words alone inside value:( ), got key='],
  ['value.a:(value.b:c)', 'character 10: expected words alone inside value.a:( ), got value.b:'],
  ['value.a:', 'character 9: expected a word, a phrase or ( after value.a:'],
  ['value.a:key=b', 'character 9: expected a word, a phrase or ( after value.a:'],
  ['value.:a', 'character 7: expected the name of a field'],
  ['value.a..b:c', 'character 9: expected the name of a field'],
  ['value.a.:c', 'character 9: expected the name of a field'],
  ['header.:a', 'character 8: expected the name of a header'],
  ['header."a" b', 'character 11: expected : after the name of a header'],
  ['value.a."b"c:d', 'character 12: expected : after the name of a field'],
  ['value."a:b', 'character 7: the quote is not closed'],
  ['a ---', 'character 3: expected a letter or digit in "---"'],
  ['""', 'character 1: expected a letter or digit in ""'],
  ['('.repeat(40), 'character 9: parentheses are nested more than 8 deep'],
  [
    Array.from({ length: 101 }, (_, n) => `value.f${n}:x`).join(' '),
    ': expected at most 100 different headers and fields'
  ],
  [`a ${'b '.repeat(5_000)}`, 'character 10001: expected at most 5000 words in all'],
  [`a "${'b-'.repeat(5_000)}"`, 'character 3: expected at most 5000 words in all'],
  [`${'b '.repeat(4_999)}c key=d`, 'character 10001: expected at most 5000 words in all']
])('%s is refused', ([query, message]) => {
  expect(() => parseQuery(query)).toThrow(
    expect.objectContaining({ code: 'QUERY_INVALID', message: expect.stringContaining(message) })
  )
})

test('operands are what is wanted, each once, as words that a record has', () => {
  const { operands } = parseQuery('fox "a b" OR fox key:x* NOT y OR value.f:z value.g:z header.h:v NOT (value.g:u)')
  expect(operands).toEqual(['"fox"', '("a" AND "b")', '"x"*', '"z"', '"v"'])
  expect(parseQuery('*').operands).toEqual([])
  for (const operand of operands) records.match(operand)
})

test('a filter is asked for the words of what is wanted; the last word of a prefix may go on', () => {
  const asked = (query: string, answer: boolean) => {
    const words: string[] = []
    parseQuery(query).mayMatch(word => {
      words.push(word)
      return answer
    })
    return words
  }
  expect(asked('Fóx order-123 NOT dog', true)).toEqual(['fox', 'order', '123'])
  expect(asked('"the qui"* brown*', true)).toEqual(['the'])
  expect(asked('a b OR value.c:d OR key:(e OR f)', false)).toEqual(['a', 'd', 'e', 'f'])
  expect(asked('key=x', true)).toEqual([expect.stringMatching(/^\ue000[\da-f]{16}$/)])
  expect(parseQuery('*').mayMatch(() => false)).toBe(true)
})
