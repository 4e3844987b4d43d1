// Records of an index in runs, with the times that each run reaches over: a search by time begins where the times are.
import { Sink } from '../kafka/cursor.ts'

export interface Span {
  readonly from: number
  /** Exclusive. */
  readonly to: number
  readonly minTimestamp: number
  readonly maxTimestamp: number
}

/** A record that an index has. */
export interface Match {
  readonly offset: number
  readonly timestamp: number
}

/** A row of `span`. */
export interface SpanRow {
  readonly first: number
  readonly minTimestamp: number
  readonly maxTimestamp: number
  /** The offsets and timestamps of its records. */
  readonly records: Buffer
}

/** Records in a span; the last one may have fewer. */
const SPAN_RECORDS = 1024

/** Parts records, which come in offset order, into spans. */
export class SpanTally {
  #records: Match[] = []
  #minTimestamp = 0
  #maxTimestamp = 0

  /** Takes a record; gives the span before it where the record begins another. */
  add({ offset, timestamp }: Match): readonly SpanRow[] {
    const isFirst = this.#records.length === 0
    const min = isFirst ? timestamp : Math.min(this.#minTimestamp, timestamp)
    const max = isFirst ? timestamp : Math.max(this.#maxTimestamp, timestamp)
    // Times differ by less than 2^53, so that they can be written as what they are past the least.
    if (this.#records.length === SPAN_RECORDS || !Number.isSafeInteger(max - min)) {
      const complete = this.end()
      this.add({ offset, timestamp })
      return complete
    }
    this.#records.push({ offset, timestamp })
    this.#minTimestamp = min
    this.#maxTimestamp = max
    return []
  }

  /** The span of the records that have come since the last one, if any have. */
  end(): readonly SpanRow[] {
    const records = this.#records
    if (records.length === 0) return []
    this.#records = []
    const [first, minTimestamp] = [records[0]!.offset, this.#minTimestamp]
    return [{ first, minTimestamp, maxTimestamp: this.#maxTimestamp, records: encodeRecords(records, minTimestamp) }]
  }
}

function encodeRecords(records: readonly Match[], minTimestamp: number): Buffer {
  const sink = new Sink()
  let next = records[0]!.offset
  for (const { offset, timestamp } of records) {
    sink.uvarint(offset - next)
    sink.uvarint(timestamp - minTimestamp)
    next = offset + 1
  }
  return sink.finish()
}

/** The records of a span, in offset order. Throws RangeError for what cannot be one. */
export function decodeRecords({ first, minTimestamp, records: encoded }: SpanRow): Match[] {
  const found: Match[] = []
  let at = 0
  const uvarint = (): number => {
    for (let value = 0, unit = 1; at < encoded.length; unit *= 128) {
      const byte = encoded[at++]!
      value += (byte & 0x7f) * unit
      if (value > Number.MAX_SAFE_INTEGER) break
      if (byte < 0x80) return value
    }
    throw new RangeError(`its span from ${first} on has no record at byte ${at}`)
  }
  for (let next = first; at < encoded.length; ) {
    const offset = next + uvarint()
    found.push({ offset, timestamp: minTimestamp + uvarint() })
    next = offset + 1
  }
  return found
}

/** The spans of records, which come in offset order. */
export function spansOf(records: Iterable<Match>): Span[] {
  const tally = new SpanTally()
  const rows: SpanRow[] = []
  let end = 0
  for (const record of records) {
    rows.push(...tally.add(record))
    end = record.offset + 1
  }
  return withEnds([...rows, ...tally.end()], end)
}

/** Spans end where the next one begins, the last at `end`. */
export function withEnds(rows: readonly Omit<SpanRow, 'records'>[], end: number): Span[] {
  return rows.map(({ first, minTimestamp, maxTimestamp }, i) => {
    return { from: first, to: rows[i + 1]?.first ?? end, minTimestamp, maxTimestamp }
  })
}
