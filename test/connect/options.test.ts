// Options: what texts mean, and what a user reads when one is wrong.
import { expect, test } from 'vitest'
import type { z } from 'zod'
import type { Options, RawValue } from '../../src/connect/options.ts'
import * as option from '../../src/connect/options.ts'
import { formatBytes, formatFault, parseOptions } from '../../src/connect/options.ts'

const MiB = 1024 * 1024

/** The value, or the rule that it breaks. */
function read(schema: z.ZodType<unknown, string>, text: string): unknown {
  const parsed = schema.safeParse(text)
  return parsed.success ? parsed.data : parsed.error.issues[0]!.message
}

test.each([
  ['0B', 0],
  ['12', 12],
  ['512B', 512],
  ['1KiB', 1024],
  ['64MiB', 64 * MiB],
  ['1.5 MiB', 1.5 * MiB],
  [' 10GiB ', 10 * 1024 * MiB]
])('the size %j is %d bytes', (text, expected) => {
  expect(read(option.bytes(0), text)).toBe(expected)
})

test.each(['', '-1', '64MB', '64mib', '10 XiB', 'MiB', '1e3', 'x', '9007199254740993B'])('%j is no size', text => {
  expect(read(option.bytes(0), text)).toBe('must be a size, 0B or more, such as 64MiB')
})

test('a size has its limits', () => {
  const rule = 'must be a size, from 1MiB to 1GiB, such as 64MiB'
  expect(read(option.bytes(MiB, 1024 * MiB), '1MiB')).toBe(MiB)
  expect(read(option.bytes(MiB, 1024 * MiB), '1GiB')).toBe(1024 * MiB)
  expect(read(option.bytes(MiB, 1024 * MiB), '1048575')).toBe(rule)
  expect(read(option.bytes(MiB, 1024 * MiB), '2GiB')).toBe(rule)
})

test.each([
  ['250', 250],
  ['500ms', 500],
  ['90s', 90_000],
  ['10m', 600_000],
  ['1.5h', 5_400_000],
  ['2d', 172_800_000]
])('the duration %j is %d ms', (text, expected) => {
  expect(read(option.duration(1), text)).toBe(expected)
})

test.each(['', '0', '-5s', '10 minutes', '10M', '1w', 'soon'])('%j is no duration', text => {
  expect(read(option.duration(1), text)).toBe('must be a duration of 1 ms or more, such as 500ms, 10m or 1h')
})

test('a duration has its limits where a timer needs them, and none where it does not', () => {
  const rule = 'must be a duration of 1 ms to 2147483647 ms (24 days), such as 500ms, 10m or 1h'
  const forTimer = option.duration(1, option.LONGEST_TIMER_MS)
  expect([read(forTimer, '24d'), read(forTimer, '2147483647')]).toEqual([2_073_600_000, 2_147_483_647])
  for (const wrong of ['0', '2147483648', '25d', '30d', '9223372036854775807']) expect(read(forTimer, wrong)).toBe(rule)
  expect(read(option.duration(1), '30d')).toBe(2_592_000_000)
  expect(read(option.duration(1), '9223372036854775807')).toBe(2 ** 63)
})

test('whole numbers, words, lists and patterns', () => {
  expect(read(option.integer(0, 10), '10')).toBe(10)
  for (const wrong of ['', '11', '-1', '1.5', 'x']) {
    expect(read(option.integer(0, 10), wrong)).toBe('must be a whole number from 0 to 10')
  }
  expect(read(option.oneOf('a', 'b'), 'b')).toBe('b')
  expect(read(option.oneOf('a', 'b'), 'c')).toBe('must be a or b')
  expect(read(option.boolean, 'true')).toBe(true)
  expect(read(option.boolean, 'false')).toBe(false)
  expect([read(option.boolean, 'True'), read(option.boolean, 'FALSE')]).toEqual([true, false])
  expect(read(option.boolean, 'yes')).toBe('must be true or false')
  expect(read(option.list, ' a, b ,,c')).toEqual(['a', 'b', 'c'])
  expect(read(option.list, '')).toEqual([])
  expect(read(option.text, '  ')).toBe('must not be empty')
  const pattern = read(option.regex, 'orders|payments-.*') as RegExp
  expect(['orders', 'payments-eu', 'my-orders', 'orders-2'].filter(topic => pattern.test(topic))).toEqual([
    'orders',
    'payments-eu'
  ])
  expect(read(option.regex, '(')).toBe('must be a regular expression')
})

test('addresses, ports and URLs', () => {
  expect(read(option.address, 'kafka:9092')).toEqual({ host: 'kafka', port: 9092 })
  expect(read(option.address, '[::1]:9092')).toEqual({ host: '::1', port: 9092 })
  for (const wrong of ['kafka', 'kafka:', ':9092', 'kafka:99999', '::1:9092', 'kafka:9092,other:9092']) {
    expect(read(option.address, wrong)).toBe('must be host:port')
  }
  expect(read(option.addresses, 'a:1, b:2')).toEqual([
    { host: 'a', port: 1 },
    { host: 'b', port: 2 }
  ])
  for (const wrong of ['', 'a:1,b', 'a:1 b:2']) {
    expect(read(option.addresses, wrong)).toBe('must be host:port, or several with commas')
  }
  expect(read(option.portMap, '1001:19101, 1002:19102')).toEqual(
    new Map([
      [1001, 19101],
      [1002, 19102]
    ])
  )
  for (const wrong of ['19101', 'a:19101', '1:']) {
    expect(read(option.portMap, wrong)).toBe('must be node:port, or several with commas')
  }
  expect(read(option.httpListener, 'http://127.0.0.1:8083')).toEqual({ host: '127.0.0.1', port: 8083 })
  for (const wrong of ['127.0.0.1:8083', 'https://127.0.0.1:8083', 'http://127.0.0.1']) {
    expect(read(option.httpListener, wrong)).toBe('must be http://host:port')
  }
  expect(read(option.archiveUrl('file:'), 'file:./x')).toBe('file:./x')
  expect(read(option.archiveUrl('file:'), 'file:')).toBe('must be file:PATH')
  expect(read(option.archiveUrl('s3:'), 'file:./x')).toBe('must be s3://BUCKET/PREFIX')
})

const table = {
  'segment.bytes': { schema: option.bytes(MiB), default: '64MiB', doc: 'a size' },
  servers: { schema: option.addresses, doc: 'where the cluster is' },
  region: { schema: option.text, optional: true, doc: 'where the bucket is' }
} as const satisfies Options

const raw = (entries: Record<string, string | RawValue>): Map<string, RawValue> =>
  new Map(
    Object.entries(entries).map(([key, value]) => [
      key,
      typeof value === 'string' ? { text: value, source: 'worker.yaml' } : value
    ])
  )

function lines(entries: Record<string, string | RawValue>): string[] {
  return parseOptions(table, raw(entries), 'worker.yaml').faults.map(formatFault)
}

test('gives values, defaults, and undefined for what is optional', () => {
  const { values, faults } = parseOptions(table, raw({ servers: 'a:1' }), 'worker.yaml')
  expect(faults).toEqual([])
  expect(values).toEqual({ 'segment.bytes': 64 * MiB, servers: [{ host: 'a', port: 1 }] })
})

test('each fault is one line with source, key, rule and value', () => {
  expect(lines({ 'segment.bytes': '12' })).toEqual([
    'worker.yaml: segment.bytes: must be a size, 1MiB or more, such as 64MiB (got "12")',
    'worker.yaml: servers: is required: where the cluster is'
  ])
})

test('an unknown key names the one that was most likely meant, if one is near', () => {
  const found = lines({ servers: 'a:1', 'segment.byte': '1MiB', 'segments.bytes': '1MiB', colour: 'red' })
  expect(found).toEqual([
    'worker.yaml: segment.byte: unknown key: did you mean segment.bytes? (got "1MiB")',
    'worker.yaml: segments.bytes: unknown key: did you mean segment.bytes? (got "1MiB")',
    'worker.yaml: colour: unknown key (got "red")'
  ])
})

test('keys that every object has are unknown too', () => {
  expect(lines({ servers: 'a:1', constructor: 'x', toString: 'y' })).toEqual([
    'worker.yaml: constructor: unknown key (got "x")',
    'worker.yaml: toString: unknown key (got "y")'
  ])
})

test('a required key that is written in a broken way is one fault, not two', () => {
  const broken = { text: 'x', source: 'worker.yaml', broken: 'must be something else' }
  expect(lines({ servers: broken })).toEqual(['worker.yaml: servers: must be something else (got "x")'])
})

test('the message names where the value comes from', () => {
  expect(lines({ servers: { text: 'nowhere', source: '--set' } })).toEqual([
    '--set: servers: must be host:port, or several with commas (got "nowhere")'
  ])
})

test('sizes are printed in the largest unit', () => {
  expect([0, 1023, 1024, 1.25 * MiB, 64 * MiB, 3 * 1024 * MiB].map(formatBytes)).toEqual([
    '0B',
    '1023B',
    '1KiB',
    '1.3MiB',
    '64MiB',
    '3GiB'
  ])
})
