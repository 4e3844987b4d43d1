// What of a record is indexed, and how it is parted into words: the same wherever records are searched.
import { isUtf8 } from 'node:buffer'
import { hash } from 'node:crypto'
import type { KafkaRecord } from '../kafka/records.ts'
import { grownStrings } from './binary-strings.ts'

/** FTS5's tokenizer: words are letters, digits and private-use characters, folded to plain lower case. */
export const TOKENIZER = 'unicode61 remove_diacritics 2'

/** Begins a key's token: a private-use character, which is a letter to the tokenizer and in no one's text by accident. */
export const KEY_MARK = '\uE000'
const KEY_DIGITS = 16

/** What FTS5 is given of a record, by column: text, or bytes that are it in UTF-8; null has no words. */
export type IndexedText = readonly [key: string | null, value: string | Buffer | null, headers: string | null]

export function indexedText({ key, value, headers }: Pick<KafkaRecord, 'key' | 'value' | 'headers'>): IndexedText {
  const valueText = value === null || isPlainJson(value) ? value : textOf(value)
  return [key === null ? null : `${textOf(key)} ${keyToken(key)}`, valueText, headersText(headers)]
}

const BRACE = 0x7b
const QUOTE = 0x22
const BACKSLASH = 0x5c

/** Whether bytes are what `textOf` makes of them, as most values are: they need not become a string and bytes again. */
function isPlainJson(bytes: Buffer): boolean {
  return bytes[0] === BRACE && bytes[1] === QUOTE && !bytes.includes(BACKSLASH) && isUtf8(bytes)
}

/** The word that every record with this key has in its key column, and no other record. */
export function keyToken(key: Buffer): string {
  return KEY_MARK + hash('sha256', key, 'hex').slice(0, KEY_DIGITS)
}

/** Before the JSON that Confluent's serializers write: a zero byte and the id of the schema in four. */
const SCHEMA_ID_BYTES = 5

/** So begin objects and arrays with something in them, and neither `[INFO]`, `[2026-11-29 10:15]` nor `[12] C:\temp`. */
const JSON_START = /^\s*(?:\{\s*"|\[\s*(?:[[{"]|(?:-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)\s*(?:,|\]\s*$)))/

/** The JSON object or array that bytes seem to be, also behind the id of a schema; null for what is none, or empty. */
export function jsonOf(bytes: Buffer): string | null {
  const text = bytes.toString('utf8', bytes[0] === 0 ? SCHEMA_ID_BYTES : 0)
  return JSON_START.test(text) ? text : null
}

/** No text has these, but for tab and the ends of lines. */
const CONTROL = /[\p{Cc}--[\t\n\r]]/v

/**
 * The text of a key, value or header's value: of JSON without its escapes, so that words are what they stand for. Of binary
 * data that is what can be read of it, parted by what cannot, and once more each string that has grown together with the
 * bytes beside it.
 */
export function textOf(bytes: Buffer): string
export function textOf(bytes: Buffer | null): string | null
export function textOf(bytes: Buffer | null): string | null {
  if (bytes === null) return null
  const json = jsonOf(bytes)
  if (json !== null) return withoutEscapes(json)
  const text = bytes.toString('utf8')
  const isText = !CONTROL.test(text) && (!text.includes('\ufffd') || isUtf8(bytes))
  return isText ? (jsonString(text) ?? text) : [text, ...grownStrings(bytes)].join('\n')
}

const ESCAPE = /\\(?:u([\dA-Fa-f]{4})|(["\\/bfnrt]))/g
const escaped: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }

/** JSON that need not be whole, with what its escapes stand for. */
function withoutEscapes(json: string): string {
  if (!json.includes('\\')) return json
  return json.replace(ESCAPE, (_, hex: string | undefined, sign: string) =>
    hex === undefined ? (escaped[sign] ?? sign) : String.fromCharCode(Number.parseInt(hex, 16))
  )
}

/** What stands in a text that is one JSON string with escapes; null for what is none, such as a line of CSV. */
function jsonString(text: string): string | null {
  if (!text.includes('\\') || !text.trimStart().startsWith('"')) return null
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function headersText(headers: KafkaRecord['headers']): string | null {
  if (headers.length === 0) return null
  return headers.map(([name, value]) => `${name} ${textOf(value) ?? ''}`).join('\n')
}
