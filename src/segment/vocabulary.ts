// The words of an FTS5 index, from the index itself: in pages, as there may be millions of them.
import type Database from 'better-sqlite3'
import { KEY_MARK } from './search-text.ts'
import { TermFilterBuilder } from './term-filter.ts'

const PAGE_WORDS = 10_000
/** Words up to here are kept in memory; more than that are read a second time. */
const KEPT_BYTES = 16 * 1024 * 1024
const FREQUENT_WORDS = 1_000
/** Longer ones are no words that anybody types, and a thousand of them would make an index twice as large. */
export const FREQUENT_WORD_LENGTH = 64

/** A word, and how many records have it. */
export type WordCount = readonly [word: string, records: number]

export interface Vocabulary {
  /** The contents of a `search.filter`. */
  readonly filter: Buffer
  /** The words that most records have, of those that are not too long, no number and no key's token. */
  readonly frequent: readonly WordCount[]
}

interface Page {
  readonly count: number
  /** In UTF-8, a space between them: no word becomes an object of its own. */
  readonly words: Buffer
  /** Lines of a number of records and a word. */
  readonly frequent: string | null
}

export function vocabularyOf(db: Database.Database): Vocabulary {
  openVocabulary(db)
  const kept: Buffer[] = []
  let keptBytes = 0
  let size = 0
  let frequent: readonly WordCount[] = []
  const leastFrequent = () => (frequent.length < FREQUENT_WORDS ? 0 : frequent.at(-1)![1])
  for (const { words, count, frequent: lines } of pages(db, leastFrequent)) {
    size += count
    keptBytes += words.length
    if (keptBytes <= KEPT_BYTES) kept.push(words)
    const more = lines?.split('\n').map(wordCount) ?? []
    // Of words in as many records the first remain, as the sort is stable.
    frequent = [...frequent, ...more].sort(([, a], [, b]) => b - a).slice(0, FREQUENT_WORDS)
  }
  // A filter's size depends on how many words there are.
  const filter = new TermFilterBuilder(size)
  for (const words of keptBytes <= KEPT_BYTES ? kept : wordPages(db)) filter.addAll(words)
  return { filter: filter.finish(), frequent }
}

/** All words once, in UTF-8, a space between them. */
export function* wordPages(db: Database.Database): Generator<Buffer> {
  openVocabulary(db)
  for (const { words } of pages(db, () => Number.MAX_SAFE_INTEGER)) yield words
}

/** Makes the words of `text` readable; the file does not change. */
function openVocabulary(db: Database.Database): void {
  db.exec('CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary USING fts5vocab(main, text, row)')
}

function* pages(db: Database.Database, leastFrequent: () => number): Generator<Page> {
  const page = db.prepare<unknown[], Page>(`
    SELECT count(*) AS count, CAST(group_concat(term, ' ') AS BLOB) AS words,
      group_concat(doc || ' ' || term, char(10)) FILTER (
        WHERE doc > ? AND length(term) <= ${FREQUENT_WORD_LENGTH} AND term GLOB '*[^0-9]*' AND substr(term, 1, 1) <> ?
      ) AS frequent
    FROM (SELECT term, doc FROM temp.vocabulary WHERE term > CAST(? AS TEXT) LIMIT ?)`)
  for (let after = Buffer.alloc(0); ; ) {
    const found: Page = page.get(leastFrequent(), KEY_MARK, after, PAGE_WORDS)!
    if (found.count === 0) return
    yield found
    const last = found.words.subarray(found.words.lastIndexOf(' ') + 1)
    // No word of the tokenizer's has a space in it.
    if (last.compare(after) <= 0) throw new RangeError('its words are in no order')
    after = Buffer.from(last)
  }
}

function wordCount(line: string): WordCount {
  const [records, word] = line.split(' ') as [string, string]
  return [word, Number(records)]
}
