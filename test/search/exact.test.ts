// Fields of headers and JSON values: what has them, what has not, and values made to do harm.
import { afterAll, describe, expect, test } from 'vitest'
import type { KafkaRecord } from '../../src/kafka/records.ts'
import { parseQuery } from '../../src/search/query.ts'
import { IndexedRecords, recordOf } from './query-world.ts'

/** Whether a query finds a record; what an index finds must include it. */
function finds(query: string, record: KafkaRecord): boolean {
  using records = new IndexedRecords([record])
  return records.matches(parseQuery(query)).length > 0
}

describe('fields of a JSON value', () => {
  const order = `{
    "id": 12345678901234567890, "total": 1.0, "rate": -2.5E3, "paid": true, "note": null, "empty": "",
    "status": "shipped late", "customer": {"name": "Ann Lee", "mail": "ann@example.com", "a.b": {"c d": "dots"}},
    "items": [{"sku": "A-17", "tags": ["red", "blue sky"]}, {"sku": "B-4", "count": 2, "tags": []}],
    "matrix": [[10, 20], [30]], "same": 1, "same": "second", "": "nameless", "text": "say \\"hi\\" caf\\u00e9 Ünï",
    "stack": "at a\\n\\tat b\\/c", "path": "C:\\\\new", "emoji": "\\ud840\\udc0b x", "n\\u00e4me": "M\\u00fcller",
    "key:1": "colon", "length": 77, "__proto__": {"toString": "plain"}
  }`
  const record = recordOf('k', order, [['status', 'none']])

  test.for([
    'value.status:shipped',
    'value.status:"shipped late"',
    'value.status:ship*',
    'value.status:(nothing OR late)',
    'value.status:(shipped NOT early)',
    'value.id:12345678901234567890',
    'value.total:1.0',
    'value.rate:2.5E3',
    'value.rate:2.5e3',
    'value.paid:true',
    'value.paid:TRUE',
    'value.note:null',
    'value.customer.name:ann',
    'value.customer:lee',
    'value.customer.mail:ann@example.com',
    'value.customer."a.b"."c d":dots',
    'value."customer".name:Lee',
    'value.items.sku:"a-17"',
    'value.items.sku:b',
    'value.items.1.sku:b',
    'value.items.tags:"blue sky"',
    'value.items.0.tags.1:blue',
    'value.items:2',
    'value.matrix:30',
    'value.matrix.1:30',
    'value.matrix.0.1:20',
    'value.same:second',
    'value."":nameless',
    'value.text:hi',
    'value.text:uni',
    'value.text:"hi café"',
    'value.stack:"at a at b c"',
    'value.path:"c new"',
    'value.emoji:"𠀋 x"',
    'value.näme:muller',
    'value:müller',
    'value:"stack at a at b"',
    'name NOT value.stack:nat',
    'value."key:1":colon',
    'value.length:77',
    'value.__proto__.toString:plain',
    'value.status:late value.customer.name:ann key=k',
    'value.status:lost OR value.customer.name:ann',
    'shipped NOT value.status:ann',
    'shipped NOT value.items.sku:"17 b"',
    'late NOT (value.status:late value.customer:bob)',
    'late NOT (shipped value.status:ann)',
    'late NOT (bob OR value.status:ann)',
    'late NOT (shipped NOT (value.status:shipped OR bob))',
    'late NOT (shipped NOT value.status:late)'
  ])('%s', query => {
    expect(finds(query, record)).toBe(true)
  })

  test.for([
    'value.status:ann',
    'value.status:none',
    'value.status:"late shipped"',
    'value.Status:late',
    'value.status.x:late',
    'value.id:12345678901234567000',
    'value.empty:text',
    'value.empty:null',
    'value.customer.sku:a',
    'value.items.2.sku:b',
    'value.items.1.sku:"a-17"',
    'value.items.01.sku:b',
    'value.items.sku:"17 b"',
    'value.items.sku:"17 B 4"',
    'value.items.tags:"red blue"',
    'value.items.0.tags:"red blue"',
    'value.items.length:2',
    'value.status.length:12',
    'value.same:1',
    'value.constructor:object',
    'value.toString:native',
    'value.note:"nothing"',
    'value.text:u00e9',
    'value.stack:nat',
    'value.stack:tat',
    'value.path:ew',
    'value."n\\\\u00e4me":muller',
    'nat OR u00fcller',
    'shipped NOT value.status:late',
    'late NOT (value.status:late OR bob)',
    'late NOT (late NOT value.status:ann)'
  ])('not %s', query => {
    expect(finds(query, record)).toBe(false)
  })

  test.for<[string, string, boolean]>([
    ['value.id:a', '[{"id":"a"},{"id":"b"}]', true],
    ['value.1.id:b', '[{"id":"a"},{"id":"b"}]', true],
    ['value.0.id:b', '[{"id":"a"},{"id":"b"}]', false],
    ['value.a:b', '"a b"', false],
    ['value.a:b', '{"a":"b"', false],
    ['value.a:b', 'a=b', false],
    ['value.a:b', '', false],
    ['value.a:b NOT value.a:c', '{"a":"b"}', true],
    ['b NOT value.a:b', 'a=b', true],
    ['value.a:b', ' \n\t{"a":"b"}\n', true],
    ['value.a:b', '{"a":"b"} {"a":"b"}', false],
    ['value.0:1', '[1]', true],
    ['value.1:b', String.raw`[ -1.5e3 , "\u0062"]`, true],
    ['value.2:b', String.raw`[true,[],"\tb"]`, true],
    ['value.1:b', '[null,{"a":"b"}]', true]
  ])('%s of %s: %s', ([query, value, expected]) => {
    expect(finds(query, recordOf(null, value))).toBe(expected)
  })

  test('a value that is null has no fields', () => {
    expect(finds('key=k NOT value.a:b', recordOf('k', null))).toBe(true)
  })

  test('JSON behind the id of a schema, and with bytes that are no UTF-8', () => {
    const confluent = Buffer.concat([Buffer.from('00000007e1', 'hex'), Buffer.from('{"id":1,"name":"Zoë"}')])
    expect(finds('value.id:1 value.name:zoe', recordOf(null, confluent))).toBe(true)
    const escapes = Buffer.concat([
      Buffer.from('00000007e1', 'hex'),
      Buffer.from(String.raw`{"id":1,"name":"Zo\u00eb"}`)
    ])
    expect(finds('value.name:zoe value:zoe', recordOf(null, escapes))).toBe(true)
    expect(finds('value.a:b', recordOf(null, Buffer.from('{"a":"b \xff"}', 'latin1')))).toBe(true)
    expect(finds('value.a:b', recordOf(null, Buffer.from(String.raw`{"a":"\nb ${'\xff'}"}`, 'latin1')))).toBe(true)
  })
})

describe('headers by name', () => {
  const record = recordOf('k', 'v', [
    ['trace.id', 'abc def'],
    ['status', 'first one'],
    ['status', 'second'],
    ['gone', null],
    ['odd name:', 'here'],
    ['binary', Buffer.from('ff0066666600', 'hex')]
  ])

  test.for([
    'header.trace.id:abc',
    'headers.trace.id:"abc def"',
    'header."trace.id":de*',
    'header.status:first',
    'header.status:second',
    'header.status:(first second)',
    'header."odd name:":here',
    'header.binary:fff',
    'abc NOT header.status:abc'
  ])('%s', query => {
    expect(finds(query, record)).toBe(true)
  })

  test.for([
    'header.status:abc',
    'header.status:status',
    'header.status:"one second"',
    'header.Status:first',
    'header.trace:abc',
    'header.gone:null',
    'header.none:here',
    'abc NOT header.trace.id:def'
  ])('not %s', query => {
    expect(finds(query, record)).toBe(false)
  })
})

describe('hostile values', () => {
  const nested = (depth: number) => `{"a":${'['.repeat(depth)}"deep"${']'.repeat(depth)}}`

  test.for<[string, string, string, boolean]>([
    ['arrays in arrays, for a path that fits them in many ways', `value.a${'.0'.repeat(12)}:deep`, nested(100), true],
    ['what is nested a little', 'value.a:deep', nested(500), true],
    ['what is nested much', 'value.a:deep', nested(999), true],
    ['what is nested more', 'value.a:deep', nested(1_000), false],
    ['what is nested too deep', 'value.a:deep', nested(1_000_000), false],
    ['many brackets in strings', 'value.a:last', `{"a":["\\"${'['.repeat(2_000)}","last"]}`, true],
    ['many brackets side by side', 'value.a:last', `{"a":[${'{},[],'.repeat(2_000)}"last"]}`, true],
    ['what is nested too deep and not closed', 'value.a:deep', '{"a":['.repeat(1_000_000), false],
    ['many elements', 'value.a:last', `{"a":[${'0,'.repeat(1_000_000)}"last"]}`, true],
    ['many fields', 'value.f99999:x', `{${Array.from({ length: 100_000 }, (_, n) => `"f${n}":"x"`)}}`, true],
    ['a long string', 'value.a:last', `{"a":"${'word '.repeat(1_000_000)}last"}`, true],
    ['a long number', `value.a:${'9'.repeat(1_000)}`, `{"a":${'9'.repeat(1_000)}}`, true],
    ['lone surrogates', 'value.a:b', String.raw`{"a":"\ud800 b"}`, true],
    ['NUL', 'value.a:b', String.raw`{"a":"\u0000 b"}`, true],
    ['quotes that look like FTS5', 'value.a:"\\" OR \\""', `{"a":"or"}`, true]
  ])('%s', ([, query, value, expected]) => {
    expect(finds(query, recordOf(null, value))).toBe(expected)
  })
})

test('of several candidates those that match are told by their place', () => {
  const values = ['{"a":"x"}', '{"b":"x"}', '[{"a":"x"}]', 'x', '{"a":["x"]}']
  using records = new IndexedRecords(values.map(value => recordOf(null, value)))
  const query = parseQuery('value.a:x')
  expect(records.candidates(query)).toEqual([0, 1, 2, 3, 4])
  expect(records.matches(query)).toEqual([0, 2, 4])
})

describe('an index without the hashes of keys', () => {
  const list = ['', 'a', 'a b', '-'].map(key => recordOf(key, 'x y'))
  // As segments of format version 1 have it.
  const records = new IndexedRecords(list, ({ key, value }) => [String(key), String(value), null])

  afterAll(() => records[Symbol.dispose]())

  test.for<[string, number[]]>([
    ['key=a', [1]],
    ['key="a b"', [2]],
    ['key=""', [0]],
    ['key="-"', [3]],
    ['key="" OR key=a', [0, 1]],
    ['x NOT key="-"', [0, 1, 2]],
    ['x NOT (y NOT key=a)', [1]],
    ['x NOT (y NOT key="")', [0]],
    ['x NOT (y NOT key="" NOT z)', [0]],
    ['x NOT (y key=a)', [0, 2, 3]]
  ])('%s', ([query, expected]) => {
    expect(records.matches(parseQuery(query, { keyHash: false }))).toEqual(expected)
  })

  test('has as many operands as one with them', () => {
    const query = 'x key=a key:a key="" NOT z'
    expect(parseQuery(query, { keyHash: false }).operands.length).toBe(parseQuery(query).operands.length)
  })
})
