// How many records match a query: most are counted in the indexes alone.
import { mapAtOnce } from '../at-once.ts'
import { needsReading, readHits } from './check.ts'
import type { Hit } from './matches.ts'
import { notSearchedIn, planSearch, twice } from './plan.ts'
import { Queries } from './queries.ts'
import type { RecordSource } from './record-source.ts'
import type { Selection } from './selection.ts'
import type { SearchPlaces } from './sources.ts'

const SOURCES_AT_ONCE = 4

/** How many records are in memory at a time where they have to be read. */
const PAGE = 256

export interface CountResult {
  readonly count: number
  /** How many batches with selected offsets could not be searched, because their records cannot be read. */
  readonly notSearched: number
  /** Topics that were asked for and are nowhere. */
  readonly unknownTopics: readonly string[]
}

/** Counts all that match, whatever the selection's order, limit and cursor are. Throws as `search`. */
export async function count(places: SearchPlaces, selection: Selection, query: string): Promise<CountResult> {
  const queries = new Queries(query, places.checkWanted)
  return await twice(async () => {
    const plan = await planSearch(places, selection)
    const counts = await mapAtOnce(plan.sources, SOURCES_AT_ONCE, source => countIn(source, queries))
    const sum = counts.reduce((sum, one) => sum + one, 0)
    return { count: sum, notSearched: notSearchedIn(plan), unknownTopics: plan.unknownTopics }
  })
}

async function countIn(source: RecordSource, queries: Queries): Promise<number> {
  const query = queries.for(source)
  if (!(await source.mayMatch(query))) return 0
  using open = await source.open()
  if (query.exact === null && source.visibility.clouded.length === 0) return open.count([query.candidates])[0]!
  let count = 0
  let toRead: Hit[] = []
  for (const { from, to } of open.spans) {
    for (const { offset, timestamp } of open.match(query.candidates, from, to)) {
      const hit = { source, stream: source.stream, offset, timestamp, rank: 0 }
      if (needsReading(hit, queries)) toRead.push(hit)
      else count++
    }
    if (toRead.length < PAGE) continue
    count += await countRead(toRead, queries)
    toRead = []
  }
  return count + (await countRead(toRead, queries))
}

async function countRead(hits: readonly Hit[], queries: Queries): Promise<number> {
  let count = 0
  for (let at = 0; at < hits.length; at += PAGE) {
    count += (await readHits(hits.slice(at, at + PAGE), queries)).length
  }
  return count
}
