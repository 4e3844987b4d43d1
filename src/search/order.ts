// The orders in which matches are given. Each is a total one, so that every tier gives the same and pages fit together.
import type { Span } from '../segment/spans.ts'
import type { StreamKey } from '../wal/stream.ts'

/** By timestamp; `rank`: what matches best first, then the newest. */
export const orders = ['newest', 'oldest', 'rank'] as const

export type Order = (typeof orders)[number]

/** A record's place in an order. */
export interface Place {
  readonly stream: StreamKey
  readonly timestamp: number
  readonly offset: number
  /** How well it matches; 0 where the order does not ask. */
  readonly rank: number
}

export type Compare = (a: Place, b: Place) => number

export function comparing(order: Order): Compare {
  if (order === 'oldest') return byTime
  return (a, b) => b.rank - a.rank || byTime(b, a)
}

/** The place before which no record of a span can come. */
export function firstPlace(stream: StreamKey, span: Span, order: Order): Place {
  const { from, to, minTimestamp, maxTimestamp } = span
  return order === 'oldest'
    ? { stream, timestamp: minTimestamp, offset: from, rank: 0 }
    : { stream, timestamp: maxTimestamp, offset: to - 1, rank: 0 }
}

function byTime(a: Place, b: Place): number {
  return compare(a.timestamp, b.timestamp) || byStream(a.stream, b.stream) || a.offset - b.offset
}

function byStream(a: StreamKey, b: StreamKey): number {
  if (a === b) return 0
  return (
    compare(a.topic, b.topic) ||
    a.partition - b.partition ||
    compare(a.clusterId, b.clusterId) ||
    compare(a.topicId, b.topicId)
  )
}

function compare<T extends string | number>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0
}
