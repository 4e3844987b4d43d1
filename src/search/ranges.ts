// Sets of offsets as ranges.
import type { OffsetRange } from '../sealing/settle.ts'

export type { OffsetRange } from '../sealing/settle.ts'

/** The same offsets in as few ranges as it takes, in order: "merged" below. */
export function merged(ranges: readonly OffsetRange[]): OffsetRange[] {
  const found: { from: number; to: number }[] = []
  for (const { from, to } of ranges.toSorted((a, b) => a.from - b.from)) {
    const last = found.at(-1)
    if (last !== undefined && from <= last.to) last.to = Math.max(last.to, to)
    else if (from < to) found.push({ from, to })
  }
  return found
}

/** What merged ranges have that others do not. */
export function without(ranges: readonly OffsetRange[], others: readonly OffsetRange[]): OffsetRange[] {
  const left: OffsetRange[] = []
  let at = 0
  for (const { from, to } of ranges) {
    let start = from
    while (at < others.length && others[at]!.to <= start) at++
    for (let i = at; i < others.length && others[i]!.from < to; i++) {
      if (others[i]!.from > start) left.push({ from: start, to: others[i]!.from })
      start = Math.max(start, others[i]!.to)
    }
    if (start < to) left.push({ from: start, to })
  }
  return left
}

/** Whether merged ranges have an offset. */
export function holds(ranges: readonly OffsetRange[], offset: number): boolean {
  let low = 0
  let high = ranges.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (ranges[middle]!.to <= offset) low = middle + 1
    else high = middle
  }
  return low < ranges.length && ranges[low]!.from <= offset
}
