// Records of an index in runs, with the times that each run reaches over: a search by time begins where the times are.

export interface Span {
  readonly from: number
  /** Exclusive. */
  readonly to: number
  readonly minTimestamp: number
  readonly maxTimestamp: number
}

/** Records in a span; the last one may have fewer. */
const SPAN_RECORDS = 1024

/** Parts records, which come in offset order, into spans. */
export class SpanTally {
  readonly #spans: { from: number; minTimestamp: number; maxTimestamp: number }[] = []
  #records = 0
  #end = 0

  add({ offset, timestamp }: { readonly offset: number; readonly timestamp: number }): void {
    this.#end = offset + 1
    if (this.#records++ % SPAN_RECORDS === 0) {
      this.#spans.push({ from: offset, minTimestamp: timestamp, maxTimestamp: timestamp })
      return
    }
    const span = this.#spans.at(-1)!
    span.minTimestamp = Math.min(span.minTimestamp, timestamp)
    span.maxTimestamp = Math.max(span.maxTimestamp, timestamp)
  }

  spans(): Span[] {
    return withEnds(this.#spans, this.#end)
  }
}

/** Spans end where the next one begins, the last at `end`. */
export function withEnds(spans: readonly Omit<Span, 'to'>[], end: number): Span[] {
  return spans.map((span, i) => ({ ...span, to: spans[i + 1]?.from ?? end }))
}
