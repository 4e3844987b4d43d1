// The rows of one WAL file as columns: 36 bytes a row, outside V8's heap, where an object takes 120, and handed to another
// thread whole, where objects are cloned one by one.

/** A row as the ledger keeps it. */
export interface StoredRow {
  readonly id: number
  readonly stream: number
  readonly baseOffset: number
  readonly lastOffset: number
  /** Bytes of the batch. */
  readonly bytes: number
  readonly appendedMs: number
}

/** Columns of one length, as they go from thread to thread. */
export interface Columns {
  /** Ascending, with holes. */
  readonly ids: Uint32Array<ArrayBuffer>
  readonly streams: Uint32Array<ArrayBuffer>
  readonly baseOffsets: Float64Array<ArrayBuffer>
  readonly lastOffsets: Float64Array<ArrayBuffer>
  readonly bytes: Uint32Array<ArrayBuffer>
  readonly appendedMs: Float64Array<ArrayBuffer>
}

const FIRST_ROWS = 64

export class RowColumns {
  #length: number
  #columns: Columns

  /** Rows in columns that are full, or none. The columns are this object's from then on. */
  constructor(columns?: Columns) {
    this.#length = columns?.ids.length ?? 0
    this.#columns = columns ?? emptyColumns(FIRST_ROWS)
  }

  get length(): number {
    return this.#length
  }

  /** As they are now: the next row may move them, and what is behind `length` is not set. */
  get columns(): Columns {
    return this.#columns
  }

  /** Adds a row; its id is above those before it. */
  push({ id, stream, baseOffset, lastOffset, bytes, appendedMs }: StoredRow): void {
    const at = this.#length
    if (at === this.#columns.ids.length) this.#columns = copyOf(this.#columns, at, Math.max(2 * at, FIRST_ROWS))
    this.#columns.ids[at] = id
    this.#columns.streams[at] = stream
    this.#columns.baseOffsets[at] = baseOffset
    this.#columns.lastOffsets[at] = lastOffset
    this.#columns.bytes[at] = bytes
    this.#columns.appendedMs[at] = appendedMs
    this.#length += 1
  }

  /** The row at a place below `length`. */
  at(place: number): StoredRow {
    const { ids, streams, baseOffsets, lastOffsets, bytes, appendedMs } = this.#columns
    return {
      id: ids[place]!,
      stream: streams[place]!,
      baseOffset: baseOffsets[place]!,
      lastOffset: lastOffsets[place]!,
      bytes: bytes[place]!,
      appendedMs: appendedMs[place]!
    }
  }

  /** The place of a row, -1 when there is none of that id. Ids count from 1, but for frames that could not be read. */
  placeOf(id: number): number {
    const { ids } = this.#columns
    let [low, high] = [0, Math.min(id, this.#length)]
    if (high === id && ids[id - 1] === id) return id - 1 // there is no hole before it, as is usual
    while (low < high) {
      const middle = (low + high) >>> 1
      if (ids[middle]! < id) low = middle + 1
      else high = middle
    }
    return low < this.#length && ids[low] === id ? low : -1
  }

  /** A copy in columns that are full, to be handed to another thread. */
  full(): Columns {
    return copyOf(this.#columns, this.#length, this.#length)
  }
}

/** What hands the columns over instead of cloning them. */
export function buffersOf(columns: Columns): ArrayBuffer[] {
  return Object.values(columns as Record<keyof Columns, Columns[keyof Columns]>).map(({ buffer }) => buffer)
}

function emptyColumns(capacity: number): Columns {
  return {
    ids: new Uint32Array(capacity),
    streams: new Uint32Array(capacity),
    baseOffsets: new Float64Array(capacity),
    lastOffsets: new Float64Array(capacity),
    bytes: new Uint32Array(capacity),
    appendedMs: new Float64Array(capacity)
  }
}

function copyOf(from: Columns, length: number, capacity: number): Columns {
  const to = emptyColumns(capacity)
  for (const name of Object.keys(to) as (keyof Columns)[]) to[name].set(from[name].subarray(0, length))
  return to
}
