// The grammar of search: a query's tokens as a tree.
import { wordListsOf } from '../segment/words.ts'
import type { Field } from './fields.ts'
import type { Column, Token } from './query-tokens.ts'
import { invalid, placeOf, tokensOf } from './query-tokens.ts'

/** FTS5's parser has a stack of 100 places, of which a level takes up to twelve. */
const MAX_DEPTH = 8

/** For each word FTS5 copies those before it: 5,000 take it 20 ms, 65,000 ten seconds. */
const MAX_WORDS = 5_000

/** A column each in the table that decides about fields. */
const MAX_FIELDS = 100

/** A word, words with signs between them, or a phrase: its words stand side by side, in this order. */
export interface Words {
  readonly kind: 'words'
  /** Where they are looked for; null: in keys, values and headers. */
  readonly scope: Column | Field | null
  readonly text: string
  /** As the index has them. */
  readonly words: readonly string[]
  /** The last word may go on. */
  readonly isPrefix: boolean
}

export interface WholeKey {
  readonly kind: 'key'
  readonly key: Buffer
}

export type Operand = Words | WholeKey

export type QueryTree =
  | Operand
  | { readonly kind: 'all'; readonly wanted: readonly QueryTree[]; readonly unwanted: readonly QueryTree[] }
  | { readonly kind: 'any'; readonly parts: readonly QueryTree[] }

/** Null for a query that every record matches. Throws QUERY_INVALID with the place and what was expected. */
export function parseTree(query: string): QueryTree | null {
  const tokens = tokensOf(query)
  const isEvery = tokens[0]!.kind === 'end' || (tokens[0]!.kind === 'every' && tokens[1]!.kind === 'end')
  return isEvery ? null : new Parser(query, tokens).tree()
}

/** What of a query is inside a `key:( )` and the like. */
type ScopeToken = Extract<Token, { kind: 'scope' }>
type WordsToken = Extract<Token, { kind: 'words' }>

class Parser {
  readonly #query: string
  readonly #tokens: readonly Token[]
  readonly #words: ReadonlyMap<Token, readonly string[]>
  readonly #fields = new Set<string>()
  #position = 0
  #depth = 0
  #count = 0
  #scope: ScopeToken | null = null

  constructor(query: string, tokens: readonly Token[]) {
    this.#query = query
    this.#tokens = tokens
    const texts = tokens.filter(token => token.kind === 'words').slice(0, MAX_WORDS)
    const lists = wordListsOf(texts.map(({ text }) => text))
    this.#words = new Map(texts.map((token, index) => [token, lists[index]!]))
  }

  tree(): QueryTree {
    const tree = this.#alternatives()
    if (this.#next.kind !== 'end') throw this.#unexpected('a word or the end of the query')
    return tree
  }

  #alternatives(): QueryTree {
    const parts = [this.#conjunction()]
    while (this.#take('OR')) parts.push(this.#conjunction())
    return parts.length === 1 ? parts[0]! : { kind: 'any', parts }
  }

  /** What stands side by side or is joined by AND must match; what follows a NOT must not. */
  #conjunction(): QueryTree {
    const start = this.#next
    const wanted: QueryTree[] = []
    const unwanted: QueryTree[] = []
    do {
      const side = this.#take('NOT') ? unwanted : wanted
      side.push(this.#operand())
    } while (this.#take('AND') || ['NOT', 'open', 'scope', 'words', 'key'].includes(this.#next.kind))
    if (wanted.length === 0) {
      throw this.#invalid(start.at, 'NOT alone would find nearly everything: expected a word beside it')
    }
    return wanted.length === 1 && unwanted.length === 0 ? wanted[0]! : { kind: 'all', wanted, unwanted }
  }

  #operand(): QueryTree {
    const token = this.#next
    switch (token.kind) {
      case 'words':
        this.#position++
        return this.#wordsOf(token)
      case 'key':
        if (this.#scope !== null) throw this.#scopeInside('key=', token.at)
        this.#add(1, token.at)
        this.#position++
        return { kind: 'key', key: token.key }
      case 'scope':
        return this.#scoped(token)
      case 'open':
        return this.#parentheses(token)
      default:
        throw this.#unexpected('a word, a "phrase" or (')
    }
  }

  #add(words: number, at: number): void {
    this.#count += words
    if (this.#count > MAX_WORDS) throw this.#invalid(at, `expected at most ${MAX_WORDS} words in all`)
  }

  #wordsOf(token: WordsToken): Words {
    const { at, text, isPrefix } = token
    const words = this.#words.get(token) ?? []
    if (words.length === 0 && this.#words.has(token)) {
      throw this.#invalid(at, `expected a letter or digit in ${JSON.stringify(text)}: only these are indexed`)
    }
    this.#add(Math.max(1, words.length), at)
    return { kind: 'words', scope: this.#scope?.scope ?? null, text, words, isPrefix }
  }

  #scoped(token: ScopeToken): QueryTree {
    if (this.#scope !== null) throw this.#scopeInside(token.text, token.at)
    if (typeof token.scope !== 'string' && this.#fields.add(JSON.stringify(token.scope)).size > MAX_FIELDS) {
      throw this.#invalid(token.at, `expected at most ${MAX_FIELDS} different headers and fields of values`)
    }
    this.#position++
    if (this.#next.kind !== 'words' && this.#next.kind !== 'open') {
      throw this.#invalid(this.#next.at, `expected a word, a phrase or ( after ${token.text}`)
    }
    this.#scope = token
    const operand = this.#operand()
    this.#scope = null
    return operand
  }

  #parentheses({ at }: Token): QueryTree {
    if (++this.#depth > MAX_DEPTH) throw this.#invalid(at, `parentheses are nested more than ${MAX_DEPTH} deep`)
    this.#position++
    const inner = this.#alternatives()
    if (!this.#take('close')) throw this.#unexpected(`a word or the ) for the ( at ${placeOf(this.#query, at)}`)
    this.#depth--
    return inner
  }

  get #next(): Token {
    return this.#tokens[this.#position]!
  }

  #take(kind: Token['kind']): boolean {
    if (this.#next.kind !== kind) return false
    this.#position++
    return true
  }

  #scopeInside(inner: string, at: number) {
    return this.#invalid(at, `expected words alone inside ${this.#scope!.text}( ), got ${inner}`)
  }

  #unexpected(expected: string) {
    return this.#invalid(this.#next.at, `expected ${expected}, got ${shown(this.#next)}`)
  }

  #invalid(at: number, what: string) {
    return invalid(this.#query, at, what)
  }
}

function shown(token: Token): string {
  switch (token.kind) {
    case 'scope':
      return token.text
    case 'every':
      return '*, which stands alone or at the end of a word'
    default:
      return { open: '(', close: ')', end: 'the end', words: 'a word', key: 'key=', AND: 'AND', OR: 'OR', NOT: 'NOT' }[
        token.kind
      ]
  }
}
