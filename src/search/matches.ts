// The places of matching records in the order of their times. Sources are opened and searched only when what they may hold
// comes next, so that the first page of a common word costs little, and nothing is gathered whole.
import { mapAtOnce } from '../at-once.ts'
import { Heap } from './heap.ts'
import type { Compare, Order, Place } from './order.ts'
import { comparing, firstPlace } from './order.ts'
import type { Queries } from './queries.ts'
import type { OpenSource, RecordSource, Span } from './record-source.ts'

/** A record that matches, without its content. */
export interface Hit extends Place {
  readonly source: RecordSource
}

/** Gives hits in order. */
export interface Matches extends Disposable {
  /** The next ones, no more than `count`; none when there are no more. */
  next(count: number): Promise<Hit[]>
}

/** How many sources are asked, or opened, at a time, after fewer at first: from a store each costs round trips. */
const ASKED_AT_ONCE = 8
const OPENED_AT_ONCE = 4

/** How many spans are searched with one statement, while they have few hits. */
const SPANS_AT_ONCE = 128
const FEW_HITS = 128

/** A source that waits to be asked, or to be opened, until what it may hold comes first. */
interface Closed {
  readonly source: RecordSource
  readonly first: Place
}

export class MatchesByTime implements Matches {
  readonly #queries: Queries
  readonly #order: Order
  readonly #after: Place | undefined
  readonly #compare: Compare
  /** Both in order. Those that may match go from one to the other. */
  readonly #unasked: Closed[]
  readonly #unopened: Closed[] = []
  readonly #heap: Heap<SpanRun | HitRun>
  readonly #open = new Set<OpenSource>()
  #toAsk = 1
  #accepted = 0
  #refused = 0
  #toOpen = 1

  constructor(sources: readonly RecordSource[], queries: Queries, order: Order, after: Place | undefined) {
    this.#queries = queries
    this.#order = order
    this.#after = after
    this.#compare = comparing(order)
    // The best at the end, where it is taken from.
    this.#unasked = sources
      .map(source => ({ source, first: firstPlace(source.stream, source.extent, order) }))
      .sort((a, b) => this.#compare(b.first, a.first))
    this.#heap = new Heap((a, b) => this.#compare(a.first, b.first))
  }

  async next(count: number): Promise<Hit[]> {
    const hits: Hit[] = []
    while (hits.length < count) {
      const waiting = this.#heap.first
      if (this.#comesFirst(this.#unopened[0], waiting)) await this.#openAndAsk()
      else if (this.#comesFirst(this.#unasked.at(-1), waiting)) await this.#askSome()
      else if (waiting === undefined) break
      else if (waiting instanceof HitRun) {
        hits.push(waiting.first)
        this.#keep(waiting.skip())
      } else this.#search(waiting)
    }
    return hits
  }

  #comesFirst(closed: Closed | undefined, waiting: { readonly first: Place } | undefined): boolean {
    return closed !== undefined && (waiting === undefined || this.#compare(closed.first, waiting.first) <= 0)
  }

  /** Opens some. Where most of those that were asked cannot match, more will be needed: they are asked meanwhile. */
  async #openAndAsk(): Promise<void> {
    const isRare = this.#refused > this.#accepted && this.#unasked.length > 0
    const work = isRare ? [() => this.#openSome(), () => this.#askSome()] : [() => this.#openSome()]
    await mapAtOnce(work, work.length, one => one())
  }

  async #askSome(): Promise<void> {
    const asked = this.#unasked.splice(-this.#toAsk).reverse()
    this.#toAsk = Math.min(ASKED_AT_ONCE, this.#toAsk * 4)
    const answers = await mapAtOnce(asked, ASKED_AT_ONCE, ({ source }) => source.mayMatch(this.#queries.for(source)))
    const accepted = asked.filter((_, i) => answers[i])
    this.#unopened.push(...accepted)
    this.#accepted += accepted.length
    this.#refused += asked.length - accepted.length
  }

  async #openSome(): Promise<void> {
    const closed = this.#unopened.splice(0, this.#toOpen)
    this.#toOpen = Math.min(OPENED_AT_ONCE, this.#toOpen * 2)
    await mapAtOnce(closed, OPENED_AT_ONCE, async ({ source }) => {
      const open = await source.open()
      this.#open.add(open)
      const run = new SpanRun(source, open, this.#order)
      if (run.isDone) this.#close(open)
      else this.#heap.push(run)
    })
  }

  #search(run: SpanRun): void {
    const hits = run.search(this.#queries).filter(hit => !this.#isBehind(hit))
    const isDone = run.isDone
    if (isDone) this.#close(run.open)
    this.#keep(!isDone)
    if (hits.length > 0) this.#heap.push(new HitRun(hits.sort(this.#compare)))
  }

  /** Puts the first of the heap in its new place, or takes it out. */
  #keep(hasMore: boolean): void {
    if (hasMore) this.#heap.moved()
    else this.#heap.pop()
  }

  #isBehind(hit: Hit): boolean {
    return this.#after !== undefined && this.#compare(hit, this.#after) <= 0
  }

  #close(open: OpenSource): void {
    this.#open.delete(open)
    open[Symbol.dispose]()
  }

  [Symbol.dispose](): void {
    for (const open of this.#open) this.#close(open)
  }
}

/** What is left of an open source, in the order in which it is searched. */
class SpanRun {
  readonly open: OpenSource
  readonly #source: RecordSource
  readonly #spans: readonly { readonly first: Place; readonly number: number }[]
  #at = 0
  #atOnce = 1

  constructor(source: RecordSource, open: OpenSource, order: Order) {
    const compare = comparing(order)
    this.open = open
    this.#source = source
    this.#spans = open.spans
      .map((span, number) => ({ first: firstPlace(source.stream, span, order), number }))
      .sort((a, b) => compare(a.first, b.first))
  }

  get isDone(): boolean {
    return this.#at >= this.#spans.length
  }

  /** Before this no hit can come. */
  get first(): Place {
    return this.#spans[this.#at]!.first
  }

  /** Searches the next spans: more of them from time to time, until there are hits. */
  search(queries: Queries): Hit[] {
    const { candidates } = queries.for(this.#source)
    const numbers = this.#spans.slice(this.#at, this.#at + this.#atOnce).map(({ number }) => number)
    this.#at += numbers.length
    const hits: Hit[] = []
    for (const { from, to } of stretches(numbers, this.open.spans)) {
      for (const { offset, timestamp } of this.open.match(candidates, from, to)) {
        hits.push({ source: this.#source, stream: this.#source.stream, offset, timestamp, rank: 0 })
      }
    }
    this.#atOnce = hits.length < FEW_HITS ? Math.min(SPANS_AT_ONCE, this.#atOnce * 16) : 1
    return hits
  }
}

/** Hits in order. */
class HitRun {
  readonly #hits: readonly Hit[]
  #at = 0

  constructor(hits: readonly Hit[]) {
    this.#hits = hits
  }

  get first(): Hit {
    return this.#hits[this.#at]!
  }

  /** Goes to the next; false where there is none. */
  skip(): boolean {
    this.#at++
    return this.#at < this.#hits.length
  }
}

/** The offsets of spans by their numbers, those that touch in one. */
function stretches(numbers: readonly number[], spans: readonly Span[]): { from: number; to: number }[] {
  const found: { from: number; to: number; last: number }[] = []
  for (const number of numbers.toSorted((a, b) => a - b)) {
    const { from, to } = spans[number]!
    const before = found.at(-1)
    if (before?.last === number - 1) Object.assign(before, { to, last: number })
    else found.push({ from, to, last: number })
  }
  return found
}
