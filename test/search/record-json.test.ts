// A record as JSON has the documented fields in the documented order and loses no byte; as a line it cannot steer a terminal.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { FoundRecord, JsonBytes } from '../../src/search/record-json.ts'
import { recordJson, recordLine } from '../../src/search/record-json.ts'

const record: FoundRecord = {
  topic: 'orders',
  topicId: 'AAAAAAAAAAAAAAAAAAAAAQ',
  partition: 0,
  offset: 42,
  timestamp: 1764000000000,
  timestampType: 'CreateTime',
  key: Buffer.from('k'),
  value: Buffer.from('v'),
  headers: [['h', Buffer.from('v')]],
  tier: 'hot'
}

test('the documented line', () => {
  expect(JSON.stringify(recordJson(record))).toBe(
    '{"topic":"orders","topicId":"AAAAAAAAAAAAAAAAAAAAAQ","partition":0,"offset":42,"timestamp":1764000000000,' +
      '"timestampType":"CreateTime","key":"k","value":"v","headers":[["h","v"]],"tier":"hot"}'
  )
})

test.for<[string, Buffer | null, JsonBytes]>([
  ['null', null, null],
  ['nothing', Buffer.alloc(0), ''],
  ['text', Buffer.from('naïve 東京 \u{1f600}'), 'naïve 東京 \u{1f600}'],
  ['a byte order mark', Buffer.from([0xef, 0xbb, 0xbf, 0x61]), '\ufeffa'],
  ['bytes', Buffer.from([0xff, 0x00]), { base64: '/wA=' }],
  ['a lone surrogate', Buffer.from([0xed, 0xa0, 0x80]), { base64: '7aCA' }]
])('%s', ([, bytes, expected]) => {
  const json = recordJson({
    ...record,
    key: bytes,
    value: bytes,
    headers: [
      ['a', bytes],
      ['a', bytes]
    ]
  })
  expect([json.key, json.value, json.headers]).toEqual([
    expected,
    expected,
    [
      ['a', expected],
      ['a', expected]
    ]
  ])
})

test('no byte is lost', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.string({ unit: 'binary' }).map(text => Buffer.from(text))
      ),
      bytes => {
        const { value } = JSON.parse(JSON.stringify(recordJson({ ...record, value: Buffer.from(bytes) }))) as {
          value: string | { base64: string }
        }
        const back = typeof value === 'string' ? Buffer.from(value) : Buffer.from(value.base64, 'base64')
        expect(back.equals(bytes)).toBe(true)
      }
    )
  )
})

test('a line for people', () => {
  expect(recordLine(record)).toBe('orders-0@42  2025-11-24T16:00:00.000Z  hot  key: k  value: v  headers: h=v')
  expect(recordLine({ ...record, key: null, headers: [['h', null]], timestamp: -1 })).toBe(
    'orders-0@42  timestamp -1  hot  key: (null)  value: v  headers: h=(null)'
  )
  expect(recordLine({ ...record, timestamp: Number.MAX_SAFE_INTEGER })).toContain(
    `timestamp ${Number.MAX_SAFE_INTEGER}`
  )
  expect(recordLine({ ...record, value: Buffer.from([0xff]) })).toContain('value: base64:/w==')
  const hostile = Buffer.from('a\n\u001b[2J\u009b\u202e\u2028b\tc')
  expect(recordLine({ ...record, value: hostile })).toContain(
    'value: a\\n\\u001b[2J\\u009b\\u202e\\u2028b\\tc  headers'
  )
})

test('a value is shortened to the terminal only where there is one', () => {
  const long = { ...record, value: Buffer.from('\u{1f600}'.repeat(500)) }
  expect([...recordLine(long)].length).toBeGreaterThan(500)
  expect([...recordLine(long, 120)]).toHaveLength(120)
  expect(recordLine(long, 120)).toMatch(/\u{1f600}… {2}headers: h=v$/u)
  expect(recordLine(long, 10)).toContain(`value: ${'\u{1f600}'.repeat(15)}…`)
  expect(recordLine(record, 10)).toBe(recordLine(record))
})
