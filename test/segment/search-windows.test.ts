// What is asked of an index by windows of offsets and times, and what it says of itself.
import { copyFile, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { MatchOptions } from '../../src/segment/search-index.ts'
import { SearchIndex, SearchIndexBuilder } from '../../src/segment/search-index.ts'
import type { TempFolder } from '../support/temp.ts'
import { tempFolder } from '../support/temp.ts'
import { record, START } from './segments.ts'

/** Far from 0, where offsets need more than 32 bits. */
const BASE = 9_000_000_000_000
const COUNT = 3_000
/** A record's time is now and then before that of the record before. */
const timeOf = (i: number): number => START + (i % 10 === 9 ? 0 : i)

/** Every other offset has a record. */
function fill(builder: SearchIndexBuilder): SearchIndexBuilder {
  for (let i = 0; i < COUNT; i++) {
    const headers: [string, null][] = i % 3 === 0 ? [['Third-Header', null]] : []
    builder.add(record(BASE + 2 * i, { timestamp: timeOf(i), value: Buffer.from(`n${i % 4}`), headers }))
  }
  return builder
}

let folder: TempFolder
let file: string

beforeAll(async () => {
  folder = await tempFolder('search')
  file = join(folder.path, 'search.db')
  fill(new SearchIndexBuilder(file)).finish()
})
afterAll(() => folder.dispose())

describe.each([
  ['in memory', () => fill(new SearchIndexBuilder(':memory:')).search()],
  ['from its bytes', async () => SearchIndex.open(await readFile(file), 'x')],
  ['from its file', () => SearchIndex.openFile(file, 'x')]
] as const)('an index %s', (_, open) => {
  let index: SearchIndex
  beforeAll(async () => {
    index = await open()
  })
  afterAll(() => index[Symbol.dispose]())

  test('has spans of 1,024 records, each with the least and greatest of their times', () => {
    expect(index.spans()).toEqual([
      { from: BASE, to: BASE + 2_048, minTimestamp: START, maxTimestamp: START + 1_023 },
      { from: BASE + 2_048, to: BASE + 4_096, minTimestamp: START, maxTimestamp: START + 2_047 },
      { from: BASE + 4_096, to: BASE + 5_999, minTimestamp: START, maxTimestamp: START + 2_998 }
    ])
  })

  const windows: MatchOptions[] = [
    {},
    { fromOffset: BASE + 10 },
    { toOffset: BASE + 4_001 },
    { fromOffset: BASE + 2_048, toOffset: BASE + 4_096 },
    { fromOffset: BASE + 2_049, toOffset: BASE + 2_050 },
    { fromOffset: BASE + 4, toOffset: BASE + 12 },
    { fromOffset: 0, toOffset: BASE },
    { fromTime: START + 2, toTime: START + 6 },
    { fromTime: START + 2_000 },
    { toTime: START + 5 },
    { fromOffset: BASE + 300, toOffset: BASE + 321, fromTime: START + 100, toTime: START + 200 }
  ]

  test.for(windows)('finds and counts what is in %j', window => {
    const { fromOffset = 0, toOffset = 2 ** 53, fromTime = 0, toTime = 2 ** 53 } = window
    const within = Array.from({ length: COUNT }, (_, i) => ({ offset: BASE + 2 * i, timestamp: timeOf(i) })).filter(
      ({ offset, timestamp }) =>
        offset >= fromOffset && offset < toOffset && timestamp >= fromTime && timestamp < toTime
    )
    const expected = [
      [null, within],
      ['"n2"', within.filter(({ offset }) => (offset - BASE) % 8 === 4)]
    ] as const
    for (const [expression, matches] of expected) {
      expect([...index.match(expression, window)]).toEqual(matches)
      expect(index.count(expression, window)).toBe(matches.length)
    }
  })
})

test('the words and header names of most records are listed, without numbers and keys', async () => {
  const other = join(folder.path, 'words.db')
  const builder = new SearchIndexBuilder(other)
  for (let i = 0; i < 10; i++) {
    const value = Buffer.from(`common 2026 n${i}`)
    builder.add(
      record(i, {
        key: Buffer.from('again'),
        value,
        headers: [
          ['Trace-Id', null],
          ['Trace-Id', value]
        ]
      })
    )
  }
  builder.finish()
  using index = SearchIndex.openFile(other, 'x')
  expect(index.words().slice(0, 6)).toEqual([
    { kind: 'header', word: 'Trace-Id', records: 10 },
    ...['again', 'common', 'id', 'trace'].map(word => ({ kind: 'term', word, records: 10 })),
    { kind: 'term', word: 'n0', records: 1 }
  ])
  expect(index.words()).toHaveLength(15)
})

test('of endless words and header names, a thousand of each are listed', async () => {
  const other = join(folder.path, 'endless.db')
  const builder = new SearchIndexBuilder(other)
  for (let i = 0; i < 11_000; i++) {
    const headers: [string, null][] = [
      [`name${i}`, null],
      ['x'.repeat(300), null],
      ['often', null]
    ]
    builder.add(record(i, { key: null, value: Buffer.from(`word${i % 2_000} and`), headers }))
  }
  builder.finish()
  using index = SearchIndex.openFile(other, 'x')
  const words = index.words()
  for (const kind of ['term', 'header']) expect(words.filter(word => word.kind === kind)).toHaveLength(1_000)
  expect(words.slice(0, 2)).toEqual([
    { kind: 'header', word: 'often', records: 11_000 },
    { kind: 'term', word: 'and', records: 11_000 }
  ])
  // Of 11,000 names in a record each, words have six more than the least.
  expect(words.filter(({ kind, records }) => kind === 'term' && records < 5)).toEqual([])
})

test('an index of nothing has no span, no word and no match', () => {
  using index = new SearchIndexBuilder(':memory:').search()
  expect([index.spans(), index.words(), [...index.match(null)], index.count('"a"')]).toEqual([[], [], [], 0])
})

test('a file that is cut off, damaged or not there is told by the name of its segment', async () => {
  const other = join(folder.path, 'damaged.db')
  const use = (): void => {
    using index = SearchIndex.openFile(other, 'some/segment')
    index.check()
    if ([...index.match('"n2"')].length !== 750 || index.spans().length !== 3) throw new Error('it was not noticed')
  }
  const refused = expect.objectContaining({
    code: 'SEGMENT_CORRUPT',
    message: expect.stringMatching('some/segment: search.db')
  })
  expect(use).toThrow(refused)
  await copyFile(file, other)
  use()
  const bytes = await readFile(file)
  for (const length of [0, 50, 4_096, Math.floor(bytes.length / 2)]) {
    await writeFile(other, bytes.subarray(0, length))
    expect(use, `${length} bytes`).toThrow(refused)
  }
  await writeFile(other, Buffer.from(bytes).fill(2, 18, 20))
  expect(use, 'with a write-ahead log').toThrow(refused)
  expect((await readdir(folder.path)).filter(name => name.startsWith('damaged'))).toEqual(['damaged.db'])
  for (let page = 0; page < bytes.length; page += 4_096) {
    await writeFile(other, Buffer.from(bytes).fill(0x5a, page, page + 4_096))
    expect(use, `page ${page / 4_096}`).toThrow(refused)
  }
})
