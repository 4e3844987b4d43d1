// Decides which captured batches are the record: one batch after the other without a hole. What is missing or in doubt is
// left as a hole, which only the broker can fill.

import type { Gap } from '../segment/manifest.ts'
import { FrameFlag } from '../wal/frame.ts'
import type { WalEntry } from '../wal/reader.ts'

/** Offsets from `from` up to, not including, `to`. */
export interface OffsetRange {
  readonly from: number
  readonly to: number
}

export interface SettleOptions extends OffsetRange {
  /** Ranges that are known to hold nothing. */
  readonly gaps?: readonly Gap[]
  /** The topic's settings make the broker rewrite batches: only fetched ones count. */
  readonly fetchedOnly?: boolean
}

export interface Settled {
  /** In offset order. Between two of them lies a gap, a hole or nothing. */
  readonly line: readonly WalEntry[]
  readonly holes: readonly OffsetRange[]
}

/** Sorts entries (by base offset, as the WAL reader gives them) into the main line and what is missing from it. */
export function settle(
  entries: readonly WalEntry[],
  { from, to, gaps = [], fetchedOnly = false }: SettleOptions
): Settled {
  const line: WalEntry[] = []
  const holes: OffsetRange[] = []
  let position = from

  const reach = (offset: number): void => {
    for (const gap of gaps) {
      if (gap.to <= position || gap.from >= offset) continue
      if (gap.from > position) holes.push({ from: position, to: gap.from })
      position = gap.to
    }
    if (offset > position) holes.push({ from: position, to: offset })
    position = Math.max(position, offset)
  }

  for (const candidates of byBase(entries)) {
    const { baseOffset } = candidates[0]!
    if (baseOffset < position || baseOffset >= to) continue
    const chosen = choose(candidates, fetchedOnly)
    if (chosen === null || chosen.lastOffset >= to) continue
    reach(baseOffset)
    line.push(chosen)
    position = chosen.lastOffset + 1
  }
  reach(to)
  return { line, holes }
}

/** The entry that stands for its offset: the broker's own, else the one capture that nothing contradicts. */
function choose(candidates: readonly WalEntry[], fetchedOnly: boolean): WalEntry | null {
  const fetched = candidates.findLast(({ flags }) => flags & FrameFlag.FETCHED)
  if (fetched) return fetched
  if (fetchedOnly || candidates.some(({ flags }) => flags & FrameFlag.PROVISIONAL)) return null
  const [first] = candidates
  return candidates.every(({ crc, lastOffset }) => crc === first!.crc && lastOffset === first!.lastOffset)
    ? first!
    : null
}

function* byBase(entries: readonly WalEntry[]): Generator<readonly WalEntry[]> {
  for (let start = 0; start < entries.length; ) {
    let end = start + 1
    while (entries[end]?.baseOffset === entries[start]!.baseOffset) end++
    yield entries.slice(start, end)
    start = end
  }
}

/**
 * The longest part of a settled line, from its start, that reaches `bytes` and has no hole in it.
 * `next` is the first offset after it.
 */
export function cut(
  { line, holes }: Settled,
  { from, to, gaps = [] }: SettleOptions,
  bytes: number
): { line: readonly WalEntry[]; next: number } {
  const limit = holes[0]?.from ?? to
  let size = 0
  const taken: WalEntry[] = []
  for (const entry of line) {
    if (entry.baseOffset >= limit || size >= bytes) break
    taken.push(entry)
    size += entry.bytes
  }
  const last = taken.at(-1)
  const end = size >= bytes && last !== undefined ? last.lastOffset + 1 : limit
  // A gap that begins where the line ends goes with it, so that the next segment begins with a batch.
  const following = gaps.find(gap => gap.from <= end && gap.to > end)
  return { line: taken, next: Math.max(from, Math.min(following?.to ?? end, to)) }
}
