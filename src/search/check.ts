// Reads what the indexes found, and decides what they cannot tell: whether a single header or field of a value matches, and
// whether the record belongs to an aborted transaction.
import { mapAtOnce } from '../at-once.ts'
import { exactMatches } from './exact.ts'
import type { Hit } from './matches.ts'
import type { Queries } from './queries.ts'
import { holds } from './ranges.ts'
import type { FoundRecord } from './record-json.ts'

/** How many sources are read at a time: from a store each costs round trips. */
const SOURCES_AT_ONCE = 8

export interface Found {
  readonly hit: Hit
  readonly record: FoundRecord
}

/** Whether only its record tells if a hit matches and is seen. */
export function needsReading({ source, offset }: Hit, queries: Queries): boolean {
  return queries.for(source).exact !== null || holds(source.visibility.clouded, offset)
}

/** Those of some hits that match and are seen, in the same order, with their records. */
export async function readHits(hits: readonly Hit[], queries: Queries): Promise<Found[]> {
  const bySource = [...Map.groupBy(hits, hit => hit.source)]
  const read = await mapAtOnce(bySource, SOURCES_AT_ONCE, ([, ofSource]) => readFrom(ofSource, queries))
  const records = new Map(read.flat().map(({ hit, record }) => [hit, record]))
  return hits.flatMap(hit => {
    const record = records.get(hit)
    return record === undefined ? [] : [{ hit, record }]
  })
}

async function readFrom(hits: readonly Hit[], queries: Queries): Promise<Found[]> {
  const { source } = hits[0]!
  const byOffset = new Map(hits.map(hit => [hit.offset, hit]))
  const offsets = [...byOffset.keys()].sort((a, b) => a - b)
  const found: Found[] = []
  for await (const record of source.read(offsets)) found.push({ hit: byOffset.get(record.offset)!, record })
  const { exact } = queries.for(source)
  if (exact === null || found.length === 0) return found
  const matching = exactMatches(
    exact,
    found.map(({ record }) => record)
  )
  return found.filter((_, i) => matching.has(i))
}
