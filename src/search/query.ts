// The query language of search, and its translation to SQLite FTS5 expressions. All that a user writes ends up inside a
// quoted FTS5 string, so nothing of it can act as FTS5 syntax: https://www.sqlite.org/fts5.html#full_text_query_syntax
import { keyToken } from '../segment/search-text.ts'
import { wordsOf } from '../segment/words.ts'
import type { Field } from './fields.ts'
import type { Operand, QueryTree, Words } from './query-parser.ts'
import { parseTree } from './query-parser.ts'

/** What only the records can tell: an expression over key, value, headers and a column f0, f1, … for each field. */
export interface Exact {
  readonly expression: string
  readonly fields: readonly Field[]
  /** Whether the expression looks at key, value and headers too. */
  readonly isBeyondFields: boolean
}

export interface Query {
  /** FTS5 expression over a search index that finds every match, and perhaps more; null: every record is a candidate. */
  readonly candidates: string | null
  /** Null where the candidates are the matches. */
  readonly exact: Exact | null
  /**
   * FTS5 expressions over a search index of what is wanted (not below NOT), one for each word, phrase, field or key: records
   * that have its words, wherever. Their number and order depend on the query alone.
   */
  readonly operands: readonly string[]
  /** False where no record of an index can match, by what its filter says of single words. */
  mayMatch(mayContain: (word: string) => boolean): boolean
}

const everyRecord: Query = { candidates: null, exact: null, operands: [], mayMatch: () => true }

export interface QueryOptions {
  /** False for an index without the hashes of keys (segment format version 1), where `key=` looks for a key's words. */
  readonly keyHash?: boolean
}

/**
 * Translates a query: words (all must match), "phrases", prefix*, AND, OR, NOT and parentheses; `key:`, `value:`, `header:`,
 * `header.NAME:` and `value.path.to.field:` before a word, phrase or parenthesis look there only; `key=` is a whole key.
 * `*` alone, or nothing, is every record. Throws QUERY_INVALID with the place and what was expected.
 */
export function parseQuery(query: string, { keyHash = true }: QueryOptions = {}): Query {
  const tree = parseTree(query)
  if (tree === null) return everyRecord
  const candidate = (operand: Operand, bound: Bound) => candidateFor(operand, bound, keyHash)
  return {
    candidates: expressionOf(tree, 'most', candidate),
    exact: exactOf(tree),
    operands: operandsOf(tree, keyHash),
    mayMatch: mayContain => mayMatch(tree, mayContain, keyHash)
  }
}

/** Whether an expression may find more than the query, or may find less: what is taken away must not be too much. */
type Bound = 'most' | 'least'

/** The expression for an operand; null stands for every record where it may find more, for none where it may find less. */
type Translate = (operand: Operand, bound: Bound) => string | null

function expressionOf(tree: QueryTree, bound: Bound, translate: Translate): string | null {
  if (tree.kind === 'any') {
    return joined(
      tree.parts.map(part => expressionOf(part, bound, translate)),
      'OR',
      bound === 'least'
    )
  }
  if (tree.kind !== 'all') return translate(tree, bound)
  const opposite = bound === 'most' ? 'least' : 'most'
  const wanted = joined(
    tree.wanted.map(part => expressionOf(part, bound, translate)),
    'AND',
    bound === 'most'
  )
  const unwanted = joined(
    tree.unwanted.map(part => expressionOf(part, opposite, translate)),
    'OR',
    bound === 'most'
  )
  if (wanted === null || tree.unwanted.length === 0) return wanted
  if (unwanted === null) return bound === 'most' ? wanted : null
  return `(${wanted} NOT ${unwanted})`
}

/** Null among the parts either changes nothing or is the answer. */
function joined(parts: readonly (string | null)[], operator: 'AND' | 'OR', isNullNeutral: boolean): string | null {
  const known = parts.filter(part => part !== null)
  if (known.length === 0 || (!isNullNeutral && known.length < parts.length)) return null
  return known.length === 1 ? known[0]! : `(${known.join(` ${operator} `)})`
}

/** An index knows which words a record has, and neither where nor in what order. */
function candidateFor(operand: Operand, bound: Bound, keyHash: boolean): string | null {
  if (bound === 'least' && !isWord(operand)) return null
  if (operand.kind === 'words') return havingAll(operand)
  return havingAll({ words: keyHash ? [keyToken(operand.key)] : wordsOf(operand.key.toString()) })
}

function isWord(operand: Operand): boolean {
  return operand.kind === 'words' && operand.scope === null && operand.words.length === 1
}

/** Null, which is every record, for no words. */
function havingAll({ words, isPrefix = false }: Pick<Words, 'words'> & Partial<Words>): string | null {
  const last = words.length - 1
  const each = words.map((text, i) => quoted({ text, isPrefix: isPrefix && i === last }))
  return joined([...new Set(each)], 'AND', true)
}

function exactOf(tree: QueryTree): Exact | null {
  const fields = new Map<string, Field>()
  let isBeyondFields = false
  let areWords = true
  const exactFor = (operand: Operand) => {
    areWords &&= isWord(operand)
    const where = operand.kind === 'words' ? operand.scope : ({ kind: 'key' } as const)
    const text = operand.kind === 'words' ? quoted(operand) : quoted({ text: keyToken(operand.key) })
    if (where === null || typeof where === 'string') {
      isBeyondFields = true
      return inColumn(where, text)
    }
    const id = JSON.stringify(where)
    fields.set(id, where)
    return inColumn(`f${[...fields.keys()].indexOf(id)}`, text)
  }
  const expression = expressionOf(tree, 'most', exactFor)!
  return areWords ? null : { expression, fields: [...fields.values()], isBeyondFields }
}

function inColumn(column: string | null, quoted: string): string {
  return column === null ? quoted : `(${column} : ${quoted})`
}

/** An FTS5 string: its only sign is the quote, and SQLite ends an expression at a NUL. */
function quoted({ text, isPrefix = false }: Pick<Words, 'text'> & Partial<Words>): string {
  return `"${text.replaceAll('"', '""').replaceAll('\0', ' ')}"${isPrefix ? '*' : ''}`
}

/** Of operands that are one to an index with the hashes of keys, only the first, whatever the index. */
function operandsOf(tree: QueryTree, keyHash: boolean): string[] {
  const found = new Map<string, string>()
  for (const operand of wantedOf(tree)) {
    const usual = candidateFor(operand, 'most', true)!
    found.set(usual, candidateFor(operand, 'most', keyHash) ?? usual)
  }
  return [...found.values()]
}

function* wantedOf(tree: QueryTree): Generator<Operand> {
  if (tree.kind === 'all') for (const part of tree.wanted) yield* wantedOf(part)
  else if (tree.kind === 'any') for (const part of tree.parts) yield* wantedOf(part)
  else yield tree
}

/** What is unwanted says nothing: a filter knows that a word is in the index, not that it is in every record. */
function mayMatch(tree: QueryTree, mayContain: (word: string) => boolean, keyHash: boolean): boolean {
  switch (tree.kind) {
    case 'all':
      return tree.wanted.every(part => mayMatch(part, mayContain, keyHash))
    case 'any':
      return tree.parts.some(part => mayMatch(part, mayContain, keyHash))
    case 'key':
      return (keyHash ? [keyToken(tree.key)] : wordsOf(tree.key.toString())).every(mayContain)
    case 'words':
      return (tree.isPrefix ? tree.words.slice(0, -1) : tree.words).every(mayContain)
  }
}
