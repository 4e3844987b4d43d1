// Which words of a record are found: ids whole and by part, folded letters, and what can be read of binary data.
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SearchIndexBuilder } from '../../src/segment/search-index.ts'
import { indexedText, keyToken, textOf } from '../../src/segment/search-text.ts'
import { wordsOf } from '../../src/segment/words.ts'
import { record } from './segments.ts'

/** Whether a record with this value, and one with this key, has the words of `phrase` next to each other. */
function finds(value: string | Buffer, phrase: string): boolean {
  const bytes = Buffer.from(value)
  const [key, text] = indexedText({ key: bytes, value: bytes, headers: [] })
  const [inKey, inValue] = [key, text].map(one =>
    ` ${wordsOf(String(one)).join(' ')} `.includes(` ${wordsOf(phrase).join(' ')} `)
  )
  expect(inKey).toBe(inValue)
  return inValue!
}

const json = `{"id":"f47ac10b-58cc-4372-a567-0e02b2c3d479","email":"ann.lee+shop@mail.example.com","ref":"INV-2026-0017"}`
const logfmt = `level=warn host=eu-west-1a.db.internal ip=10.0.0.17 dur=1.5ms msg="disk nearly full" path=/var/lib/kafka`

test.for([
  ['a UUID', json, 'f47ac10b-58cc-4372-a567-0e02b2c3d479'],
  ['a part of a UUID', json, '0e02b2c3d479'],
  ['two parts of a UUID', json, '4372-a567'],
  ['an e-mail address', json, 'ann.lee+shop@mail.example.com'],
  ['its domain', json, 'example.com'],
  ['its name, in other letters', json, 'Ann.Lee'],
  ['a hyphenated id', json, 'inv-2026-0017'],
  ['its number', json, '0017'],
  ['a name and a value of JSON', json, 'ref INV'],
  ['a dotted host', logfmt, 'eu-west-1a.db.internal'],
  ['an address', logfmt, '10.0.0.17'],
  ['a pair of logfmt', logfmt, 'level=warn'],
  ['a quoted value of logfmt', logfmt, 'nearly full'],
  ['a path', logfmt, '/lib/kafka'],
  ['É by e', 'Élan vital', 'elan'],
  ['e by é', 'Elan vital', 'élan'],
  ['letters with a mark of their own', 'E\u0301lan', 'élan'],
  ['Cyrillic in capitals', 'Київ на Дніпрі', 'КИЇВ'],
  ['Greek in capitals', 'Αθήνα', 'ΑΘΉΝΑ'],
  ['ß as it is', 'Straße', 'STRAßE'],
  ['CJK as a whole', '東京都 渋谷区', '東京都']
] as const)('%s is found', ([, value, phrase]) => {
  expect(finds(value, phrase)).toBe(true)
})

test.for([
  ['parts in another order', json, 'a567-4372'],
  ['parts that are not side by side', json, '58cc-a567'],
  ['the beginning of a word', json, 'f47ac'],
  ['ß as ss', 'Straße', 'strasse'],
  ['a part of a run of CJK', '東京都', '東京']
] as const)('%s is not', ([, value, phrase]) => {
  expect(finds(value, phrase)).toBe(false)
})

const escapes = String.raw`{"name":"M\u00fcller","emoji":"\uD83D\uDE00 \uD840\uDC0B","error":"it failed\n\tat app.run\r\n","p":"a\/b \"c\" d\\temp"}`
const schemaId = Buffer.of(0, 0, 0, 0x4d, 0x22)

describe('escapes of JSON stand for what they say', () => {
  test.for<[string, string | Buffer]>([
    ['an object', escapes],
    ['an array behind white space', ` \n[ ${escapes}]`],
    ['an array that begins with a number', `[ -1.5E+3 , ${escapes}]`],
    ['an array that begins with a word', `[null,${escapes}]`],
    ['lines of objects', `{"a":1}\n${escapes}\n`],
    ['an object that is cut off', escapes.slice(0, -1)],
    ['an object behind the id of a schema', Buffer.concat([schemaId, Buffer.from(escapes)])],
    ['an object with bytes that are no text', Buffer.from(`${escapes} \x80\xff`, 'latin1')]
  ])('in %s', ([, value]) => {
    for (const phrase of ['müller', 'emoji 𠀋 error', 'it failed at app.run', 'a b c d temp']) {
      expect(finds(value, phrase), phrase).toBe(true)
    }
    for (const word of ['u00fcller', 'nat', 'tat', 'emp', 'n']) expect(finds(value, word), word).toBe(false)
  })

  test('in a string', () => {
    expect(textOf(Buffer.from(String.raw`"M\u00fcller\n\ud83d\ude00\\n\/\b\f\r\t\""`))).toBe('Müller\n😀\\n/\b\f\r\t"')
    expect(textOf(Buffer.from(String.raw`["M\u00fcller\n\ud83d\ude00\\n\/\b\f\r\t\""]`))).toBe(
      '["Müller\n😀\\n/\b\f\r\t""]'
    )
  })

  test.for([
    String.raw`C:\temp\new`,
    String.raw`[INFO] C:\temp\new`,
    String.raw`[12] C:\temp\new`,
    String.raw`[2026-11-29 10:15:00,123] C:\temp\new`,
    String.raw`[2026] [10:15, "C:\temp"]`,
    String.raw`{C:\temp}`,
    String.raw`{'path': 'C:\temp'}`,
    String.raw`"C:\temp","C:\new"`,
    String.raw`"C:\temp`,
    String.raw`path="C:\temp"`
  ])('but not in %s', text => {
    expect(textOf(Buffer.from(text))).toBe(text)
  })

  test('and what is no escape is left as it is', () => {
    const text = String.raw`{"a":"\x41 \u12 \u12g4 \U0041 \ `
    expect(textOf(Buffer.from(text))).toBe(text)
  })
})

test('JSON behind the id of a schema has no words that are cut', () => {
  const value = Buffer.concat([schemaId, Buffer.from('{"name":"Wolfgang Amadeus Mozart","city":"Salzburg"}')])
  expect(wordsOf(textOf(value))).toEqual(['name', 'wolfgang', 'amadeus', 'mozart', 'city', 'salzburg'])
})

describe('a key', () => {
  const keys = [Buffer.from([0, 1]), Buffer.from([0, 2]), Buffer.from('a-b'), Buffer.from('A-B'), Buffer.alloc(0), null]
  const offsetsWith = (expression: string): number[] => {
    const builder = new SearchIndexBuilder(':memory:')
    for (const [offset, key] of keys.entries())
      builder.add(record(offset, { key, value: Buffer.from('v'), headers: [] }))
    using index = builder.search()
    return [...index.match(expression)].map(({ offset }) => offset)
  }

  test.for(keys.filter(key => key !== null).map((key, i) => [key, i] as const))(
    '%j is found by its bytes',
    ([key, i]) => {
      expect(offsetsWith(`"${keyToken(key)}"`)).toEqual([i])
      expect(wordsOf(keyToken(key))).toEqual([keyToken(key)])
    }
  )

  test('is found by its words as well', () => {
    expect(offsetsWith('"a" AND "b"')).toEqual([2, 3])
  })
})

interface EncodedValue {
  readonly encoder: 'avro' | 'protobuf'
  readonly base64: string
  readonly strings: readonly string[]
}

const fixture = new URL('../fixtures/segment/values.json', import.meta.url)
const values: readonly EncodedValue[] = JSON.parse(readFileSync(fixture, 'utf8'))

/** The strings of all values of an encoder that are not found as phrases in a text of the value. */
function lost(encoder: string, text: (bytes: Buffer) => string): string[] {
  return values
    .filter(value => value.encoder === encoder)
    .flatMap(({ base64, strings }) => {
      const words = ` ${wordsOf(text(Buffer.from(base64, 'base64'))).join(' ')} `
      return strings.filter(one => !words.includes(` ${wordsOf(one).join(' ')} `))
    })
}

describe('a binary value', () => {
  test("of Protobuf's encoder is found by each of its strings", () => {
    expect(lost('protobuf', bytes => bytes.toString()).length).toBeGreaterThan(300)
    expect(lost('protobuf', textOf)).toEqual([])
  })

  test('also behind the header of a schema registry', () => {
    const header = (bytes: Buffer) => Buffer.concat([Buffer.from([0, 0, 0, 0, 42, 4, 2, 6]), bytes])
    expect(lost('protobuf', bytes => textOf(header(bytes)))).toEqual([])
  })

  test("of Avro's encoder is found by nearly each of 499 strings, though no schema tells where they are", () => {
    expect(lost('avro', bytes => bytes.toString()).length).toBeGreaterThan(200)
    expect(lost('avro', textOf).length).toBeLessThanOrEqual(2)
  })

  test('keeps the words that can be read without any of that', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.uint8Array({ maxLength: 20 }))), parts => {
        const bytes = Buffer.concat(parts.map(part => Buffer.from(part as Uint8Array)))
        const words = wordsOf(textOf(bytes))
        expect(words.slice(0, wordsOf(bytes.toString()).length)).toEqual(wordsOf(bytes.toString()))
      })
    )
  })

  test('made of lengths alone does not grow', () => {
    for (const byte of [0x02, 0x0a, 0x32, 0x48, 0x7a, 0x80, 0xff]) {
      const text = textOf(Buffer.concat([Buffer.alloc(1), Buffer.alloc(1024 * 1024, byte)]))
      expect(text.length, `byte ${byte}`).toBeLessThanOrEqual(2 * (1024 * 1024 + 1))
    }
  })
})

test('what is text is left as it is, also with a replacement character of its own', () => {
  for (const text of ['plain', '', 'tab\tand\r\nline', 'Hf47ac10b \ufffd 2', '東京'])
    expect(textOf(Buffer.from(text))).toBe(text)
  expect(textOf(null)).toBeNull()
})
