// Search over everything that was captured: the places of matches come in order, from the WAL, local segments and the archive,
// and records are read while they are asked for.
import { isMillraceError, MillraceError } from '../errors.ts'
import { needsReading, readHits } from './check.ts'
import type { Cursor } from './cursor.ts'
import { encodeCursor } from './cursor.ts'
import type { Hit, Matches } from './matches.ts'
import { MatchesByTime } from './matches.ts'
import type { Plan, Within } from './plan.ts'
import { notSearchedIn, planSearch, twice } from './plan.ts'
import { Queries } from './queries.ts'
import { MatchesByRank, weigh } from './ranked.ts'
import type { FoundRecord } from './record-json.ts'
import type { Selection } from './selection.ts'
import type { SearchPlaces } from './sources.ts'

export type { CountResult } from './count.ts'
export { count } from './count.ts'
export type { SearchPlaces } from './sources.ts'

/** How many records are in memory at a time while they are read. */
const PAGE = 256

export interface SearchResult {
  /** Topics that were asked for and are nowhere. */
  readonly unknownTopics: readonly string[]
  /** In the selection's order, no more than its limit, found and read while they are asked for; to be gone through once. */
  readonly records: AsyncIterable<FoundRecord>
  /** The cursor of what comes behind the last record that was given; null when all were. */
  next(): string | null
  /** When `records` is through: how many batches, of those that were looked at, cannot be read, and so were not searched. */
  notSearched(): number
}

/**
 * Finds the records that match a query. Records of control batches are not users' records and are never found.
 * Throws QUERY_INVALID, USAGE for the cursor of another query, and what the WAL and the archive throw; so does `records`.
 */
export async function search(
  places: SearchPlaces,
  selection: Selection,
  query: string,
  within?: Within
): Promise<SearchResult> {
  const queries = new Queries(query, places.checkWanted)
  const weights = selection.after?.weights ?? []
  if (selection.after !== undefined && selection.order === 'rank' && weights.length !== queries.usual.operands.length) {
    throw new MillraceError('USAGE', '--cursor: is of a search for something else')
  }
  const planning = (after: Cursor | undefined): Promise<Plan> => planSearch(places, behind(selection, after), within)
  const plan = await twice(() => planning(selection.after))
  return new Search({ selection, queries, planning }, plan)
}

/** What a search is from beginning to end. */
interface Task {
  readonly selection: Selection
  readonly queries: Queries
  planning(after: Cursor | undefined): Promise<Plan>
}

class Search implements SearchResult {
  readonly unknownTopics: readonly string[]
  readonly records: AsyncIterable<FoundRecord>
  readonly #task: Task
  #plan: Plan
  #given = 0
  /** The last that was given, or the place from which the search goes on. */
  #last: Cursor | undefined
  #areAll = false

  constructor(task: Task, plan: Plan) {
    this.unknownTopics = plan.unknownTopics
    this.#task = task
    this.#plan = plan
    this.#last = task.selection.after
    this.records = this.#records()
  }

  next(): string | null {
    return this.#areAll || this.#last === undefined ? null : encodeCursor(this.#last, this.#task.selection.order)
  }

  notSearched(): number {
    return notSearchedIn(this.#plan)
  }

  /** Where something was moved meanwhile, it plans anew and goes on behind the last record that was given. */
  async *#records(): AsyncGenerator<FoundRecord> {
    for (let failedAt = -1; ; ) {
      try {
        this.#areAll = yield* this.#pages()
        return
      } catch (error) {
        if (!isMillraceError(error, 'OBJECT_MISSING') || failedAt === this.#given) throw error
        failedAt = this.#given
        this.#plan = await this.#task.planning(this.#last)
      }
    }
  }

  /** True in the end where all were given, and not only as many as were wanted. */
  async *#pages(): AsyncGenerator<FoundRecord, boolean> {
    const { selection, queries } = this.#task
    const weights = await this.#weights()
    using matches = this.#matches(weights)
    const isChecked = this.#plan.sources.some(source => queries.for(source).exact !== null)
    for (;;) {
      const wanted = selection.limit - this.#given
      const hits = await matches.next(isChecked ? PAGE : Math.min(PAGE, Math.max(1, wanted)))
      if (hits.length === 0) return true
      if (wanted === 0 && hits.some(hit => !needsReading(hit, queries))) return false
      for (const { hit, record } of await readHits(hits, queries)) {
        if (this.#given === selection.limit) return false
        this.#given++
        this.#last = cursorAt(hit, weights)
        yield record
      }
    }
  }

  async #weights(): Promise<readonly number[]> {
    const { selection, queries } = this.#task
    if (selection.order !== 'rank') return []
    return this.#last?.weights ?? (await weigh(this.#plan.sources, queries))
  }

  #matches(weights: readonly number[]): Matches {
    const { selection, queries } = this.#task
    const { sources } = this.#plan
    if (selection.order !== 'rank') return new MatchesByTime(sources, queries, selection.order, this.#last)
    const keep = Math.max(PAGE, selection.limit - this.#given + 1)
    return new MatchesByRank(sources, queries, { weights, after: this.#last, keep })
  }
}

function cursorAt({ stream, timestamp, offset, rank }: Hit, weights: readonly number[]): Cursor {
  return { stream, timestamp, offset, rank, weights }
}

/** Leaves out what comes before the place by its time alone. */
function behind(selection: Selection, after: Cursor | undefined): Selection {
  const { order, fromTime = Number.NEGATIVE_INFINITY, toTime = Number.POSITIVE_INFINITY } = selection
  if (after === undefined || order === 'rank') return selection
  return order === 'oldest'
    ? { ...selection, fromTime: Math.max(fromTime, after.timestamp) }
    : { ...selection, toTime: Math.min(toTime, after.timestamp + 1) }
}
