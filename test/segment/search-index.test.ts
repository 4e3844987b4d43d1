// search.db: what is found in it, and what is refused as one.
import { readFile } from 'node:fs/promises'
import Database from 'better-sqlite3'
import { describe, expect, test } from 'vitest'
import { SearchIndex, SearchIndexBuilder } from '../../src/segment/search-index.ts'
import { tempFolder } from '../support/temp.ts'
import { record, START } from './segments.ts'

const records = [
  record(10, { key: Buffer.from('alpha'), value: Buffer.from('Crème brûlée'), headers: [] }),
  record(11, { key: null, value: Buffer.from([0xff, 0x00, 0x77, 0x6f, 0x72, 0x64, 0xfe]), headers: [] }),
  record(12, {
    key: Buffer.from('beta'),
    value: null,
    headers: [
      ['source', Buffer.from('mill')],
      ['empty', null]
    ]
  })
]

function search(expression: string, options = {}): number[] {
  const builder = new SearchIndexBuilder(':memory:')
  for (const each of records) builder.add(each)
  using index = builder.search()
  return [...index.match(expression, options)].map(({ offset }) => offset)
}

test.for([
  ['a word, folded to plain letters', '"creme" AND "brulee"', [10]],
  ['a word between bytes that are no UTF-8', '"word"', [11]],
  ['a key', '"beta"', [12]],
  ['a header by name and value', '"source" AND "mill"', [12]],
  ['a header without a value', '"empty"', [12]],
  ['the beginning of a word', '"crem"*', [10]],
  ['a null value is not the word null', '"null"', []]
] as const)('finds %s', ([, expression, offsets]) => {
  expect(search(expression)).toEqual(offsets)
})

test('limits are inclusive at the beginning and exclusive at the end', () => {
  const any = '"alpha" OR "word" OR "beta"'
  expect(search(any)).toEqual([10, 11, 12])
  expect(search(any, { fromOffset: 11, toOffset: 12 })).toEqual([11])
  expect(search(any, { fromTime: START + 11, toTime: START + 12 })).toEqual([11])
})

test('the same records give the same file, which sqlite3 calls sound', async () => {
  await using folder = await tempFolder('search')
  const contents = [1, 2].map(i => {
    const file = `${folder.path}/${i}.db`
    const builder = new SearchIndexBuilder(file)
    for (let offset = 0; offset < 3_000; offset++) builder.add(record(offset))
    builder.finish()
    const db = new Database(file)
    expect(db.pragma('integrity_check', { simple: true })).toBe('ok')
    const bytes = db.serialize()
    db.close()
    return bytes
  })
  expect(contents[0]!.equals(contents[1]!)).toBe(true)
  using index = SearchIndex.open(contents[0]!, 'x')
  index.check()
  expect([...index.records()]).toHaveLength(3_000)
  expect([...index.match('"number2999"')]).toEqual([{ offset: 2_999, timestamp: START + 2_999 }])
})

test.for([
  ['garbage', () => Buffer.alloc(8_192, 7)],
  ['a database of something else', () => database('CREATE TABLE t (x)')],
  [
    'a view that never ends',
    () =>
      database(`${text}; CREATE VIEW record AS WITH RECURSIVE r(offset, timestamp) AS
      (SELECT 1, 1 UNION ALL SELECT offset + 1, 1 FROM r) SELECT * FROM r`)
  ],
  [
    'a column that is computed',
    () =>
      database(`${text}; CREATE TABLE record (offset INTEGER PRIMARY KEY, timestamp AS (length(zeroblob(1000000000))))`)
  ],
  ['a table of something else', () => database(`${text}; ${record1}; CREATE TABLE other (x)`)],
  ['an index', () => database(`${text}; ${record1}; CREATE INDEX i ON record (abs(timestamp))`)],
  ['a virtual table', () => database(`${text}; ${record1}; CREATE VIRTUAL TABLE text_more USING fts5(x)`)],
  [
    'a table of spans that is a view',
    () => database(`${text}; ${record1}; CREATE VIEW span AS SELECT 1 AS first, 1 AS min_timestamp, 1 AS max_timestamp`)
  ],
  [
    'a trigger',
    () =>
      database(`${text}; CREATE TABLE record (offset INTEGER PRIMARY KEY, timestamp);
      CREATE TRIGGER t AFTER INSERT ON record BEGIN SELECT 1; END`)
  ]
] as const)('%s is refused', ([, contents]) => {
  const use = (): void => {
    using index = SearchIndex.open(contents(), 'some/segment')
    expect([...index.match('"a"')]).toEqual([])
  }
  expect(use).toThrow(
    expect.objectContaining({ code: 'SEGMENT_CORRUPT', message: expect.stringContaining('some/segment: search.db') })
  )
})

test('its tables are those of docs/formats.md', async () => {
  const docs = await readFile(new URL('../../docs/formats.md', import.meta.url), 'utf8')
  const documented = new Database(':memory:')
  documented.exec(/### search\.db\n\n```sql\n([^`]+)```/.exec(docs)![1]!)
  await using folder = await tempFolder('search')
  new SearchIndexBuilder(`${folder.path}/search.db`).finish()
  const written = new Database(`${folder.path}/search.db`)
  const [a, b] = [documented, written].map(db => {
    const tables = db.prepare('SELECT name, sql FROM sqlite_schema ORDER BY name').all() as {
      name: string
      sql: string
    }[]
    db.close()
    return tables.map(({ name, sql }) => [name, sql.replaceAll(/\s+/g, ' ')])
  })
  expect(a).toEqual(b)
})

test('a frequent word is one that somebody might type: the longest has 64 characters', async () => {
  await using folder = await tempFolder('search')
  const file = `${folder.path}/search.db`
  const builder = new SearchIndexBuilder(file)
  const value = Buffer.from(`${'a'.repeat(64)} ${'b'.repeat(65)}`)
  builder.add({ offset: 0, timestamp: 0, key: null, value, headers: [] })
  builder.finish()
  using index = SearchIndex.openFile(file, 'x')
  expect(index.words().map(({ word }) => word)).toEqual(['a'.repeat(64)])
  expect(index.count(`"${'b'.repeat(65)}"`)).toBe(1)
})

test('words and spans that no writer has stored are left out, or refused', () => {
  const rows = `('term', 'good', 3), ('term', x'00ff', 2), ('term', 'many', 'many'), ('other', 'kind', 1), ('header', 'h', 9)`
  const make = (spans: string): Buffer =>
    database(`${text}; ${record1}; ${word}; ${span2}; INSERT INTO word VALUES ${rows};
      INSERT INTO record VALUES (7, 1); INSERT INTO span VALUES ${spans}`)
  using index = SearchIndex.open(make('(7, 1, 1)'), 'some/segment')
  expect(index.words().map(each => each.word)).toEqual(['h', 'good'])
  expect(index.spans()).toEqual([{ from: 7, to: 8, minTimestamp: 1, maxTimestamp: 1 }])
  for (const wrong of ['(7, 2, 1)', '(8, 1, 1)', `(7, 'a', 1)`]) {
    using index = SearchIndex.open(make(wrong), 'some/segment')
    expect(() => index.spans(), wrong).toThrow(/^some\/segment: search\.db: its span from \d on cannot be$/)
  }
})

test('words with spaces, which no tokenizer of ours makes, are refused rather than read for ever', () => {
  const odd = text.replace("content = ''", `content = '', tokenize = "unicode61 tokenchars ' '"`)
  using index = SearchIndex.open(
    database(`${odd}; ${span3}; ${word}; INSERT INTO text (rowid, key) VALUES (1, 'zz a')`),
    'some/segment'
  )
  expect(() => [...index.wordPages()]).toThrow(/^some\/segment: search\.db: its words are in no order$/)
})

describe('records in spans', () => {
  const make = (...spans: string[]): Buffer =>
    database(
      `${text}; ${word}; ${span3}; INSERT INTO span VALUES ${spans.join()}; INSERT INTO text (rowid, key) VALUES (9, 'a')`
    )
  const all = (contents: Buffer) => {
    using index = SearchIndex.open(contents, 'some/segment')
    return [[...index.records()], [...index.match('"a"')]]
  }

  test('are read as docs/formats.md says', () => {
    const [records, matches] = all(make(`(7, 100, 230, x'0000018201')`, `(20, 5, 5, x'8008008f0100')`))
    expect(records).toEqual([
      { offset: 7, timestamp: 100 },
      { offset: 9, timestamp: 230 },
      { offset: 1_044, timestamp: 5 },
      { offset: 1_188, timestamp: 5 }
    ])
    expect(matches).toEqual([{ offset: 9, timestamp: 230 }])
  })

  test.for<[string, string]>([
    ['none', `(7, 1, 1, x'')`],
    ['text', `(7, 1, 1, 'aa')`],
    ['an offset without a timestamp', `(7, 1, 1, x'000000')`],
    ['a number that does not end', `(7, 1, 1, x'00ff')`],
    ['a number beyond 2^53', `(7, 1, 1, x'00ffffffffffffffff7f')`],
    ['one that is past the beginning of the next span', `(7, 1, 1, x'0300'), (9, 1, 1, x'0000')`],
    ['not all that the words belong to', `(7, 1, 1, x'00000000')`]
  ])('are refused: %s', ([, spans]) => {
    expect(() => all(make(spans))).toThrow(
      expect.objectContaining({
        code: 'SEGMENT_CORRUPT',
        message: expect.stringMatching(/^some\/segment: search\.db: it/)
      })
    )
  })

  test('may have any times that a batch can have', () => {
    const most = Number.MAX_SAFE_INTEGER
    const times = [0, most, -most, -1, most, 5, 6]
    const builder = new SearchIndexBuilder(':memory:')
    for (const [offset, timestamp] of times.entries()) builder.add(record(offset, { timestamp }))
    using index = builder.search()
    expect([...index.records()].map(({ timestamp }) => timestamp)).toEqual(times)
    expect([...index.match('"number4"', { fromTime: most })]).toEqual([{ offset: 4, timestamp: most }])
  })
})

const word =
  'CREATE TABLE word (kind TEXT, word TEXT, records INTEGER NOT NULL, PRIMARY KEY (kind, word)) WITHOUT ROWID'
const span2 =
  'CREATE TABLE span (first INTEGER PRIMARY KEY, min_timestamp INTEGER NOT NULL, max_timestamp INTEGER NOT NULL)'
const span3 = `${span2.slice(0, -1)}, records BLOB NOT NULL)`
const record1 = 'CREATE TABLE record (offset INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL)'
const text = `CREATE VIRTUAL TABLE text USING fts5(key, value, headers, content = '')`

function database(sql: string): Buffer {
  const db = new Database(':memory:')
  db.exec(sql)
  return db.serialize()
}
