// What a query that finds nothing may have meant: the topics, header names and frequent words that are there, compared with
// what was written by MiniSearch, which forgives typing errors.
import MiniSearch from 'minisearch'
import { wordsOf } from '../segment/words.ts'
import type { StreamKey } from '../wal/stream.ts'
import { allStreams } from './incarnations.ts'
import { newestWords } from './newest-words.ts'
import { selectPartitions } from './partitions.ts'
import type { Selection } from './selection.ts'
import type { SearchPlaces } from './sources.ts'

/** Edits that a word may be away, for each of its letters: one up to five letters, two up to nine. */
const EDITS = 0.25

type Kind = 'topic' | 'header' | 'term'

interface Entry {
  readonly kind: Kind
  readonly text: string
  /** How many records are known to have it. */
  records: number
}

export class Vocabulary {
  readonly #entries: readonly Entry[]
  readonly #index: MiniSearch<Entry & { id: number }>
  /** Every word of the entries. */
  readonly #known: ReadonlySet<string>

  private constructor(entries: readonly Entry[]) {
    this.#entries = entries
    this.#known = new Set(entries.flatMap(({ text }) => wordsOf(text)))
    this.#index = new MiniSearch({ fields: ['text'], tokenize: wordsOf, processTerm: word => word })
    this.#index.addAll(entries.map((entry, id) => ({ ...entry, id })))
  }

  /**
   * Every topic, and the words of what is newest within a selection; `streams` is all that there are, for who has asked for them.
   * Throws what the WAL and the archive throw.
   */
  static async gather(places: SearchPlaces, selection: Selection, streams?: readonly StreamKey[]): Promise<Vocabulary> {
    const entries = new Map<string, Entry>()
    const add = (kind: Kind, text: string, records: number): void => {
      const id = `${kind} ${text}`
      const entry = entries.get(id)
      if (entry === undefined) entries.set(id, { kind, text, records })
      else entry.records += records
    }
    const all = streams ?? (await allStreams(places.wal?.streams() ?? [], places.archive))
    for (const { topic } of all) add('topic', topic, 1)
    const { partitions } = await selectPartitions(places, selection)
    for (const { kind, word, records } of await newestWords(places, partitions, selection)) add(kind, word, records)
    return new Vocabulary([...entries.values()])
  }

  /** Topics with nearly this name, the nearest first. */
  topicsLike(name: string, limit = 3): string[] {
    return this.#like(name, limit, { isTypo: true, kinds: ['topic'] })
  }

  /**
   * What a query may have meant, in up to `limit` ways, the likeliest first: the word that nothing has is replaced by one that is nearly
   * the same, or that it begins; of several such words each by its nearest. Where all words are known, the last is completed.
   */
  queriesLike(query: string, { limit = 5, kinds = ['topic', 'header', 'term'] as readonly Kind[] } = {}): string[] {
    const words = wordsIn(query)
    const unknown = words.filter(({ word }) => !wordsOf(word).every(part => this.#known.has(part)))
    if (unknown.length > 1) {
      const nearest = unknown.flatMap(({ word, at }) =>
        this.#like(word, 1, { isTypo: true, kinds }).map(text => ({ word, at, text }))
      )
      return nearest.length === 0 ? [] : [nearest.reduceRight(replaced, query)]
    }
    const last = unknown[0] ?? words.at(-1)
    if (last === undefined) return []
    const isTypo = unknown.length > 0
    return this.#like(last.word, limit, { isTypo, kinds }).map(text => replaced(query, { ...last, text }))
  }

  #like(word: string, limit: number, { isTypo, kinds }: { isTypo: boolean; kinds: readonly Kind[] }): string[] {
    const found = this.#index.search(word, {
      combineWith: 'AND',
      prefix: true,
      // A number that is one digit away is another number.
      fuzzy: term => (isTypo && !/\p{N}/u.test(term) ? EDITS : false),
      filter: ({ id }) => kinds.includes(this.#entries[id]!.kind),
      boostDocument: id => 1 + Math.log10(this.#entries[id]!.records)
    })
    const same = wordsOf(word).join(' ')
    const texts = new Set(found.map(({ id }) => this.#entries[id]!.text))
    return [...texts].filter(text => wordsOf(text).join(' ') !== same).slice(0, limit)
  }
}

interface WrittenWord {
  readonly word: string
  /** Where it begins in the query. */
  readonly at: number
}

/** The words of a query that are looked for, also where it is not whole yet: no operators, no names of fields. */
function wordsIn(query: string): WrittenWord[] {
  return [...query.matchAll(/([^\s"()*:=]+)([:=]?)/g)]
    .filter(([, word, sign]) => sign === '' && !/^(AND|OR|NOT)$/.test(word!))
    .map(({ 1: word, index }) => ({ word: word!, at: index }))
}

function replaced(query: string, { word, at, text }: WrittenWord & { readonly text: string }): string {
  return query.slice(0, at) + text + query.slice(at + word.length)
}
