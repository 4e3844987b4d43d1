// The words of a text are those of the index.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SearchIndexBuilder } from '../../src/segment/search-index.ts'
import { wordListsOf, wordsOf } from '../../src/segment/words.ts'
import { record } from './segments.ts'

test.for([
  ['Crème brûlée, crème!', ['creme', 'brulee', 'creme']],
  ['z-a@m.example z', ['z', 'a', 'm', 'example', 'z']],
  ['', []],
  [' \0-"*():^ ', []],
  ['ДНІПРО Straße 東京', ['дніпро', 'straße', '東京']]
] as const)('%j', ([text, words]) => {
  expect(wordsOf(text)).toEqual(words)
})

test('many texts have the words that each has', () => {
  expect(wordListsOf(['b a', '', 'c', '-', 'a d a'])).toEqual([['b', 'a'], [], ['c'], [], ['a', 'd', 'a']])
  expect(wordListsOf([])).toEqual([])
})

test('the words of any text find a record with that text, and are those of all of them in a row', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string(), fc.lorem(), fc.uuid()), text => {
      const words = wordsOf(text)
      fc.pre(words.length > 0)
      const builder = new SearchIndexBuilder(':memory:')
      builder.add(record(1, { key: null, value: Buffer.from(`before ${text} behind`), headers: [] }))
      using index = builder.search()
      expect(index.count(['before', ...words, 'behind'].map(word => `"${word}"`).join(' AND '))).toBe(1)
      expect(wordsOf(words.join(' '))).toEqual(words)
    })
  )
})
