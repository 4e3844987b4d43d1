// What docs/search.md says of queries and words is so.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parseQuery } from '../../src/search/query.ts'
import { IndexedRecords, recordOf } from './query-world.ts'

const docs = readFileSync(new URL('../../docs/search.md', import.meta.url), 'utf8')

/** The rows of the table under a heading, each as what stands in backticks in its cells. */
function tableOf(heading: string): string[][][] {
  const section = docs.slice(docs.indexOf(heading)).slice(heading.length).split(/^#/m)[0]!
  const rows = section.split('\n').filter(line => line.startsWith('| `') || line.startsWith('| *'))
  return rows.map(row => row.split(' | ').map(cell => [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code!)))
}

test('each query is one', () => {
  const queries = tableOf('## Queries').flatMap(([queries]) => queries!)
  expect(queries.length).toBeGreaterThan(15)
  for (const query of queries) expect(() => parseQuery(query), query).not.toThrow()
})

test('the error is the one that is shown', () => {
  const shown = /^query, character 8: .*$/m.exec(docs)![0]
  expect(() => parseQuery('late OR')).toThrow(shown)
})

test('words are found, and not found, as is said', () => {
  const rows = tableOf('### Words').filter(cells => cells.length === 3)
  expect(rows.length).toBe(4)
  for (const [[text], foundBy, notBy] of rows as Row[]) expectFound(text, [text, ...foundBy], notBy)
})

test('what is escaped in JSON, too', () => {
  const rows = tableOf('### Escapes in JSON')
  expect(rows.length).toBe(3)
  for (const [[text], foundBy, notBy] of rows as Row[]) expectFound(text, foundBy, notBy)
})

type Row = [[text: string], foundBy: string[], notBy: string[]]

function expectFound(text: string, foundBy: string[], notBy: string[]): void {
  using records = new IndexedRecords([recordOf(null, text)])
  for (const query of foundBy) expect(records.matches(parseQuery(query)), query).toEqual([0])
  for (const query of notBy) expect(records.matches(parseQuery(query)), query).toEqual([])
}
