// Fields that the search index does not keep apart: the values of one header, one field of a JSON value, the whole key.
import type { KafkaRecord } from '../kafka/records.ts'
import { jsonOf, keyToken, textOf } from '../segment/search-text.ts'

export type Field =
  | { readonly kind: 'key' }
  | { readonly kind: 'header'; readonly name: string }
  | { readonly kind: 'value'; readonly path: readonly string[] }

/** A JSON value in which numbers, true, false and null stand as they are written. */
type Json = string | Json[] | { [name: string]: Json }

/** Between the texts of one field: a word that nobody writes (a private-use letter), so that no phrase goes across. */
const BARRIER = ' \u{e001} '

/** The text of each field in a record, null where the record has no such field. */
export function fieldTexts(fields: readonly Field[], record: KafkaRecord): (string | null)[] {
  const json = fields.some(field => field.kind === 'value') ? parseJson(record.value) : null
  return fields.map(field => {
    const texts = textsOf(field, record, json)
    return texts.length === 0 ? null : texts.join(BARRIER)
  })
}

function textsOf(field: Field, { key, headers }: KafkaRecord, json: Json | null): readonly string[] {
  switch (field.kind) {
    case 'key':
      return key === null ? [] : [keyToken(key)]
    case 'header':
      return headers.flatMap(([name, value]) => (name === field.name && value !== null ? [textOf(value)] : []))
    case 'value':
      return json === null ? [] : textsAt(json, field.path)
  }
}

/** What JavaScript reads on a thread with a small stack too, so that no thread finds what another does not. */
const MAX_DEPTH = 1_000

/** Null for what is no JSON object or array, is nested too deep, or too long for JavaScript. */
function parseJson(value: Buffer | null): Json | null {
  if (value === null) return null
  try {
    const json = jsonOf(value)
    return json === null || isTooDeep(json) ? null : JSON.parse(json, asWritten)
  } catch {
    return null
  }
}

function isTooDeep(json: string): boolean {
  let depth = 0
  let isString = false
  for (let at = 0; at < json.length && depth <= MAX_DEPTH; at++) {
    const sign = json[at]
    if (sign === '"') isString = !isString
    else if (isString) at += sign === '\\' ? 1 : 0
    else if (sign === '{' || sign === '[') depth++
    else if (sign === '}' || sign === ']') depth--
  }
  return depth > MAX_DEPTH
}

/** Replaces numbers, true, false and null by their source, so that 1.0 and 12345678901234567890 stay what they are. */
function asWritten(_name: string, value: unknown, context?: { source?: string }): unknown {
  return typeof value === 'string' || (typeof value === 'object' && value !== null) ? value : context?.source
}

/**
 * What stands at a path, or anywhere below it. Every element of an array is looked at; a step may also be its index.
 * In sets, so that however a path fits arrays in arrays, each place is visited once for a step.
 */
function textsAt(json: Json, path: readonly string[]): string[] {
  let places = new Set([json])
  for (const step of path) {
    const next = new Set<Json>()
    for (const place of places) {
      if (typeof place === 'string') continue
      const child = Object.getOwnPropertyDescriptor(place, step)
      // The length of an array is not enumerable.
      if (child?.enumerable) next.add(child.value)
      // What is added to a set while it is gone through has its turn too.
      if (Array.isArray(place)) for (const element of place) places.add(element)
    }
    places = next
  }
  const texts: string[] = []
  for (const place of places) {
    if (typeof place === 'string') texts.push(place)
    else for (const child of Object.values(place)) places.add(child)
  }
  return texts
}
