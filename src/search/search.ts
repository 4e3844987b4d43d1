// Search over everything that was captured: matches are gathered as places, from the WAL, local segments and the archive, put
// in order, and only the records that are asked for are read.
import { isMillraceError } from '../errors.ts'
import { encodeCursor } from './cursor.ts'
import type { Hit } from './hits.ts'
import { Hits } from './hits.ts'
import type { Places } from './partitions.ts'
import { selectPartitions } from './partitions.ts'
import { parseQuery } from './query.ts'
import type { FoundRecord } from './record-json.ts'
import type { Selection } from './selection.ts'
import { recordSources } from './sources.ts'

/** How many records are in memory at a time while they are read. */
const PAGE = 256

export interface SearchResult {
  /** How many records match; `records` gives no more than the selection's limit. */
  readonly total: number
  /** How many records are given. */
  readonly shown: number
  /** The cursor of what comes behind them; null when these are the last. */
  readonly next: string | null
  /** Topics that were asked for and are nowhere. */
  readonly unknownTopics: readonly string[]
  /** How many batches with selected offsets could not be searched, because their records cannot be read. */
  readonly notSearched: number
  /** In the selection's order, read while they are asked for. */
  readonly records: AsyncIterable<FoundRecord>
}

/**
 * Finds the records that match a query. Records of control batches are not users' records and are never found.
 * Throws QUERY_INVALID, and what the WAL and the archive throw.
 */
export async function search(places: Places, selection: Selection, query: string): Promise<SearchResult> {
  const expression = parseQuery(query)
  const { hits, ...said } = await gather(places, selection, expression).catch(error => {
    // A segment was merged or trimmed, or a WAL file archived and deleted, after it was listed: look once more.
    if (isMillraceError(error, 'OBJECT_MISSING')) return gather(places, selection, expression)
    throw error
  })
  const first = hits.first()
  const next = hits.next()
  return {
    total: hits.total,
    shown: first.length,
    next: next && encodeCursor(next, selection.order),
    ...said,
    records: readAll(first)
  }
}

async function gather(
  places: Places,
  selection: Selection,
  expression: string
): Promise<{ hits: Hits } & Pick<SearchResult, 'unknownTopics' | 'notSearched'>> {
  const { partitions, unknownTopics } = await selectPartitions(places, selection)
  const hits = new Hits(selection)
  let notSearched = 0
  for (const partition of partitions) {
    for (const source of recordSources(places, partition, selection)) {
      for await (const { offset, timestamp } of source.match(expression, selection)) {
        hits.add({ source, stream: source.stream, offset, timestamp })
      }
      notSearched += source.notSearched
    }
  }
  return { hits, unknownTopics, notSearched }
}

async function* readAll(hits: readonly Hit[]): AsyncGenerator<FoundRecord> {
  for (let start = 0; start < hits.length; start += PAGE) yield* await readPage(hits.slice(start, start + PAGE))
}

/** Reads each batch once, then gives the records in the order of their hits. */
async function readPage(hits: readonly Hit[]): Promise<FoundRecord[]> {
  const records = new Map<Hit, FoundRecord>()
  for (const [source, ofSource] of Map.groupBy(hits, hit => hit.source)) {
    const byOffset = new Map(ofSource.map(hit => [hit.offset, hit]))
    const offsets = [...byOffset.keys()].sort((a, b) => a - b)
    for await (const record of source.read(offsets)) records.set(byOffset.get(record.offset)!, record)
  }
  return hits.map(hit => records.get(hit)!)
}
