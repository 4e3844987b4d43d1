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
  /** Ranges that are known to hold nothing, in offset order. */
  readonly gaps?: readonly Gap[]
  /** The topic's settings make the broker rewrite batches: only fetched ones count. */
  readonly fetchedOnly?: boolean
  /** False for what an election may have taken back: the broker's log may hold another batch there. */
  readonly isKept?: (entry: WalEntry) => boolean
}

export interface Settled {
  /** In offset order. Between two of them lies a gap, a hole or nothing. */
  readonly line: readonly WalEntry[]
  readonly holes: readonly OffsetRange[]
}

/** Whether all of a batch lies in [from, to). */
export function isInside(
  { baseOffset, lastOffset }: Pick<WalEntry, 'baseOffset' | 'lastOffset'>,
  from: number,
  to: number
): boolean {
  return baseOffset >= from && lastOffset < to
}

export function bytesOf(entries: readonly WalEntry[]): number {
  return entries.reduce((sum, { bytes }) => sum + bytes, 0)
}

/** By base offset, and where that is the same by the time of the append: the WAL may have copied one to a newer file. */
export function inOrder(entries: readonly WalEntry[]): WalEntry[] {
  return entries.toSorted((a, b) => a.baseOffset - b.baseOffset || a.appendedMs - b.appendedMs)
}

/** Sorts entries into the main line and what is missing from it. */
export function settle(
  entries: readonly WalEntry[],
  { from, to, gaps = [], fetchedOnly = false, isKept = () => true }: SettleOptions
): Settled {
  const line: WalEntry[] = []
  const holes: OffsetRange[] = []
  let position = from
  let nextGap = 0

  const reach = (offset: number): void => {
    for (let gap = gaps[nextGap]; gap !== undefined && gap.from < offset; gap = gaps[++nextGap]) {
      if (gap.to <= position) continue
      if (gap.from > position) holes.push({ from: position, to: gap.from })
      position = gap.to
    }
    if (offset > position) holes.push({ from: position, to: offset })
    position = Math.max(position, offset)
  }

  for (const entry of trusted(inOrder(entries), fetchedOnly, isKept)) {
    if (entry.baseOffset < position || entry.lastOffset >= to) continue
    reach(entry.baseOffset)
    line.push(entry)
    position = entry.lastOffset + 1
  }
  reach(to)
  return { line, holes }
}

/** In offset order and without overlap: the broker's own, and where there is none, the captures that nothing contradicts. */
function trusted(
  entries: readonly WalEntry[],
  fetchedOnly: boolean,
  isKept: (entry: WalEntry) => boolean
): readonly WalEntry[] {
  const fetched = withoutOverlap(entries.filter(entry => isFetched(entry) && isKept(entry)))
  if (fetchedOnly) return fetched
  const captured = uncontradicted(
    entries.filter(entry => !isFetched(entry)),
    isKept
  )
  if (fetched.length === 0) return captured
  let next = 0
  const elsewhere = captured.filter(({ baseOffset, lastOffset }) => {
    while (next < fetched.length && fetched[next]!.lastOffset < baseOffset) next++
    return next === fetched.length || fetched[next]!.baseOffset > lastOffset
  })
  return [...fetched, ...elsewhere].sort((a, b) => a.baseOffset - b.baseOffset)
}

export function isFetched({ flags }: WalEntry): boolean {
  return (flags & FrameFlag.FETCHED) !== 0
}

/** Of two at one offset the later one: the broker's log may have been compacted between. */
function withoutOverlap(fetched: readonly WalEntry[]): WalEntry[] {
  const kept: WalEntry[] = []
  for (const entry of fetched) {
    const last = kept.at(-1)
    if (last?.baseOffset === entry.baseOffset) kept[kept.length - 1] = entry
    else if (last === undefined || last.lastOffset < entry.baseOffset) kept.push(entry)
  }
  return kept
}

/**
 * The captures that are not provisional, were not taken back, and share no offset with another batch.
 * After a change of leader offsets are used again, by batches that need not begin where the lost ones did, nor pass here.
 */
function uncontradicted(captured: readonly WalEntry[], isKept: (capture: WalEntry) => boolean): WalEntry[] {
  const doubtful = new Set<WalEntry>()
  const distinct: WalEntry[] = []
  /** Of those so far the one that reaches furthest: if a later one overlaps any of them, it overlaps this one. */
  let furthest: WalEntry | undefined
  for (const entry of captured) {
    if (entry.flags & FrameFlag.PROVISIONAL || !isKept(entry)) doubtful.add(entry)
    if (furthest !== undefined && entry.baseOffset <= furthest.lastOffset) {
      const isTwin = isSame(entry, furthest) && !doubtful.has(entry) && !doubtful.has(furthest)
      if (isTwin) continue
      doubtful.add(entry).add(furthest)
    }
    distinct.push(entry)
    if (furthest === undefined || entry.lastOffset > furthest.lastOffset) furthest = entry
  }
  return distinct.filter(entry => !doubtful.has(entry))
}

function isSame(a: WalEntry, b: WalEntry): boolean {
  return a.baseOffset === b.baseOffset && a.lastOffset === b.lastOffset && a.crc === b.crc
}

/** A hole of so few offsets, such as the markers of transactions, before so many captured bytes is fetched alone. */
const FEW_OFFSETS = 8
const FEW_BYTES = 4096
const FAR_BYTES = 256 * 1024

/** How many bytes to ask for to fill the first hole, where it is not worth it to get what follows too. */
export function bytesForFirst({ line, holes: [first, second] }: Settled): number | undefined {
  if (first === undefined || first.to - first.from > FEW_OFFSETS) return undefined
  const between = line.filter(
    row => row.baseOffset >= first.to && row.baseOffset < (second?.from ?? row.baseOffset + 1)
  )
  return bytesOf(between) > FAR_BYTES ? FEW_BYTES : undefined
}

/** A segment's manifest has a line or more for each odd batch: so many keep it far below what its readers take, 64 MiB. */
export const MAX_SEGMENT_BATCHES = 100_000

/** Kafka's indexes hold 31 bits, of which a new archive may need half for what lies before the range. */
const MAX_SPAN = 2 ** 30

/**
 * The longest part of a settled line, from its start, that reaches `bytes`, MAX_SEGMENT_BATCHES or MAX_SPAN and has no hole in
 * it. `next` is the first offset after it.
 */
export function cut(
  { line, holes }: Settled,
  { from, to, gaps = [] }: SettleOptions,
  bytes: number
): { line: readonly WalEntry[]; next: number } {
  let limit = holes[0]?.from ?? to
  let size = 0
  const taken: WalEntry[] = []
  const isFull = (): boolean => size >= bytes || taken.length >= MAX_SEGMENT_BATCHES
  for (const entry of line) {
    if (entry.baseOffset >= limit || isFull()) break
    if (entry.baseOffset > from && entry.lastOffset - from >= MAX_SPAN) {
      limit = entry.baseOffset
      break
    }
    taken.push(entry)
    size += entry.bytes
  }
  const last = taken.at(-1)
  const end = isFull() && last !== undefined ? last.lastOffset + 1 : limit
  // A gap that begins where the line ends goes with it, so that the next segment begins with a batch.
  const following = gaps.find(gap => gap.from <= end && gap.to > end)
  return { line: taken, next: Math.max(from, Math.min(following?.to ?? end, to)) }
}

/** Gaps in offset order; those that touch and have one reason are one. */
export function joined(gaps: readonly Gap[]): Gap[] {
  const all: Gap[] = []
  for (const gap of gaps.toSorted((a, b) => a.from - b.from)) {
    const last = all.at(-1)
    if (last?.to === gap.from && last.reason === gap.reason) all[all.length - 1] = { ...last, to: gap.to }
    else all.push(gap)
  }
  return all
}
