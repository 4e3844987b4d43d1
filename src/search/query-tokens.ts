// The words and signs of a query, and the errors that name a place in it.
import { MillraceError } from '../errors.ts'
import type { Field } from './fields.ts'

/** A column of the search index. */
export type Column = 'key' | 'value' | 'headers'

export type Operator = 'AND' | 'OR' | 'NOT'

/** Where a token begins in the query, counted from 0. */
export type Token = { readonly at: number } & (
  | { readonly kind: 'open' | 'close' | 'every' | 'end' | Operator }
  | { readonly kind: 'scope'; readonly scope: Column | Field; readonly text: string }
  | { readonly kind: 'words'; readonly text: string; readonly isPrefix: boolean }
  | { readonly kind: 'key'; readonly key: Buffer }
)

const columns: Readonly<Record<string, Column>> = { key: 'key', value: 'value', header: 'headers', headers: 'headers' }

/** Sticky, so that they match where the tokenizer stands and nowhere else. */
const patterns = {
  space: /\s*/y,
  word: /[^\s"()]+/y,
  /** In quotes, \" is a quote and \\ a backslash; any other backslash stands for itself. */
  quoted: /"((?:[^"\\]|\\.)*)"/sy,
  column: /(key|value|headers?):/y,
  wholeKey: /key=/y,
  fieldStart: /(value|headers?)\./y,
  headerName: /[^\s"():*]*/y,
  pathStep: /[^\s"():*.]*/y
} as const

const hint =
  'A query has words, "phrases", prefix*, AND, OR, NOT and ( ); before these, key:, value:, header:, header.NAME: or ' +
  'value.FIELD: say where; key=KEY is a whole key; * alone finds every record.'

/** The tokens of a query; the last is its end. Throws QUERY_INVALID. */
export function tokensOf(query: string): Token[] {
  return [...new Tokenizer(query).tokens()]
}

/** A place in a query as users count: from 1, and in characters, of which one may be two in JavaScript. */
export function placeOf(query: string, at: number): number {
  return [...query.slice(0, at)].length + 1
}

/** QUERY_INVALID for a place, counted from 0 as JavaScript does. */
export function invalid(query: string, at: number, what: string): MillraceError {
  return new MillraceError('QUERY_INVALID', `query, character ${placeOf(query, at)}: ${what}`, { hint })
}

class Tokenizer {
  readonly #query: string
  #at = 0

  constructor(query: string) {
    this.#query = query
  }

  *tokens(): Generator<Token> {
    for (;;) {
      this.#read(patterns.space)
      const at = this.#at
      if (at === this.#query.length) return yield { kind: 'end', at }
      yield this.#token()
    }
  }

  #token(): Token {
    const at = this.#at
    if (this.#take('(')) return { kind: 'open', at }
    if (this.#take(')')) return { kind: 'close', at }
    if (this.#isAtQuote()) return { kind: 'words', text: this.#quoted(), isPrefix: this.#take('*'), at }
    if (this.#read(patterns.wholeKey)) return { kind: 'key', key: this.#wholeKey(), at }
    const column = this.#read(patterns.column)
    if (column) return { kind: 'scope', scope: columns[column[1]!]!, text: column[0], at }
    return this.#field() ?? this.#word()
  }

  #word(): Token {
    const at = this.#at
    const [word] = this.#read(patterns.word)!
    if (word === '*') return { kind: 'every', at }
    if (word === 'AND' || word === 'OR' || word === 'NOT') return { kind: word, at }
    const star = word.indexOf('*')
    if (star >= 0 && star < word.length - 1) throw this.#invalid(at + star, 'expected * at the end of a word only')
    return { kind: 'words', text: star < 0 ? word : word.slice(0, -1), isPrefix: star >= 0, at }
  }

  /** `header.NAME:` or `value.path.to.field:`; a word such as value.txt is none, but with a quote it must be one. */
  #field(): Token | undefined {
    const at = this.#at
    const start = this.#read(patterns.fieldStart)
    if (!start) return undefined
    const isHeader = start[1] !== 'value'
    const named = isHeader ? 'header' : 'field'
    const steps: string[] = []
    let isQuoted = false
    let emptyAt: number | undefined
    do {
      const stepAt = this.#at
      if (this.#isAtQuote()) {
        isQuoted = true
        steps.push(this.#quoted())
      } else {
        const [step] = this.#read(isHeader ? patterns.headerName : patterns.pathStep)!
        if (step === '') emptyAt ??= stepAt
        steps.push(step)
      }
    } while (!isHeader && this.#take('.'))
    if (this.#take(':')) {
      if (emptyAt !== undefined) throw this.#invalid(emptyAt, `expected the name of a ${named}`)
      const scope: Field = isHeader ? { kind: 'header', name: steps[0]! } : { kind: 'value', path: steps }
      return { kind: 'scope', scope, text: this.#query.slice(at, this.#at), at }
    }
    if (isQuoted) throw this.#invalid(this.#at, `expected : after the name of a ${named}`)
    this.#at = at
    return undefined
  }

  /** Text, or bytes in hexadecimal when it begins with 0x and is not in quotes. */
  #wholeKey(): Buffer {
    const at = this.#at
    if (this.#isAtQuote()) return Buffer.from(this.#quoted())
    const key = this.#read(patterns.word)?.[0]
    if (key === undefined) throw this.#invalid(at, 'expected the whole key right after key=')
    if (key.includes('*')) {
      throw this.#invalid(at + key.indexOf('*'), 'key= takes a whole key: expected key: before a prefix*, or quotes')
    }
    if (!key.startsWith('0x')) return Buffer.from(key)
    if (/^0x([\da-f]{2})+$/i.test(key)) return Buffer.from(key.slice(2), 'hex')
    throw this.#invalid(at, 'expected pairs of hexadecimal digits after 0x, or quotes around a key that is text')
  }

  #quoted(): string {
    const quoted = this.#read(patterns.quoted)
    if (!quoted) throw this.#invalid(this.#at, 'the quote is not closed: expected another "')
    return quoted[1]!.replace(/\\(["\\])/g, '$1')
  }

  #isAtQuote(): boolean {
    return this.#query[this.#at] === '"'
  }

  #take(character: string): boolean {
    if (this.#query[this.#at] !== character) return false
    this.#at++
    return true
  }

  #read(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#query)
    if (found) this.#at = pattern.lastIndex
    return found
  }

  #invalid(at: number, what: string): MillraceError {
    return invalid(this.#query, at, what)
  }
}
