// A record as it is printed: exactly, as JSON on one line, or for people, on one line too.
import { isUtf8 } from 'node:buffer'
import type { KafkaRecord } from '../kafka/records.ts'

/** Where a record was read: the WAL, the local copy of an archived segment, the archive. */
export type Tier = 'hot' | 'warm' | 'cold'

/** A record and where it comes from. */
export interface FoundRecord extends KafkaRecord {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly timestampType: 'CreateTime' | 'LogAppendTime'
  readonly tier: Tier
}

/** A string where the bytes are UTF-8. */
export type JsonBytes = string | { readonly base64: string } | null

export interface RecordJson {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  readonly timestampType: 'CreateTime' | 'LogAppendTime'
  readonly key: JsonBytes
  readonly value: JsonBytes
  readonly headers: readonly (readonly [string, JsonBytes])[]
  readonly tier: Tier
}

/** A record as JSON, its fields in the order in which they are documented. No byte is lost. */
export function recordJson(record: FoundRecord): RecordJson {
  const { topic, topicId, partition, offset, timestamp, timestampType, key, value, headers, tier } = record
  return {
    topic,
    topicId,
    partition,
    offset,
    timestamp,
    timestampType,
    key: jsonBytes(key),
    value: jsonBytes(value),
    headers: headers.map(([name, content]) => [name, jsonBytes(content)] as const),
    tier
  }
}

function jsonBytes(bytes: Buffer | null): JsonBytes {
  if (bytes === null) return null
  return isUtf8(bytes) ? bytes.toString('utf8') : { base64: bytes.toString('base64') }
}

/** What a value keeps of its length however narrow the terminal. */
const LEAST_VALUE = 16

/**
 * A record on one line for people. With `width` (the columns of a terminal) the value is shortened so that the line fits.
 * Control characters are escaped: a record must not be able to steer the terminal.
 */
export function recordLine(record: FoundRecord, width?: number): string {
  const { topic, partition, offset, timestamp, key, value, headers, tier } = record
  const place = `${topic}-${partition}@${offset}`
  const start = `${place}  ${timeText(timestamp)}  ${tier}  key: ${readable(key)}  value: `
  const names = headers.map(([name, content]) => `${escaped(name)}=${readable(content)}`)
  const end = names.length === 0 ? '' : `  headers: ${names.join(', ')}`
  const text = readable(value)
  return start + (width === undefined ? text : shortened(text, width - start.length - end.length)) + end
}

const HEX_WIDTH = 16

/** All bytes of a record, as `hexdump -C` shows them. */
export function recordHex({
  topic,
  partition,
  offset,
  timestamp,
  timestampType,
  key,
  value,
  headers,
  tier
}: FoundRecord): string {
  const parts: (readonly [string, Buffer | null])[] = [
    ['key', key],
    ['value', value],
    ...headers.map(([name, content]) => [`header ${escaped(name)}`, content] as const)
  ]
  const head = `${topic}-${partition}@${offset}  ${timestampType} ${timestamp} ${timeText(timestamp)}  ${tier}`
  return [head, ...parts.flatMap(([name, bytes]) => [`  ${name}: ${size(bytes)}`, ...hexLines(bytes)])].join('\n')
}

function size(bytes: Buffer | null): string {
  return bytes === null ? '(null)' : `${bytes.length} bytes`
}

function* hexLines(bytes: Buffer | null): Generator<string> {
  for (let at = 0; at < (bytes?.length ?? 0); at += HEX_WIDTH) {
    const row = bytes!.subarray(at, at + HEX_WIDTH)
    const hex = row
      .toString('hex')
      .replace(/../g, '$& ')
      .padEnd(3 * HEX_WIDTH)
    const text = row.toString('latin1').replace(/[^\x20-\x7e]/g, '.')
    yield `    ${at.toString(16).padStart(8, '0')}  ${hex} |${text}|`
  }
}

function timeText(timestamp: number): string {
  const date = new Date(timestamp)
  // -1 stands for no timestamp; a producer may also have set one that no calendar has.
  return timestamp < 0 || Number.isNaN(date.getTime()) ? `timestamp ${timestamp}` : date.toISOString()
}

function readable(bytes: Buffer | null): string {
  if (bytes === null) return '(null)'
  return isUtf8(bytes) ? escaped(bytes.toString('utf8')) : `base64:${bytes.toString('base64')}`
}

/** Control characters, and those that turn the direction of writing, as JSON escapes. */
function escaped(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu, character => {
    const short = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }[character]
    return short ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

function shortened(text: string, room: number): string {
  const length = Math.max(room, LEAST_VALUE)
  if (text.length <= length) return text
  // Twice the room is enough, since a character has two code units at most.
  const characters = [...text.slice(0, 2 * length + 1)]
  return characters.length <= length ? text : `${characters.slice(0, length - 1).join('')}…`
}
