// The query language of search, and its translation to an SQLite FTS5 expression. All that a user writes ends up inside a
// quoted FTS5 string, so nothing of it can act as FTS5 syntax: https://www.sqlite.org/fts5.html#full_text_query_syntax
import { MillraceError } from '../errors.ts'

/** What a prefix in a query restricts its word to, as columns of the search index. */
const columns: Readonly<Record<string, string>> = { key: 'key', value: 'value', header: 'headers', headers: 'headers' }

/** FTS5's parser has a stack of 100 places, of which a level takes up to twelve. */
const MAX_DEPTH = 8

const operators = ['AND', 'OR', 'NOT'] as const
type Operator = (typeof operators)[number]

/** Where a token begins in the query, counted from 0. */
type Token = { readonly at: number } & (
  | { readonly kind: 'open' | 'close' | 'end' }
  | { readonly kind: Operator }
  | { readonly kind: 'column'; readonly column: string; readonly text: string }
  | { readonly kind: 'term'; readonly text: string; readonly isPrefix: boolean }
)

/**
 * Translates a query: words (all must match), "phrases", prefix*, AND, OR, NOT and parentheses; `key:`, `value:` and
 * `header:` before a word, phrase or parenthesis look there only. Throws QUERY_INVALID with the place and what was expected.
 */
export function parseQuery(query: string): string {
  const parser = new Parser(tokens(query))
  const expression = parser.alternatives()
  parser.expectEnd()
  return expression
}

class Parser {
  readonly #tokens: readonly Token[]
  #position = 0
  #depth = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  alternatives(): string {
    const parts = [this.#conjunction()]
    while (this.#take('OR')) parts.push(this.#conjunction())
    return join(parts, 'OR')
  }

  /** What stands side by side or is joined by AND must match; what follows a NOT must not. */
  #conjunction(): string {
    const start = this.#next
    const wanted: string[] = []
    const unwanted: string[] = []
    do {
      const isUnwanted = this.#take('NOT')
      const part = this.#operand()
      if (isUnwanted) unwanted.push(part)
      else wanted.push(part)
    } while (this.#take('AND') || ['NOT', 'open', 'column', 'term'].includes(this.#next.kind))
    if (wanted.length === 0)
      throw invalid(start.at, 'NOT alone would find nearly everything: expected a word beside it')
    const all = join(wanted, 'AND')
    return unwanted.length === 0 ? all : `(${all} NOT ${join(unwanted, 'OR')})`
  }

  #operand(): string {
    const token = this.#next
    this.#position++
    if (token.kind === 'term') return `"${token.text}"${token.isPrefix ? '*' : ''}`
    if (token.kind === 'column') {
      if (this.#next.kind !== 'term' && this.#next.kind !== 'open') {
        throw invalid(this.#next.at, `expected a word, a phrase or ( after ${token.text}`)
      }
      return `(${token.column} : ${this.#operand()})`
    }
    if (token.kind !== 'open') throw unexpected(token, 'a word, a "phrase" or (')
    if (++this.#depth > MAX_DEPTH) throw invalid(token.at, `parentheses are nested more than ${MAX_DEPTH} deep`)
    const inner = this.alternatives()
    if (!this.#take('close')) throw unexpected(this.#next, `a word or the ) for the ( at ${token.at + 1}`)
    this.#depth--
    return inner
  }

  expectEnd(): void {
    if (this.#next.kind !== 'end') throw unexpected(this.#next, 'a word or the end of the query')
  }

  get #next(): Token {
    return this.#tokens[this.#position]!
  }

  #take(kind: Token['kind']): boolean {
    if (this.#next.kind !== kind) return false
    this.#position++
    return true
  }
}

function join(parts: readonly string[], operator: Operator): string {
  return parts.length === 1 ? parts[0]! : `(${parts.join(` ${operator} `)})`
}

function tokens(query: string): Token[] {
  const found: Token[] = []
  const columnPattern = new RegExp(`(${Object.keys(columns).join('|')}):`, 'y')
  const wordPattern = /[^\s"()]+/y
  for (let at = 0; at < query.length; ) {
    const character = query[at]!
    if (/\s/.test(character)) at++
    else if (character === '(' || character === ')') {
      found.push({ kind: character === '(' ? 'open' : 'close', at })
      at++
    } else if (character === '"') {
      const close = query.indexOf('"', at + 1)
      if (close < 0) throw invalid(at, 'the quote is not closed: expected another "')
      const isPrefix = query[close + 1] === '*'
      found.push(term(query.slice(at + 1, close), isPrefix, at))
      at = close + (isPrefix ? 2 : 1)
    } else {
      const column = match(columnPattern, query, at)
      const word = column ?? match(wordPattern, query, at)!
      if (column !== undefined) found.push({ kind: 'column', column: columns[column.slice(0, -1)]!, text: column, at })
      else found.push(operator(word, at) ?? wordTerm(word, at))
      at += word.length
    }
  }
  return [...found, { kind: 'end', at: query.length }]
}

function match(pattern: RegExp, query: string, at: number): string | undefined {
  pattern.lastIndex = at
  return pattern.exec(query)?.[0]
}

function operator(word: string, at: number): Token | undefined {
  const kind = operators.find(name => name === word)
  return kind && { kind, at }
}

function wordTerm(word: string, at: number): Token {
  const star = word.indexOf('*')
  if (star >= 0 && star < word.length - 1) throw invalid(at + star, 'expected * at the end of a word only')
  return star < 0 ? term(word, false, at) : term(word.slice(0, -1), true, at)
}

/** A term that the index can hold: letters and digits are indexed, all else only parts them. */
function term(text: string, isPrefix: boolean, at: number): Token {
  if (!/[\p{L}\p{N}\p{Co}]/u.test(text)) {
    throw invalid(at, `expected a letter or digit in ${JSON.stringify(text)}: only these are indexed`)
  }
  return { kind: 'term', text: text.replaceAll('\0', ' '), isPrefix, at }
}

function unexpected(token: Token, expected: string): MillraceError {
  const got = { open: '(', close: ')', end: 'the end', column: 'a column', term: 'a word' } as const
  return invalid(
    token.at,
    `expected ${expected}, got ${token.kind in got ? got[token.kind as keyof typeof got] : token.kind}`
  )
}

function invalid(at: number, what: string): MillraceError {
  return new MillraceError('QUERY_INVALID', `query, character ${at + 1}: ${what}`, {
    hint: 'A query has words, "phrases", prefix*, AND, OR, NOT, ( ), and key:, value: or header: before a word.'
  })
}
