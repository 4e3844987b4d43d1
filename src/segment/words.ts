// The words of a text as the search index has them, by FTS5 itself: a tokenizer of our own would one day disagree with it.
import Database from 'better-sqlite3'
import { TOKENIZER } from './search-text.ts'

interface Splitter {
  readonly db: Database.Database
  readonly insert: Database.Statement<[number, string]>
  readonly terms: Database.Statement<[], [number, string]>
}

let splitter: Splitter | undefined

/** The words of a text, folded, in their order, repeated ones too. */
export function wordsOf(text: string): string[] {
  return wordListsOf([text])[0]!
}

/** The words of each text: many at once cost a fraction of one by one. */
export function wordListsOf(texts: readonly string[]): string[][] {
  splitter ??= openSplitter()
  const { db, insert, terms } = splitter
  const lists: string[][] = texts.map(() => [])
  db.exec('BEGIN')
  try {
    for (const [index, text] of texts.entries()) insert.run(index, text)
    for (const [index, word] of terms.all()) lists[index]!.push(word)
  } finally {
    db.exec('ROLLBACK')
  }
  return lists
}

function openSplitter(): Splitter {
  const db = new Database(':memory:')
  db.exec(`
    CREATE VIRTUAL TABLE text USING fts5(part, content = '', tokenize = '${TOKENIZER}');
    CREATE VIRTUAL TABLE word USING fts5vocab(text, instance)`)
  return {
    db,
    insert: db.prepare('INSERT INTO text (rowid, part) VALUES (?, ?)'),
    terms: db.prepare<[], [number, string]>('SELECT doc, term FROM word ORDER BY doc, "offset"').raw()
  }
}
