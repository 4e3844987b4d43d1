// The places of matching records, those first that match best. All have to be looked at for that; only the first are kept.
import { mapAtOnce } from '../at-once.ts'
import type { Hit, Matches } from './matches.ts'
import type { Place } from './order.ts'
import { comparing } from './order.ts'
import type { Queries } from './queries.ts'
import type { OpenSource, RecordSource, Span } from './record-source.ts'

const OPENED_AT_ONCE = 4

/** Offsets over which matches are counted together. */
const STRETCH = 65_536

const compare = comparing('rank')

/**
 * What each of a query's operands counts: the fewer records have it, the more; ln(1 + N / n) where n of N selected records do.
 * It does not depend on how the records are cut into segments.
 */
export async function weigh(sources: readonly RecordSource[], queries: Queries): Promise<number[]> {
  const { operands } = queries.usual
  // One operand orders nothing: every match has it.
  if (operands.length < 2) return operands.map(() => 0)
  const counts = await mapAtOnce(sources, OPENED_AT_ONCE, async source => {
    using open = await source.open()
    return open.count([null, ...queries.for(source).operands])
  })
  const total = (i: number): number => counts.reduce((sum, ofSource) => sum + ofSource[i]!, 0)
  return operands.map((_, i) => Math.log(1 + total(0) / Math.max(1, total(i + 1))))
}

export class MatchesByRank implements Matches {
  readonly #sources: readonly RecordSource[]
  readonly #queries: Queries
  readonly #weights: readonly number[]
  #after: Place | undefined
  /** How many are kept of each look at all matches. */
  #keep: number
  #kept: Hit[] = []

  constructor(
    sources: readonly RecordSource[],
    queries: Queries,
    { weights, after, keep }: { weights: readonly number[]; after: Place | undefined; keep: number }
  ) {
    this.#sources = sources
    this.#queries = queries
    this.#weights = weights
    this.#after = after
    this.#keep = keep
  }

  async next(count: number): Promise<Hit[]> {
    if (this.#kept.length === 0) {
      this.#kept = await this.#look()
      this.#after = this.#kept.at(-1) ?? this.#after
      this.#keep *= 2
    }
    return this.#kept.splice(0, count)
  }

  [Symbol.dispose](): void {}

  async #look(): Promise<Hit[]> {
    const best = new Best(this.#keep, this.#after)
    await mapAtOnce(this.#sources, OPENED_AT_ONCE, async source => {
      if (!(await source.mayMatch(this.#queries.for(source)))) return
      using open = await source.open()
      for (const { from, to } of stretches(open.spans)) {
        for (const hit of this.#ranked(source, open, from, to)) best.add(hit)
      }
    })
    return best.first()
  }

  *#ranked(source: RecordSource, open: OpenSource, from: number, to: number): Generator<Hit> {
    const { candidates, operands } = this.#queries.for(source)
    const matches = [...open.match(candidates, from, to)]
    if (matches.length === 0) return
    const ranks = new Map(matches.map(({ offset }) => [offset, 0]))
    for (const [i, operand] of operands.entries()) {
      const weight = this.#weights[i]!
      if (weight === 0) continue
      for (const { offset } of open.match(operand, from, to)) {
        const rank = ranks.get(offset)
        if (rank !== undefined) ranks.set(offset, rank + weight)
      }
    }
    for (const { offset, timestamp } of matches) {
      yield { source, stream: source.stream, offset, timestamp, rank: ranks.get(offset)! }
    }
  }
}

/** Of many hits the first so many behind a place. */
class Best {
  readonly #limit: number
  readonly #after: Place | undefined
  #kept: Hit[] = []

  constructor(limit: number, after: Place | undefined) {
    this.#limit = limit
    this.#after = after
  }

  add(hit: Hit): void {
    if (this.#after !== undefined && compare(hit, this.#after) <= 0) return
    this.#kept.push(hit)
    if (this.#kept.length >= 2 * this.#limit + 1_000) this.#kept = this.first()
  }

  first(): Hit[] {
    return this.#kept.sort(compare).slice(0, this.#limit)
  }
}

/** Spans in stretches of bounded size. */
function* stretches(spans: readonly Span[]): Generator<{ from: number; to: number }> {
  let from: number | undefined
  for (const [i, span] of spans.entries()) {
    from ??= span.from
    const next = spans[i + 1]
    if (next !== undefined && next.to - from <= STRETCH) continue
    yield { from, to: span.to }
    from = undefined
  }
}
