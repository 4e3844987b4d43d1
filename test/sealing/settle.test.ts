// Which captures become the record: single cases by hand, then any mixture of captures against the rules themselves.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { OffsetRange, SettleOptions } from '../../src/sealing/settle.ts'
import { cut, inOrder, MAX_SEGMENT_BATCHES, settle } from '../../src/sealing/settle.ts'
import type { Gap } from '../../src/segment/manifest.ts'
import { FrameFlag } from '../../src/wal/frame.ts'
import type { WalEntry } from '../../src/wal/reader.ts'

const { FETCHED, PROVISIONAL } = FrameFlag

/** Offsets, a letter that stands for the batch's bytes, F or P for its flags, and its leader epoch: `3-5a`, `3-5aF`, `3-5a2`. */
function entry(text: string, id: number): WalEntry {
  const [, base, last, letter, flag, epoch] = /^(\d+)-(\d+)([a-z])([FP]?)(\d*)$/.exec(text)!
  const flags = flag === 'F' ? FETCHED : flag === 'P' ? PROVISIONAL : 0
  return {
    file: 1,
    id,
    position: 0,
    baseOffset: Number(base),
    lastOffset: Number(last),
    crc: letter!.charCodeAt(0),
    flags,
    leaderEpoch: Number(epoch),
    bytes: 10,
    appendedMs: 0
  }
}

function text({ baseOffset, lastOffset, crc, flags, leaderEpoch }: WalEntry): string {
  const flag = flags === FETCHED ? 'F' : flags === PROVISIONAL ? 'P' : ''
  return `${baseOffset}-${lastOffset}${String.fromCharCode(crc)}${flag}${leaderEpoch || ''}`
}

const entries = (texts: string): WalEntry[] => texts.split(' ').filter(Boolean).map(entry)
const ranges = (texts: string): OffsetRange[] =>
  texts
    .split(' ')
    .filter(Boolean)
    .map(range => ({ from: Number(range.split('-')[0]), to: Number(range.split('-')[1]) }))
const gapsOf = (texts: string): Gap[] => ranges(texts).map(range => ({ ...range, reason: 'retention' }))

test('of two that were fetched, the one appended later stands, also when the WAL has copied the other behind it', () => {
  const [first, second] = entries('0-9aF 0-9bF')
  const [copied, later] = [
    { ...first!, file: 7, appendedMs: 1 },
    { ...second!, file: 5, appendedMs: 2 }
  ]
  expect(settle([later, copied], { from: 0, to: 10 }).line).toEqual([later])
  expect(inOrder([later, copied])).toEqual([copied, later])
})

describe('of [0, 10)', () => {
  test.each<{ of: string; captured: string; line: string; holes: string; options?: Partial<SettleOptions> }>([
    { of: 'captures side by side', captured: '0-4a 5-9b', line: '0-4a 5-9b', holes: '' },
    { of: 'nothing', captured: '', line: '', holes: '0-10' },
    { of: 'what lies between', captured: '2-4a 6-6b', line: '2-4a 6-6b', holes: '0-2 5-6 7-10' },
    { of: 'a capture that reaches beyond', captured: '0-4a 5-10b', line: '0-4a', holes: '5-10' },
    { of: 'a batch that was captured twice', captured: '0-9a 0-9a', line: '0-9a', holes: '' },
    { of: 'two batches at one offset', captured: '0-4a 5-9b 5-9c', line: '0-4a', holes: '5-10' },
    { of: 'two that end differently', captured: '0-4a 0-9a', line: '', holes: '0-10' },
    { of: 'two that overlap', captured: '0-5a 4-9b', line: '', holes: '0-10' },
    { of: 'one over several', captured: '0-1a 0-8b 2-3c 4-5d 9-9e', line: '9-9e', holes: '0-9' },
    { of: 'a provisional one', captured: '0-4aP 5-9b', line: '5-9b', holes: '0-5' },
    { of: 'a provisional one that was then acknowledged', captured: '0-4a 0-4aP 5-9b', line: '5-9b', holes: '0-5' },
    { of: 'what was fetched for a doubt', captured: '0-4aP 0-4aF 5-9b', line: '0-4aF 5-9b', holes: '' },
    { of: 'what was fetched for a conflict', captured: '0-9a 0-9b 0-9cF', line: '0-9cF', holes: '' },
    { of: 'what was fetched in other pieces', captured: '0-9a 0-4b 0-4bF 5-9cF', line: '0-4bF 5-9cF', holes: '' },
    { of: 'a capture that the broker contradicts', captured: '0-5a 4-9bF', line: '4-9bF', holes: '0-4' },
    { of: 'what was fetched twice', captured: '0-9aF 0-9bF', line: '0-9bF', holes: '' },
    {
      of: 'a topic whose batches the broker rewrites',
      captured: '0-4a 5-9b 5-9cF',
      line: '5-9cF',
      holes: '0-5',
      options: { fetchedOnly: true }
    },
    {
      of: 'known gaps',
      captured: '3-4a 8-9b',
      line: '3-4a 8-9b',
      holes: '0-1 5-6 7-8',
      options: { gaps: gapsOf('1-3 6-7') }
    },
    { of: 'a gap at the end', captured: '0-4a', line: '0-4a', holes: '', options: { gaps: gapsOf('5-10') } },
    {
      of: 'what an election took back',
      captured: '0-4a 5-6b 5-9c1',
      line: '0-4a',
      holes: '5-10',
      options: { isKept: ({ lastOffset, leaderEpoch }) => leaderEpoch === 1 || lastOffset < 5 }
    },
    {
      of: 'what an election took back while nothing of the new leader was captured',
      captured: '0-4a 5-6b 7-9c1',
      line: '0-4a 7-9c1',
      holes: '5-7',
      options: { isKept: ({ lastOffset, leaderEpoch }) => leaderEpoch === 1 || lastOffset < 5 }
    },
    { of: 'what lies before', captured: '0-4a 5-9b', line: '5-9b', holes: '', options: { from: 5 } }
  ])('$of: $captured', ({ captured, line, holes, options }) => {
    const settled = settle(entries(captured), { from: 0, to: 10, ...options })
    expect(settled.line.map(text).join(' ')).toBe(line)
    expect(settled.holes).toEqual(ranges(holes))
  })
})

describe('cut', () => {
  test.each<{ of: string; captured: string; bytes: number; taken: string; next: number; gaps?: string }>([
    { of: 'all that is there', captured: '0-4a 5-9b', bytes: 1_000, taken: '0-4a 5-9b', next: 10 },
    { of: 'as much as it takes to reach the size', captured: '0-1a 2-3b 4-9c', bytes: 11, taken: '0-1a 2-3b', next: 4 },
    { of: 'one at least', captured: '0-1a 2-9b', bytes: 1, taken: '0-1a', next: 2 },
    { of: 'what lies before a hole', captured: '0-1a 4-9b', bytes: 1_000, taken: '0-1a', next: 2 },
    { of: 'nothing before a hole', captured: '1-9a', bytes: 1_000, taken: '', next: 0 },
    { of: 'the gap behind it too', captured: '0-1a 5-9b', bytes: 10, gaps: '2-5', taken: '0-1a', next: 5 },
    { of: 'a gap alone', captured: '5-9b 5-9c', bytes: 10, gaps: '0-5', taken: '', next: 5 }
  ])('takes $of: $captured', ({ captured, bytes, gaps = '', taken, next }) => {
    const options = { from: 0, to: 10, gaps: gapsOf(gaps) }
    const part = cut(settle(entries(captured), options), options, bytes)
    expect({ taken: part.line.map(text).join(' '), next: part.next }).toEqual({ taken, next })
  })
})

test('a segment has no batch that is further from its beginning than an index can tell of', () => {
  const far = 2 ** 31
  const gaps = gapsOf(`0-${far} ${far + 2}-${3 * far}`)
  const parts = (captured: string, from: number) => {
    const options = { from, to: 3 * far + 2, gaps: gaps.filter(gap => gap.from >= from) }
    const { line, next } = cut(settle(entries(captured), options), options, 1_000)
    return { taken: line.map(text).join(' '), next }
  }
  const captured = `${far}-${far + 1}a ${3 * far}-${3 * far + 1}b`
  expect(parts(captured, 0)).toEqual({ taken: '', next: far })
  expect(parts(captured, far)).toEqual({ taken: `${far}-${far + 1}a`, next: 3 * far })
  expect(parts(captured, 3 * far)).toEqual({ taken: `${3 * far}-${3 * far + 1}b`, next: 3 * far + 2 })
})

test('a segment has no more batches than its manifest can tell of', () => {
  const many = Array.from({ length: MAX_SEGMENT_BATCHES + 2 }, (_, offset) => entry(`${offset}-${offset}a`, offset))
  const options = { from: 0, to: many.length }
  const part = cut(settle(many, options), options, 2 ** 30)
  expect([part.line.length, part.next]).toEqual([MAX_SEGMENT_BATCHES, MAX_SEGMENT_BATCHES])
})

const anyEntry = fc
  .record({
    base: fc.nat(30),
    length: fc.integer({ min: 1, max: 5 }),
    crc: fc.constantFrom(97, 98),
    flags: fc.constantFrom(0, 0, 0, FETCHED, PROVISIONAL)
  })
  .map(({ base, length, crc, flags }) => ({ baseOffset: base, lastOffset: base + length - 1, crc, flags }))

/** As the WAL reader gives them: by base offset, then by age. */
const anyEntries = fc.array(anyEntry, { maxLength: 14 }).map(list =>
  list
    .map((one, id): WalEntry => ({ file: 1, id, position: 0, leaderEpoch: 0, bytes: 10, appendedMs: 0, ...one }))
    .sort((a, b) => a.baseOffset - b.baseOffset || a.id - b.id)
    .filter(oneLog())
)

/** Fetched batches are of one log, which has no two batches at an offset. */
function oneLog(): (entry: WalEntry) => boolean {
  let end = -1
  return ({ flags, baseOffset, lastOffset }) => {
    if (flags !== FETCHED) return true
    if (baseOffset <= end) return false
    end = lastOffset
    return true
  }
}

/** Ranges to settle, and where in the first of the holes a gap is then found. */
const anyCase = fc.record({
  all: anyEntries,
  from: fc.nat(8),
  length: fc.integer({ min: 1, max: 30 }),
  fetchedOnly: fc.boolean(),
  gapLength: fc.nat(4),
  bytes: fc.integer({ min: 1, max: 60 })
})

const overlap = (a: WalEntry, b: WalEntry): boolean => a.baseOffset <= b.lastOffset && b.baseOffset <= a.lastOffset
const isFetched = ({ flags }: WalEntry): boolean => flags === FETCHED
const isTwin = (a: WalEntry, b: WalEntry): boolean =>
  a.baseOffset === b.baseOffset && a.lastOffset === b.lastOffset && a.crc === b.crc && a.flags === b.flags

test('whatever was captured: line, holes and gaps cover the range once, and nothing doubtful is in the line', () => {
  fc.assert(
    fc.property(anyCase, ({ all, from, length, fetchedOnly, gapLength, bytes }) => {
      const to = from + length
      const [hole] = settle(all, { from, to, fetchedOnly }).holes
      const gaps: Gap[] =
        hole && gapLength > 0
          ? [{ from: hole.from, to: Math.min(hole.to, hole.from + gapLength), reason: 'compacted' }]
          : []
      const options = { from, to, fetchedOnly, gaps }
      const settled = settle(all, options)
      const { line, holes } = settled

      // Every offset is in exactly one of the three.
      const lineRanges = line.map(({ baseOffset, lastOffset }) => ({ from: baseOffset, to: lastOffset + 1 }))
      const cover = [...lineRanges, ...holes, ...gaps].sort((a, b) => a.from - b.from)
      let position = from
      for (const range of cover) {
        expect(range.from).toBe(position)
        expect(range.to).toBeGreaterThan(range.from)
        position = range.to
      }
      expect(position).toBe(to)

      // What is in the line may be there, and what may be there is in it.
      const fetched = all.filter(isFetched)
      for (const one of line) {
        if (isFetched(one)) continue
        expect(fetchedOnly).toBe(false)
        expect(all.filter(other => overlap(one, other)).every(other => isTwin(one, other) && other.flags === 0)).toBe(
          true
        )
      }
      for (const one of fetched) {
        if (one.baseOffset >= from && one.lastOffset < to) expect(line).toContain(one)
      }
      for (const one of fetchedOnly ? [] : all) {
        const isClear = one.flags === 0 && all.every(other => isTwin(one, other) || !overlap(one, other))
        if (isClear && one.baseOffset >= from && one.lastOffset < to) {
          expect(line.some(other => isTwin(one, other))).toBe(true)
        }
      }

      // A segment takes the beginning, up to its size and no further than the first hole.
      const part = cut(settled, options, bytes)
      expect(part.line).toEqual(line.slice(0, part.line.length))
      expect(part.next).toBeLessThanOrEqual(holes[0]?.from ?? to)
      expect(part.next).toBeGreaterThanOrEqual((part.line.at(-1)?.lastOffset ?? from - 1) + 1)
      expect(line[part.line.length]?.baseOffset ?? to).toBeGreaterThanOrEqual(part.next)
      expect(part.line.slice(0, -1).reduce((sum, one) => sum + one.bytes, 0)).toBeLessThan(bytes)
      const isFull = part.line.reduce((sum, one) => sum + one.bytes, 0) >= bytes
      if (!isFull) expect(part.next).toBe(holes[0]?.from ?? to)
    }),
    { numRuns: 5_000 }
  )
})
