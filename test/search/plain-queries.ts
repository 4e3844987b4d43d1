// Random records and queries, and a plain evaluation of these that knows nothing of FTS5: each part of a query has its text,
// and says itself whether a record matches.
import fc from 'fast-check'
import type { KafkaRecord } from '../../src/kafka/records.ts'
import { recordOf } from './query-world.ts'

export interface Plain {
  readonly text: string
  matches(record: KafkaRecord): boolean
}

/** Few, so that queries match often enough to say something. */
const plainWord = fc.constantFrom('a', 'a', 'b', 'b', 'ab', '1', '12', 'true', 'p')
const plainWords = fc.array(plainWord, { minLength: 1, maxLength: 2 })

/** A backslash before an n is an escape in JSON, and nowhere else. */
const plainPhrase = fc
  .tuple(plainWords, fc.constantFrom(' ', ' ', '\n', '\\n', '\\', '/', '"'))
  .map(([words, join]) => words.join(join))

const plainJson = fc.letrec(tie => ({
  json: fc.oneof(
    { maxDepth: 3, depthSize: 'medium' },
    plainPhrase,
    fc.constantFrom(null, true, 0, 1, 12),
    fc.array(tie('json'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('p', 'q', '0', 'r s'), tie('json'), { maxKeys: 3 })
  )
})).json

/** Letters of strings written as escapes, here and there; some behind the id of a schema. */
const plainJsonText = fc
  .tuple(plainJson, fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }), fc.boolean())
  .map(([json, choices, hasSchemaId]) => {
    let at = 0
    const letter = (found: string) =>
      choices[at++ % choices.length] ? `\\u00${found.charCodeAt(0).toString(16)}` : found
    const text = JSON.stringify(json, null, 1).replace(/"(?:[^"\\]|\\.)*"/g, string =>
      string.replace(/\\.|[a-z ]/g, found => (found.length === 1 ? letter(found) : found))
    )
    return hasSchemaId && /^[{[]/.test(text) ? Buffer.concat([Buffer.of(0, 0, 0, 0, 7), Buffer.from(text)]) : text
  })

const plainText = fc.oneof(plainJsonText, plainPhrase)

/** Also without a word. */
const plainKeyText = fc.array(plainWord, { maxLength: 2 }).map(words => words.join('-'))

export const plainRecord = fc
  .tuple(
    fc.option(plainKeyText),
    fc.option(plainText),
    fc.array(fc.tuple(fc.constantFrom('h', 'p', 'a'), fc.option(plainText)), { maxLength: 3 })
  )
  .map(([key, value, headers]) => recordOf(key, value, headers))

/** Where words may be looked for, as written, and the texts that a record has there. */
const scopes: Readonly<Record<string, (record: KafkaRecord) => string[]>> = {
  '': record => [...keyTexts(record), ...valueTexts(record), ...headerTexts(record)],
  'key:': keyTexts,
  'value:': valueTexts,
  'header:': headerTexts,
  'header.h:': record => record.headers.flatMap(([name, value]) => (name === 'h' && value ? [read(value)] : [])),
  'value.p:': record => pathTexts(record, ['p']),
  'value.p.q:': record => pathTexts(record, ['p', 'q']),
  'value.0:': record => pathTexts(record, ['0']),
  'value.p.0."r s":': record => pathTexts(record, ['p', '0', 'r s'])
}

function keyTexts({ key }: KafkaRecord): string[] {
  return key === null ? [] : [key.toString()]
}

function valueTexts({ value }: KafkaRecord): string[] {
  return value === null ? [] : [read(value)]
}

function headerTexts({ headers }: KafkaRecord): string[] {
  return [headers.map(([name, value]) => `${name} ${value === null ? '' : read(value)}`).join(' ')]
}

function pathTexts({ value }: KafkaRecord, path: string[]): string[] {
  const json = value === null ? undefined : parsed(value)
  return json === undefined ? [] : textsBelow(json, path)
}

/** What a JSON text says, or the text. */
function read(bytes: Buffer): string {
  const json = parsed(bytes)
  return json === undefined ? bytes.toString() : textIn(json)
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8', bytes[0] === 0 ? 5 : 0))
  } catch {
    return undefined
  }
}

/** Names and values, as they stand. */
function textIn(json: unknown): string {
  if (typeof json !== 'object' || json === null) return String(json)
  return Object.entries(json)
    .map(([name, child]) => `${Array.isArray(json) ? '' : name} ${textIn(child)}`)
    .join(' ')
}

function textsBelow(json: unknown, path: readonly string[]): string[] {
  const [step, ...rest] = path
  if (typeof json !== 'object' || json === null) return step === undefined ? [String(json)] : []
  if (step === undefined) return Object.values(json).flatMap(child => textsBelow(child, []))
  const named = Object.entries(json).flatMap(([name, child]) => (name === step ? textsBelow(child, rest) : []))
  return Array.isArray(json) ? [...named, ...json.flatMap(child => textsBelow(child, path))] : named
}

function hasWords(text: string, wanted: readonly string[], isPrefix: boolean): boolean {
  const words = text.toLowerCase().match(/[a-z0-9]+/g) ?? []
  return words.some((_, start) =>
    wanted.every((word, index) => {
      const there = words[start + index]
      return isPrefix && index === wanted.length - 1 ? there?.startsWith(word) : there === word
    })
  )
}

const plainOperand = (scope: string) =>
  fc.tuple(plainWords, fc.boolean(), fc.constantFrom('-', '" "')).map(([words, isPrefix, join]): Plain => {
    const text = join === '-' ? words.join('-') : `"${words.join(' ')}"`
    const matches = (record: KafkaRecord) => scopes[scope]!(record).some(found => hasWords(found, words, isPrefix))
    return { text: `${text}${isPrefix ? '*' : ''}`, matches }
  })

function plainTree(leaf: fc.Arbitrary<Plain>): fc.Arbitrary<Plain> {
  return fc.letrec<{ tree: Plain }>(tie => ({
    tree: fc.oneof(
      { maxDepth: 3, depthSize: 'small' },
      leaf,
      fc.array(tie('tree'), { minLength: 2, maxLength: 3 }).map(parts => ({
        text: `(${parts.map(part => part.text).join(' OR ')})`,
        matches: (record: KafkaRecord) => parts.some(part => part.matches(record))
      })),
      fc
        .tuple(fc.array(tie('tree'), { minLength: 1, maxLength: 2 }), fc.array(tie('tree'), { maxLength: 2 }))
        .map(([wanted, unwanted]) => ({
          text: `(${[...unwanted.map(({ text }) => `NOT ${text}`), ...wanted.map(({ text }) => text)].join(' ')})`,
          matches: (record: KafkaRecord) =>
            wanted.every(part => part.matches(record)) && !unwanted.some(part => part.matches(record))
        }))
    )
  })).tree
}

const plainScoped = fc
  .constantFrom(...Object.keys(scopes))
  .chain(scope =>
    (scope === '' ? plainOperand(scope) : plainTree(plainOperand(scope))).map(
      ({ text, matches }): Plain => ({ text: `${scope}${text}`, matches })
    )
  )

const plainKey = plainKeyText.map(
  (key): Plain => ({ text: `key="${key}"`, matches: record => record.key?.toString() === key })
)

export const plainQuery = plainTree(fc.oneof({ weight: 5, arbitrary: plainScoped }, { weight: 1, arbitrary: plainKey }))
