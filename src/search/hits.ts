// The places of matching records, in the order in which they are asked for: all are counted, only the first are kept.
import type { StreamKey } from '../wal/stream.ts'
import type { Place } from './cursor.ts'
import type { RecordSource } from './record-source.ts'
import type { Selection } from './selection.ts'

/** A record that matches, without its content. */
export interface Hit extends Place {
  readonly source: RecordSource
}

export class Hits {
  readonly #limit: number
  readonly #after: Place | undefined
  readonly #compare: (a: Place, b: Place) => number
  #kept: Hit[] = []
  #total = 0
  #left = 0

  constructor({ limit, order, after }: Pick<Selection, 'limit' | 'order' | 'after'>) {
    this.#limit = limit
    this.#after = after
    this.#compare = order === 'oldest' ? byTime : (a, b) => byTime(b, a)
  }

  add(hit: Hit): void {
    this.#total++
    if (this.#after !== undefined && this.#compare(hit, this.#after) <= 0) return
    this.#left++
    this.#kept.push(hit)
    if (this.#kept.length >= 2 * this.#limit + 1_000) this.#kept = this.first()
  }

  /** How many were added. */
  get total(): number {
    return this.#total
  }

  /** The first `limit` of them, in order, behind the place that was asked for. */
  first(): Hit[] {
    return this.#kept.sort(this.#compare).slice(0, this.#limit)
  }

  /** Where to go on behind the first; null when these are the last. */
  next(): Place | null {
    return this.#left > this.#limit ? this.first().at(-1)! : null
  }
}

/** A total order, so that every tier gives the same one. */
function byTime(a: Place, b: Place): number {
  return a.timestamp - b.timestamp || byStream(a.stream, b.stream) || a.offset - b.offset
}

function byStream(a: StreamKey, b: StreamKey): number {
  return (
    compare(a.topic, b.topic) ||
    a.partition - b.partition ||
    compare(a.clusterId, b.clusterId) ||
    compare(a.topicId, b.topicId)
  )
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
