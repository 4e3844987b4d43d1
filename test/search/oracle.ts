// What a search should find, by a plain scan of the records: words, JSON and boolean logic of our own, no index and no parser.
import type { SelectionFlags } from '../../src/search/selection.ts'
import type { WrittenRecord } from './corpus.ts'
import { OLD, textsOf } from './corpus.ts'

type Column = 'key' | 'value' | 'headers'

/** Where words are looked for: a column, the header of a name, a field of a JSON value; everywhere unless told. */
export type Where = Column | { readonly header: string } | { readonly path: readonly string[] }

/** A query, as it is meant. */
export type Meaning =
  | { readonly kind: 'every' }
  | { readonly kind: 'words'; readonly text: string; readonly where: Where | undefined; readonly isPrefix: boolean }
  | { readonly kind: 'key'; readonly bytes: Buffer }
  | { readonly kind: 'all' | 'any'; readonly parts: readonly Meaning[] }
  | { readonly kind: 'not'; readonly part: Meaning }

export const every: Meaning = { kind: 'every' }
/** A word, or some that stand side by side. */
export const words = (text: string, where?: Where): Meaning => ({ kind: 'words', text, where, isPrefix: false })
/** The last word may go on. */
export const prefix = (text: string, where?: Where): Meaning => ({ kind: 'words', text, where, isPrefix: true })
export const wholeKey = (key: Buffer | string): Meaning => ({ kind: 'key', bytes: Buffer.from(key) })
export const all = (...parts: Meaning[]): Meaning => ({ kind: 'all', parts })
export const any = (...parts: Meaning[]): Meaning => ({ kind: 'any', parts })
export const not = (part: Meaning): Meaning => ({ kind: 'not', part })

/** The words of a text: runs of letters and digits, in lower case, without accents. */
export function wordsIn(text: string): string[] {
  const folded = text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase()
  return folded.split(/[^\p{L}\p{N}]+/u).filter(word => word !== '')
}

/** Lists of words: a phrase stands inside one of them. */
function wordLists(record: WrittenRecord, where: Where): string[][] {
  if (where === 'key' || where === 'value') {
    const bytes = record[where]
    return bytes === null ? [] : textsOf(bytes).map(wordsIn)
  }
  // All headers are one text, name and value by turns.
  if (where === 'headers') {
    const texts = record.headers.flatMap(([name, value]) => [name, ...(value === null ? [] : textsOf(value))])
    return [texts.flatMap(wordsIn)]
  }
  if ('header' in where) {
    const values = record.headers.filter(([name]) => name === where.header).map(([, value]) => value)
    return values.flatMap(value => (value === null ? [] : textsOf(value).map(wordsIn)))
  }
  return leavesAt(parsed(record.value), where.path).map(wordsIn)
}

/** Also behind the head of a schema registry. */
function parsed(value: Buffer | null): unknown {
  try {
    return JSON.parse(String(value?.[0] === 0 ? value.subarray(5) : value))
  } catch {
    return undefined
  }
}

/** The texts of all that stands at a path, or below it; arrays are gone through on the way. */
function leavesAt(json: unknown, path: readonly string[]): string[] {
  const [step, ...rest] = path
  if (step === undefined) {
    if (typeof json === 'object' && json !== null) return Object.values(json).flatMap(child => leavesAt(child, []))
    return json === undefined ? [] : [String(json)]
  }
  if (typeof json !== 'object' || json === null) return []
  const child =
    Object.hasOwn(json, step) && step !== 'length' ? leavesAt((json as Record<string, unknown>)[step], rest) : []
  return Array.isArray(json) ? [...child, ...json.flatMap(element => leavesAt(element, path))] : child
}

export function matches(record: WrittenRecord, meaning: Meaning): boolean {
  switch (meaning.kind) {
    case 'every':
      return true
    case 'key':
      return record.key?.equals(meaning.bytes) === true
    case 'all':
      return meaning.parts.every(part => matches(record, part))
    case 'any':
      return meaning.parts.some(part => matches(record, part))
    case 'not':
      return !matches(record, meaning.part)
    case 'words':
      return columnsOf(meaning.where).some(where => wordLists(record, where).some(list => stands(meaning, list)))
  }
}

function columnsOf(where: Where | undefined): readonly Where[] {
  return where === undefined ? ['key', 'value', 'headers'] : [where]
}

function stands({ text, isPrefix }: Extract<Meaning, { kind: 'words' }>, list: readonly string[]): boolean {
  const wanted = wordsIn(text)
  return list.some((_, at) =>
    wanted.every((word, i) => {
      const found = list[at + i]
      return isPrefix && i === wanted.length - 1 ? found?.startsWith(word) : found === word
    })
  )
}

/** The records that flags leave, before any query. */
export function isSelected(record: WrittenRecord, flags: SelectionFlags): boolean {
  const { topic = [], partition, offsets = '..', from, to, topicId, allIncarnations, isolation } = flags
  const [first, end] = offsets.split('..') as [string, string]
  return (
    (topic.length === 0 || topic.includes(record.topic)) &&
    (partition === undefined || record.partition === partition) &&
    record.offset >= Number(first) &&
    (end === '' || record.offset < Number(end)) &&
    (from === undefined || record.timestamp >= Date.parse(from)) &&
    (to === undefined || record.timestamp < Date.parse(to)) &&
    (topicId === undefined ? allIncarnations === true || record.topicId !== OLD : record.topicId === topicId) &&
    (isolation !== 'read_committed' || record.isCommitted)
  )
}

/** What is found, in order. */
export function scan(records: readonly WrittenRecord[], meaning: Meaning, flags: SelectionFlags): WrittenRecord[] {
  const { order = 'newest' } = flags
  const selected = records.filter(record => isSelected(record, flags))
  const found = selected.filter(record => matches(record, meaning))
  const oldestFirst = found.toSorted(
    (a, b) =>
      a.timestamp - b.timestamp ||
      Buffer.compare(Buffer.from(a.topic), Buffer.from(b.topic)) ||
      a.partition - b.partition ||
      Buffer.compare(Buffer.from(a.topicId), Buffer.from(b.topicId)) ||
      a.offset - b.offset
  )
  if (order === 'oldest') return oldestFirst
  const newestFirst = oldestFirst.toReversed()
  return order === 'newest' ? newestFirst : byRank(newestFirst, selected, meaning)
}

/** Rare words first: each that a record has counts ln(1 + N / df), of N records of which df have it. */
function byRank(
  found: readonly WrittenRecord[],
  selected: readonly WrittenRecord[],
  meaning: Meaning
): WrittenRecord[] {
  const operands = wantedIn(meaning)
  const weights = operands.map(operand => {
    const having = selected.filter(record => matches(record, operand)).length
    return having === 0 ? 0 : Math.log(1 + selected.length / having)
  })
  const rankOf = (record: WrittenRecord) =>
    operands.reduce((rank, operand, i) => rank + (matches(record, operand) ? weights[i]! : 0), 0)
  return found.toSorted((a, b) => rankOf(b) - rankOf(a))
}

/** What is wanted, each once: of words side by side, or in a field, it counts that the record has them somewhere. */
function wantedIn(meaning: Meaning): Meaning[] {
  const found = new Map<string, Meaning>()
  const walk = (part: Meaning): void => {
    if (part.kind === 'all' || part.kind === 'any') for (const one of part.parts) walk(one)
    if (part.kind === 'key') found.set(`key=${part.bytes.toString('hex')}`, part)
    if (part.kind !== 'words') return
    const list = wordsIn(part.text)
    const each = list.map((word, i) => (part.isPrefix && i === list.length - 1 ? prefix(word) : words(word)))
    found.set(JSON.stringify(each), all(...each))
  }
  walk(meaning)
  return [...found.values()]
}
