// Kafka's sparse indexes of a log: `.index` from offsets to positions, `.timeindex` from timestamps to offsets. They get
// their entries where Kafka's own LogSegment.append would put them.
import { readInt64, writeInt64 } from '../kafka/cursor.ts'

/** Kafka's default index.interval.bytes. */
export const INDEX_INTERVAL_BYTES = 4096
const INDEX_ENTRY = 8
const TIME_ENTRY = 12

export class IndexBuilder {
  readonly #baseOffset: number
  readonly #offsets: Buffer[] = []
  readonly #times: Buffer[] = []
  #bytesSinceEntry = 0
  #maxTimestamp = -1
  #offsetOfMax: number
  #lastTime = -1

  constructor(baseOffset: number) {
    this.#baseOffset = baseOffset
    this.#offsetOfMax = baseOffset
  }

  /** Takes note of a batch that lies at `position` of the log. */
  add(batch: { lastOffset: number; maxTimestamp: number; sizeInBytes: number }, position: number): void {
    // A client may state a time that no number holds: in the index it is the last that one does.
    const maxTimestamp = Math.min(batch.maxTimestamp, Number.MAX_SAFE_INTEGER)
    if (maxTimestamp > this.#maxTimestamp) {
      this.#maxTimestamp = maxTimestamp
      this.#offsetOfMax = batch.lastOffset
    }
    if (this.#bytesSinceEntry > INDEX_INTERVAL_BYTES) {
      const entry = Buffer.allocUnsafe(INDEX_ENTRY)
      entry.writeInt32BE(batch.lastOffset - this.#baseOffset, 0)
      entry.writeInt32BE(position, 4)
      this.#offsets.push(entry)
      this.#addTime()
      this.#bytesSinceEntry = 0
    }
    this.#bytesSinceEntry += batch.sizeInBytes
  }

  /** The contents of both files. Call once, after the last batch. */
  finish(): { index: Buffer; timeindex: Buffer } {
    this.#addTime()
    return { index: Buffer.concat(this.#offsets), timeindex: Buffer.concat(this.#times) }
  }

  #addTime(): void {
    if (this.#maxTimestamp <= this.#lastTime) return
    this.#lastTime = this.#maxTimestamp
    const entry = Buffer.allocUnsafe(TIME_ENTRY)
    writeInt64(entry, this.#maxTimestamp, 0)
    entry.writeInt32BE(this.#offsetOfMax - this.#baseOffset, 8)
    this.#times.push(entry)
  }
}

/** A position of the log from which a batch that holds `offset` can be found by reading on. */
export function positionFor(index: Buffer, baseOffset: number, offset: number): number {
  const entry = floorEntry(index, INDEX_ENTRY, at => baseOffset + index.readInt32BE(at) <= offset)
  return entry < 0 ? 0 : index.readInt32BE(entry + 4)
}

/** A position of the log that whatever holds `offset` does not reach beyond; infinite where only the log's end is known. */
export function endFor(index: Buffer, baseOffset: number, offset: number): number {
  const holding = INDEX_ENTRY + floorEntry(index, INDEX_ENTRY, at => baseOffset + index.readInt32BE(at) < offset)
  const next = holding + INDEX_ENTRY
  return next + INDEX_ENTRY <= index.length ? index.readInt32BE(next + 4) : Number.POSITIVE_INFINITY
}

/** An offset before which every batch's max timestamp is below `timestamp`. */
export function offsetForTime(timeindex: Buffer, baseOffset: number, timestamp: number): number {
  const entry = floorEntry(timeindex, TIME_ENTRY, at => readInt64(timeindex, at) < timestamp)
  return entry < 0 ? baseOffset : baseOffset + timeindex.readInt32BE(entry + 8)
}

/** An offset whose batch has a max timestamp of `timestamp` or later; null where no batch of the log has. */
export function offsetReaching(timeindex: Buffer, baseOffset: number, timestamp: number): number | null {
  const entry = TIME_ENTRY + floorEntry(timeindex, TIME_ENTRY, at => readInt64(timeindex, at) < timestamp)
  return entry + TIME_ENTRY <= timeindex.length ? baseOffset + timeindex.readInt32BE(entry + 8) : null
}

/** Where the last entry begins for which `holds` is true, all entries before it holding too; -1 for none. */
function floorEntry(index: Buffer, size: number, holds: (at: number) => boolean): number {
  let low = 0
  let high = Math.floor(index.length / size)
  while (low < high) {
    const middle = (low + high) >>> 1
    if (holds(middle * size)) low = middle + 1
    else high = middle
  }
  return (low - 1) * size
}
