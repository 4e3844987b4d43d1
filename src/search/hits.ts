// The places of matching records, in the order in which they are asked for: all are counted, only the first are kept.
import type { StreamKey } from '../wal/stream.ts'
import type { RecordSource } from './record-source.ts'
import type { Selection } from './selection.ts'

/** A record that matches, without its content. */
export interface Hit {
  readonly source: RecordSource
  readonly offset: number
  readonly timestamp: number
}

export class Hits {
  readonly #limit: number
  readonly #compare: (a: Hit, b: Hit) => number
  #kept: Hit[] = []
  #total = 0

  constructor({ limit, order }: Pick<Selection, 'limit' | 'order'>) {
    this.#limit = limit
    this.#compare = order === 'oldest' ? byTime : (a, b) => byTime(b, a)
  }

  add(hit: Hit): void {
    this.#total++
    this.#kept.push(hit)
    if (this.#kept.length >= 2 * this.#limit + 1_000) this.#kept = this.first()
  }

  /** How many were added. */
  get total(): number {
    return this.#total
  }

  /** The first `limit` of them, in order. */
  first(): Hit[] {
    return this.#kept.sort(this.#compare).slice(0, this.#limit)
  }
}

/** A total order, so that every tier gives the same one. */
function byTime(a: Hit, b: Hit): number {
  return a.timestamp - b.timestamp || byStream(a.source.stream, b.source.stream) || a.offset - b.offset
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
