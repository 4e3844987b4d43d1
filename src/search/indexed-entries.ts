// The batches of a partition in the WAL, as far as the hot index has them; what it has not is left to whoever indexes on the way.
import { firstIndex } from '../first-index.ts'
import type { Match } from '../segment/search-index.ts'
import type { WalEntry, WalReader } from '../wal/reader.ts'
import type { FrameSpan, HotIndex, HotIndexes } from './hot-index.ts'
import { isSelected } from './hot-records.ts'
import type { OpenSource, Span } from './record-source.ts'
import type { Selection } from './selection.ts'

/** Short spans are put together until they may have so many records. */
const SPAN_RECORDS = 1024

export interface IndexedParts {
  readonly wal: WalReader
  readonly hotIndexes: HotIndexes
  /** They ascend and do not overlap. */
  readonly entries: readonly WalEntry[]
  readonly selection: Selection
  /** Indexes runs of entries on the way. Its spans lie within the runs. */
  onTheWay(runs: readonly (readonly WalEntry[])[]): OpenSource
}

/** Entries side by side, all with times that the index knows, or none. */
interface Run {
  readonly entries: WalEntry[]
  readonly isIndexed: boolean
  /** Greater than the other one where there is no record. */
  minTimestamp: number
  maxTimestamp: number
}

export class IndexedEntries implements OpenSource {
  readonly spans: readonly Span[]
  readonly #parts: IndexedParts
  readonly #indexes = new Map<number, HotIndex>()
  /** By file; they ascend. */
  readonly #indexed = new Map<number, WalEntry[]>()
  readonly #rest: OpenSource

  constructor(parts: IndexedParts) {
    const { wal, hotIndexes, entries } = parts
    this.#parts = parts
    for (const file of new Set(entries.map(entry => entry.file))) {
      const salt = wal.salt(file)
      const index = salt === undefined ? null : hotIndexes.take(file, salt)
      if (index !== null) this.#indexes.set(file, index)
    }
    const runs = this.#runs(entries)
    this.#rest = parts.onTheWay(runs.filter(({ isIndexed }) => !isIndexed).map(run => run.entries))
    const { fromTime = Number.NEGATIVE_INFINITY, toTime = Number.POSITIVE_INFINITY } = parts.selection
    const known = runs.filter(({ minTimestamp, maxTimestamp }) => minTimestamp < toTime && maxTimestamp >= fromTime)
    this.spans = [...known.map(spanOf), ...this.#rest.spans].sort((a, b) => a.from - b.from)
  }

  #runs(entries: readonly WalEntry[]): Run[] {
    const runs: Run[] = []
    for (const entry of entries) {
      const index = this.#indexes.get(entry.file)
      const isIndexed = index?.has(entry.id) ?? false
      let run = runs.at(-1)
      if (run === undefined || run.isIndexed !== isIndexed || (isIndexed && isLong(run))) {
        run = { entries: [], isIndexed, minTimestamp: Number.POSITIVE_INFINITY, maxTimestamp: Number.NEGATIVE_INFINITY }
        runs.push(run)
      }
      run.entries.push(entry)
      if (!isIndexed) continue
      const span = spanWith(index!.spans, entry.id)
      if (span !== undefined) {
        run.minTimestamp = Math.min(run.minTimestamp, span.minTimestamp)
        run.maxTimestamp = Math.max(run.maxTimestamp, span.maxTimestamp)
      }
      const ofFile = this.#indexed.get(entry.file)
      if (ofFile === undefined) this.#indexed.set(entry.file, [entry])
      else ofFile.push(entry)
    }
    return runs
  }

  *match(expression: string | null, from: number, to: number): Generator<Match> {
    for (const [file, entries] of this.#indexed) {
      const inside = between(entries, from, to)
      const isInside = (match: Match): boolean => match.offset >= from && match.offset < to
      const matches = this.#tryIndex(file, index => [...this.#matches(index, expression, inside)])
      if (matches !== null) yield* matches.filter(isInside)
      else {
        using source = this.#parts.onTheWay([inside])
        yield* source.match(expression, from, to)
      }
    }
    yield* this.#rest.match(expression, from, to)
  }

  count(expressions: readonly (string | null)[]): number[] {
    const counts = this.#rest.count(expressions)
    for (const [file, entries] of this.#indexed) {
      const ofFile =
        this.#tryIndex(file, index => expressions.map(one => lengthOf(this.#matches(index, one, entries)))) ??
        this.#countOnTheWay(expressions, entries)
      for (const [i, count] of ofFile.entries()) counts[i]! += count
    }
    return counts
  }

  #countOnTheWay(expressions: readonly (string | null)[], entries: readonly WalEntry[]): number[] {
    using source = this.#parts.onTheWay([entries])
    return source.count(expressions)
  }

  /** Null where the index turns out to be damaged: it is not asked again. */
  #tryIndex<T>(file: number, ask: (index: HotIndex) => T): T | null {
    const index = this.#indexes.get(file)
    if (index === undefined) return null
    try {
      return ask(index)
    } catch {
      this.#giveBack(file)
      return null
    }
  }

  *#matches(index: HotIndex, expression: string | null, entries: readonly WalEntry[]): Generator<Match> {
    const byFrame = new Map(entries.map(entry => [entry.id, entry]))
    const frames = [...byFrame.keys()].sort((a, b) => a - b)
    for (const { frame, place, timestamp } of index.match(expression, frames)) {
      const match = { offset: byFrame.get(frame)!.baseOffset + place, timestamp }
      if (isSelected(match, this.#parts.selection)) yield match
    }
  }

  #giveBack(file: number): void {
    this.#indexes.delete(file)
    this.#parts.hotIndexes.giveBack(file)
  }

  [Symbol.dispose](): void {
    for (const file of this.#indexes.keys()) this.#giveBack(file)
    this.#rest[Symbol.dispose]()
  }
}

function isLong({ entries }: Run): boolean {
  return entries.at(-1)!.lastOffset - entries[0]!.baseOffset >= SPAN_RECORDS
}

function spanOf({ entries, minTimestamp, maxTimestamp }: Run): Span {
  return { from: entries[0]!.baseOffset, to: entries.at(-1)!.lastOffset + 1, minTimestamp, maxTimestamp }
}

/** Of entries that ascend and do not overlap, those that hold an offset of [from, to). */
function between(entries: readonly WalEntry[], from: number, to: number): WalEntry[] {
  const first = firstIndex(entries, ({ lastOffset }) => lastOffset >= from)
  return entries.slice(
    first,
    firstIndex(entries, ({ baseOffset }) => baseOffset >= to)
  )
}

/** The last that begins with the frame or before it; undefined for a frame without records before the first. */
function spanWith(spans: readonly FrameSpan[], frame: number): FrameSpan | undefined {
  return spans[firstIndex(spans, span => span.frame > frame) - 1]
}

function lengthOf(matches: Iterable<unknown>): number {
  let count = 0
  for (const _ of matches) count++
  return count
}
