// Which frames of one WAL file hold which offsets, and where they lie, in memory: 32 bytes a frame.

import type { WalEntry } from './rows.ts'

export interface IndexedRow {
  readonly base: number
  readonly id: number
}

interface Rows {
  readonly bases: number[]
  readonly ids: number[]
  /** The most offsets that one batch covers beyond its base. */
  span: number
}

type Facts = Pick<WalEntry, 'id' | 'position' | 'appendedMs' | 'baseOffset' | 'lastOffset'>

/** `S` is what names a stream: the same thing for the same stream. */
export class FileIndex<S> {
  readonly #streams = new Map<S, Rows>()
  readonly #positions: number[] = []
  readonly #appendedMs: number[] = []

  add(stream: S, { id, position, appendedMs, baseOffset, lastOffset }: Facts): void {
    for (let missing = this.#positions.length; missing < id; missing++) {
      this.#positions.push(-1)
      this.#appendedMs.push(-1)
    }
    this.#positions[id - 1] = position
    this.#appendedMs[id - 1] = appendedMs
    let rows = this.#streams.get(stream)
    if (rows === undefined) this.#streams.set(stream, (rows = { bases: [], ids: [], span: 0 }))
    rows.span = Math.max(rows.span, lastOffset - baseOffset)
    const place = after(rows.bases, baseOffset)
    if (place === rows.bases.length) {
      rows.bases.push(baseOffset)
      rows.ids.push(id)
    } else {
      rows.bases.splice(place, 0, baseOffset)
      rows.ids.splice(place, 0, id)
    }
  }

  get streams(): Iterable<S> {
    return this.#streams.keys()
  }

  /** Where a frame lies, and when it was appended. */
  place(id: number): { readonly id: number; readonly position: number; readonly appendedMs: number } {
    return { id, position: this.#positions[id - 1]!, appendedMs: this.#appendedMs[id - 1]! }
  }

  /** The ids of the rows that begin at `base`. */
  at(stream: S, base: number): number[] {
    const rows = this.#streams.get(stream)
    return rows === undefined ? [] : rows.ids.slice(after(rows.bases, base - 1), after(rows.bases, base))
  }

  /** All rows that may hold an offset from `from` on and below `to`, by base; the first of them may end below `from`. */
  *near(stream: S, from: number, to: number): Generator<IndexedRow> {
    const rows = this.#streams.get(stream)
    if (rows === undefined) return
    const end = after(rows.bases, to - 1)
    for (let i = after(rows.bases, from - rows.span - 1); i < end; i++) yield { base: rows.bases[i]!, id: rows.ids[i]! }
  }
}

/** The first index whose value is above `value`, in an ascending list of whole numbers; the end is tried first. */
function after(values: readonly number[], value: number): number {
  let [low, high] = [0, values.length]
  if (high === 0 || values[high - 1]! <= value) return high
  while (low < high) {
    const middle = (low + high) >>> 1
    if (values[middle]! <= value) low = middle + 1
    else high = middle
  }
  return low
}
