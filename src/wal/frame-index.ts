// Which rows of one WAL file hold which offsets, in memory.
//
// Why not an SQLite index on (stream, base): 8 batches a commit over 6 streams, with the metadata columns before the blob,
// wrote per byte 1.09 without and 1.15 with it (64 KiB batches), 1.37 and 1.71 (16 KiB), 4.7 and 13.1 (1 KiB: every
// stream dirties a page of its own), and cost 10 to 30 % of the rate for small batches. A table of metadata beside
// the table of blobs wrote 1.13, 1.50 and 6.5. This index takes 16 bytes a row, and a file's is read in 5 ms.

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

export class FrameIndex {
  readonly #streams = new Map<number, Rows>()

  add(stream: number, base: number, last: number, id: number): void {
    let rows = this.#streams.get(stream)
    if (rows === undefined) this.#streams.set(stream, (rows = { bases: [], ids: [], span: 0 }))
    rows.span = Math.max(rows.span, last - base)
    const place = after(rows.bases, base)
    if (place === rows.bases.length) {
      rows.bases.push(base)
      rows.ids.push(id)
    } else {
      rows.bases.splice(place, 0, base)
      rows.ids.splice(place, 0, id)
    }
  }

  /** The ids of the rows that begin at `base`. */
  at(stream: number, base: number): number[] {
    const rows = this.#streams.get(stream)
    return rows === undefined ? [] : rows.ids.slice(after(rows.bases, base - 1), after(rows.bases, base))
  }

  /** All rows that may hold an offset from `from` on and below `to`, by base; the first of them may end below `from`. */
  *near(stream: number, from: number, to: number): Generator<IndexedRow> {
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
