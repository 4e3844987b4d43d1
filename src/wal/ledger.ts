// The main thread's account of what the WAL holds: which rows are still needed, by file and by stream. Kept from the acks
// and from recovery; nothing of it is stored, so after a restart every row counts as needed again.
import { FileRows } from './file-rows.ts'
import type { FileState } from './messages.ts'
import type { Columns, StoredRow } from './row-columns.ts'
import { RowColumns } from './row-columns.ts'
import type { StreamKey } from './stream.ts'

/** What of a stream is in the WAL and not released. */
export interface StreamState {
  readonly key: StreamKey
  /** The lowest offset that is not released. */
  readonly firstOffset: number
  /** The highest that is not. */
  readonly lastOffset: number
  /** Bytes of the batches, without their frames. */
  readonly unreleasedBytes: number
  readonly unreleasedBatches: number
  /** When the oldest of them was appended, in epoch ms. */
  readonly oldestAppend: number
}

/** A frame's place in the WAL. */
export interface RowPlace {
  readonly file: number
  readonly id: number
}

/** A row by its place, and what was appended there. */
export type PlacedRow = RowPlace & Pick<StoredRow, 'baseOffset' | 'lastOffset' | 'bytes'>

interface Totals {
  firstOffset: number
  lastOffset: number
  bytes: number
  batches: number
  oldestAppend: number
  /** A row at one of the extremes was released: they must be looked for again. */
  stale: boolean
}

const nothing: Totals = {
  firstOffset: Number.POSITIVE_INFINITY,
  lastOffset: -1,
  bytes: 0,
  batches: 0,
  oldestAppend: Number.POSITIVE_INFINITY,
  stale: false
}

/** A file is worth its space while at least one in so many of its bytes is needed. */
const SPARSE_PART = 10

export class Ledger {
  /** In order of their numbers. */
  readonly #files = new Map<number, FileRows>()
  readonly #streams: Totals[] = []
  #newest = 0
  /** A sum, since each append asks for it several times. */
  #bytesOnDisk = 0

  /** The file that takes appends. */
  get newest(): number {
    return this.#newest
  }

  get bytesOnDisk(): number {
    return this.#bytesOnDisk
  }

  /** Of the files that are not being deleted. */
  get heldBytes(): number {
    return this.#files.values().reduce((sum, file) => sum + (file.deleting ? 0 : file.bytesOnDisk), 0)
  }

  /** The oldest file, not the newest, that is not being deleted. */
  get oldest(): number | undefined {
    for (const [file, { deleting }] of this.#files) if (!deleting) return file === this.#newest ? undefined : file
    return undefined
  }

  /** By file, oldest first, the numbers of the streams of which it holds something that is not released. */
  *streamsByFile(): Generator<number[]> {
    for (const [file, { live }] of this.#files) if (live > 0) yield [...this.lastOffsets(file).keys()]
  }

  /**
   * The oldest file, not one of the newest two, of which less than a tenth is needed, and the first rows that are needed of it:
   * as many as reach `bytes`.
   */
  sparseFile(bytes: number): { readonly file: number; readonly rows: readonly StoredRow[] } | undefined {
    const held = [...this.#files].filter(([, { deleting }]) => !deleting)
    for (const [file, { live, liveBytes, bytesOnDisk, rows, isReleased, unreadable }] of held.slice(0, -2)) {
      if (live === 0 || liveBytes * SPARSE_PART >= bytesOnDisk) continue
      if (unreadable.values().some(id => !isReleased(id))) continue // it cannot be copied, and is archived from elsewhere
      const { ids } = rows.columns
      const needed: StoredRow[] = []
      for (let i = 0, size = 0; i < rows.length && size < bytes; i++) {
        if (isReleased(ids[i]!)) continue
        needed.push(rows.at(i))
        size += rows.columns.bytes[i]!
      }
      return { file, rows: needed }
    }
    return undefined
  }

  /** The last offset of each stream that a file holds and that is not released, by the stream's number. */
  lastOffsets(file: number): Map<number, number> {
    const last = new Map<number, number>()
    const { rows, isReleased } = this.#files.get(file)!
    const { ids, streams, lastOffsets } = rows.columns
    for (let i = 0; i < rows.length; i++) {
      if (isReleased(ids[i]!)) continue
      last.set(streams[i]!, Math.max(lastOffsets[i]!, last.get(streams[i]!) ?? -1))
    }
    return last
  }

  /** True when nothing in the newest file is needed, but there is something in it. */
  get newestIsSpent(): boolean {
    const file = this.#files.get(this.#newest)
    return file !== undefined && file.live === 0 && file.rows.length > 0
  }

  /** Takes note of a file and its size; the one with the highest number is the newest. */
  sawFile({ file, bytesOnDisk }: FileState): void {
    const rows = this.#files.get(file)
    this.#bytesOnDisk += bytesOnDisk - (rows?.bytesOnDisk ?? 0)
    if (rows === undefined) this.#files.set(file, new FileRows(bytesOnDisk))
    else rows.bytesOnDisk = bytesOnDisk
    this.#newest = Math.max(this.#newest, file)
  }

  /** Adds the next rows of a file, whose ids ascend. */
  add(file: number, rows: readonly StoredRow[]): void {
    const held = this.#files.get(file)!
    for (const row of rows) {
      held.rows.push(row)
      this.#account(held, row)
    }
  }

  /** Takes over all rows of a file that none was added of. */
  adopt(file: number, columns: Columns): void {
    const held = this.#files.get(file)!
    held.rows = new RowColumns(columns)
    for (let i = 0; i < held.rows.length; i++) this.#account(held, held.rows.at(i))
  }

  #account(held: FileRows, row: StoredRow): void {
    if (held.isReleased(row.id)) return // by a reader that was quicker than the ack
    held.live += 1
    held.liveBytes += row.bytes
    this.#count(row)
  }

  #count({ stream, baseOffset, lastOffset, bytes, appendedMs }: StoredRow): void {
    const totals = (this.#streams[stream] ??= { ...nothing })
    totals.firstOffset = Math.min(totals.firstOffset, baseOffset)
    totals.lastOffset = Math.max(totals.lastOffset, lastOffset)
    totals.oldestAppend = Math.min(totals.oldestAppend, appendedMs)
    totals.bytes += bytes
    totals.batches += 1
  }

  /** Marks rows as no longer needed. A file that has been deleted, and a row released twice, are ignored. */
  release(places: readonly RowPlace[]): void {
    for (const { file, id } of places) {
      const held = this.#files.get(file)
      if (held === undefined || held.isReleased(id)) continue
      const place = held.rows.placeOf(id)
      if (place === -1) held.markReleased(id)
      else this.#releaseAt(held, place)
    }
  }

  #releaseAt(held: FileRows, place: number): void {
    const { ids, streams, baseOffsets, lastOffsets, bytes, appendedMs } = held.rows.columns
    if (held.isReleased(ids[place]!)) return
    held.markReleased(ids[place]!)
    held.live -= 1
    held.liveBytes -= bytes[place]!
    const totals = this.#streams[streams[place]!]!
    totals.bytes -= bytes[place]!
    totals.batches -= 1
    totals.stale ||=
      baseOffsets[place] === totals.firstOffset ||
      lastOffsets[place] === totals.lastOffset ||
      appendedMs[place] === totals.oldestAppend
  }

  releaseFile(file: number): void {
    const held = this.#files.get(file)!
    for (let i = 0; i < held.rows.length; i++) this.#releaseAt(held, i)
  }

  releaseStreams(streams: ReadonlySet<number>): void {
    for (const held of this.#files.values()) {
      const { rows } = held
      for (let i = 0; i < rows.length; i++) if (streams.has(rows.columns.streams[i]!)) this.#releaseAt(held, i)
    }
  }

  /** Takes note that rows cannot be read. They stay needed until they are released. */
  giveUp(places: readonly RowPlace[]): void {
    for (const { file, id } of places) this.#files.get(file)?.unreadable.add(id)
  }

  /** Also true for what cannot be read. */
  isReleased({ file, id }: RowPlace): boolean {
    const held = this.#files.get(file)
    return held === undefined ? file < this.#newest : held.isReleased(id) || held.unreadable.has(id)
  }

  /** Whether a row is what was appended at its place, as far as is known yet. */
  isAsAppended({ file, id, baseOffset, lastOffset, bytes }: PlacedRow): boolean {
    const rows = this.#files.get(file)?.rows
    const place = rows?.placeOf(id) ?? -1
    if (rows === undefined || place === -1) return true
    const row = rows.at(place)
    return row.baseOffset === baseOffset && row.lastOffset === lastOffset && row.bytes === bytes
  }

  /** The rows of a stream that begin below an offset and are not released, those too that cannot be read. */
  needed(stream: number, below: number): PlacedRow[] {
    const needed: PlacedRow[] = []
    for (const [file, { live, rows, isReleased }] of this.#files) {
      if (live === 0) continue
      const { ids, streams, baseOffsets } = rows.columns
      for (let i = 0; i < rows.length; i++) {
        if (streams[i] !== stream || baseOffsets[i]! >= below || isReleased(ids[i]!)) continue
        const { id, baseOffset, lastOffset, bytes } = rows.at(i)
        needed.push({ file, id, baseOffset, lastOffset, bytes })
      }
    }
    return needed
  }

  /** The files, not the newest, of which nothing is needed; each is named once. */
  takeSpent(): number[] {
    const spent: number[] = []
    for (const [file, rows] of this.#files) {
      if (file === this.#newest || rows.live > 0 || rows.deleting) continue
      rows.deleting = true
      spent.push(file)
    }
    return spent
  }

  /** A file that `takeSpent` named is still there. */
  keep(file: number): void {
    this.#files.get(file)!.deleting = false
  }

  forget(file: number): void {
    this.#bytesOnDisk -= this.#files.get(file)?.bytesOnDisk ?? 0
    this.#files.delete(file)
  }

  /** The streams of which something is not released. */
  states(keys: readonly StreamKey[]): StreamState[] {
    this.#refresh()
    return this.#streams.flatMap(({ firstOffset, lastOffset, bytes, batches, oldestAppend }, stream) =>
      batches === 0
        ? []
        : [
            {
              key: keys[stream]!,
              firstOffset,
              lastOffset,
              unreleasedBytes: bytes,
              unreleasedBatches: batches,
              oldestAppend
            }
          ]
    )
  }

  /** One pass over all rows that are needed, for the streams whose extremes are not known. */
  #refresh(): void {
    const stale = new Set(this.#streams.filter(totals => totals.stale))
    if (stale.size === 0) return
    for (const totals of stale) {
      const { bytes, batches } = totals
      Object.assign(totals, { ...nothing, bytes, batches })
    }
    for (const { live, rows, isReleased } of this.#files.values()) {
      if (live === 0) continue
      const { ids, streams, baseOffsets, lastOffsets, appendedMs } = rows.columns
      for (let i = 0; i < rows.length; i++) {
        const totals = this.#streams[streams[i]!]!
        if (!stale.has(totals) || isReleased(ids[i]!)) continue
        totals.firstOffset = Math.min(totals.firstOffset, baseOffsets[i]!)
        totals.lastOffset = Math.max(totals.lastOffset, lastOffsets[i]!)
        totals.oldestAppend = Math.min(totals.oldestAppend, appendedMs[i]!)
      }
    }
  }
}
