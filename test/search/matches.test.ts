// Matches come in one order whatever the sources they come from, page by page too, and no source is asked, opened or searched
// before what it may hold comes next.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeCursor, encodeCursor } from '../../src/search/cursor.ts'
import type { Hit } from '../../src/search/matches.ts'
import { MatchesByTime } from '../../src/search/matches.ts'
import type { Order, Place } from '../../src/search/order.ts'
import { Queries } from '../../src/search/queries.ts'
import type { OpenSource, RecordSource, Span } from '../../src/search/record-source.ts'
import type { Match } from '../../src/segment/search-index.ts'
import type { StreamKey } from '../../src/wal/stream.ts'

const queries = new Queries('word')

/** A source of given matches, which notes what is asked of it. */
class ListedSource implements RecordSource {
  readonly stream: StreamKey
  readonly extent: Span
  readonly notSearched = 0
  readonly visibility = { end: Number.MAX_SAFE_INTEGER, isVisible: () => true, clouded: [] }
  readonly hasKeyHashes = true
  readonly #matches: readonly Match[]
  readonly #spans: readonly Span[]
  readonly #mayMatch: boolean
  asked = 0
  opened = 0
  open_ = 0
  searched = 0

  /** `perSpan` matches to a span; the times of spans are as wide as they need be. */
  constructor(stream: StreamKey, matches: readonly Match[], perSpan: number, mayMatch = true) {
    this.stream = stream
    this.#matches = matches
    this.#mayMatch = mayMatch
    const starts = Array.from({ length: Math.ceil(matches.length / perSpan) }, (_, i) => i * perSpan)
    this.#spans = starts.map(at => spanOf(matches.slice(at, at + perSpan)))
    this.extent = spanOf(matches)
  }

  async mayMatch(): Promise<boolean> {
    this.asked++
    return this.#mayMatch
  }

  async open(): Promise<OpenSource> {
    this.opened++
    this.open_++
    return {
      spans: this.#spans,
      match: (_, from, to) => {
        this.searched += this.#spans.filter(span => span.from >= from && span.to <= to).length
        return this.#matches.filter(({ offset }) => offset >= from && offset < to)
      },
      count: () => [],
      [Symbol.dispose]: () => {
        this.open_--
      }
    }
  }

  async *read(): AsyncGenerator<never> {}
}

function spanOf(matches: readonly Match[]): Span {
  const times = matches.map(({ timestamp }) => timestamp)
  const [from, to] = [matches[0]!.offset, matches.at(-1)!.offset + 1]
  return { from, to, minTimestamp: Math.min(...times), maxTimestamp: Math.max(...times) }
}

function streamOf(topic: string, partition: number): StreamKey {
  return { clusterId: 'c', topic, topicId: 'i', partition }
}

async function taken(matches: MatchesByTime, page: number): Promise<Hit[]> {
  const hits: Hit[] = []
  for (;;) {
    const next = await matches.next(page)
    if (next.length === 0) return hits
    hits.push(...next)
  }
}

const placesOf = (hits: readonly Place[]) =>
  hits.map(({ stream: { topic, partition }, timestamp, offset }) => [timestamp, topic, partition, offset])

const streams = ['a', 'b'].flatMap(topic => [0, 2, 10].map(partition => streamOf(topic, partition)))

/** Sources with a few offsets each, at times that overlap or are equal. */
const worlds = fc.array(
  fc.record({
    stream: fc.constantFrom(...streams),
    times: fc.array(fc.integer({ min: -1, max: 40 }), { minLength: 1, maxLength: 60 }),
    perSpan: fc.integer({ min: 1, max: 9 })
  }),
  { maxLength: 12 }
)

function sourcesOf(world: { stream: StreamKey; times: number[]; perSpan: number }[]): ListedSource[] {
  const ends = new Map<StreamKey, number>()
  return world.map(({ stream, times, perSpan }) => {
    const start = ends.get(stream) ?? 0
    ends.set(stream, start + 2 * times.length)
    return new ListedSource(
      stream,
      times.map((timestamp, i) => ({ offset: start + 2 * i, timestamp })),
      perSpan
    )
  })
}

function sorted(world: { stream: StreamKey; times: number[] }[], order: Order): unknown[] {
  const ends = new Map<StreamKey, number>()
  const all = world.flatMap(({ stream, times }) => {
    const start = ends.get(stream) ?? 0
    ends.set(stream, start + 2 * times.length)
    return times.map((time, i) => [time, stream.topic, stream.partition, start + 2 * i] as const)
  })
  all.sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0) || a[2] - b[2] || a[3] - b[3])
  return order === 'oldest' ? all : all.reverse()
}

test.for(['oldest', 'newest'] as const)('all of them in order, %s first, and nothing stays open', async order => {
  await fc.assert(
    fc.asyncProperty(worlds, fc.integer({ min: 1, max: 70 }), async (world, page) => {
      const sources = sourcesOf(world)
      using matches = new MatchesByTime(sources, queries, order, undefined)
      expect(placesOf(await taken(matches, page))).toEqual(sorted(world, order))
      expect(sources.map(({ open_ }) => open_)).toEqual(sources.map(() => 0))
    })
  )
})

test.for(['oldest', 'newest'] as const)('page by page, %s first, each is given once and in order', async order => {
  await fc.assert(
    fc.asyncProperty(worlds, fc.integer({ min: 1, max: 70 }), async (world, page) => {
      const given: Hit[] = []
      for (let cursor: string | null = null; ; ) {
        const after = cursor === null ? undefined : decodeCursor(cursor, order)
        using matches = new MatchesByTime(sourcesOf(world), queries, order, after)
        const hits = await matches.next(page)
        given.push(...hits)
        if (hits.length < page) break
        cursor = encodeCursor({ ...hits.at(-1)!, weights: [] }, order)
      }
      expect(placesOf(given)).toEqual(sorted(world, order))
    })
  )
})

/** Ten sources of 100 spans with 10 matches each, one after the other in time. */
function tenSources(mayMatch: (number: number) => boolean = () => true): ListedSource[] {
  return Array.from({ length: 10 }, (_, number) => {
    const matches = Array.from({ length: 1_000 }, (_, i) => ({
      offset: number * 1_000 + i,
      timestamp: number * 1_000 + i
    }))
    return new ListedSource(streamOf('a', 0), matches, 10, mayMatch(number))
  })
}

test('the first page asks and opens the first source alone, and searches few of its spans', async () => {
  const sources = tenSources()
  using matches = new MatchesByTime(sources, queries, 'newest', undefined)
  const hits = await matches.next(100)
  expect(hits.map(({ offset }) => offset)).toEqual(Array.from({ length: 100 }, (_, i) => 9_999 - i))
  expect(sources.map(({ asked }) => asked)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
  expect(sources.map(({ opened }) => opened)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
  expect(sources[9]!.searched).toBeLessThan(30)
})

test('what may not match is asked, and not opened', async () => {
  const sources = tenSources(number => number === 3)
  using matches = new MatchesByTime(sources, queries, 'newest', undefined)
  expect(await taken(matches, 100)).toHaveLength(1_000)
  expect(sources.map(({ asked }) => asked)).toEqual(sources.map(() => 1))
  expect(sources.map(({ opened }) => opened)).toEqual([0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
})

test('one time that is far off does not hold up the rest', async () => {
  // As a producer with a wrong clock writes it: the first record of the first span is the newest of all.
  const matches = Array.from({ length: 10_000 }, (_, i) => ({ offset: i, timestamp: i === 0 ? 1e9 : i }))
  const source = new ListedSource(streamOf('a', 0), matches, 10)
  using ordered = new MatchesByTime([source], queries, 'newest', undefined)
  expect((await ordered.next(3)).map(({ offset }) => offset)).toEqual([0, 9_999, 9_998])
  expect(source.searched).toBeLessThan(30)
})

test('records of one time are no reason to gather them all', async () => {
  const matches = Array.from({ length: 10_000 }, (_, offset) => ({ offset, timestamp: 7 }))
  const source = new ListedSource(streamOf('a', 0), matches, 10)
  using ordered = new MatchesByTime([source], queries, 'newest', undefined)
  expect((await ordered.next(2)).map(({ offset }) => offset)).toEqual([9_999, 9_998])
  expect(source.searched).toBeLessThan(30)
})

test('what was opened is closed when no more is wanted, or something fails', async () => {
  const sources = tenSources()
  {
    using matches = new MatchesByTime(sources, queries, 'newest', undefined)
    await matches.next(1)
    expect(sources[9]!.open_).toBe(1)
  }
  expect(sources[9]!.open_).toBe(0)
})

test('a cursor is one of a search in the same order', () => {
  const place = { stream: streams[0]!, timestamp: 1, offset: 2, rank: 0, weights: [] }
  expect(decodeCursor(encodeCursor(place, 'newest'), 'newest')).toEqual(place)
  const ranked = { ...place, rank: 1.5, weights: [0.5, Math.log(3)] }
  expect(decodeCursor(encodeCursor(ranked, 'rank'), 'rank')).toEqual(ranked)
  expect(() => decodeCursor(encodeCursor(place, 'newest'), 'oldest')).toThrow(
    '--cursor: is of a search with --order newest'
  )
  for (const text of ['', 'x', Buffer.from('["newest"]').toString('base64url')]) {
    expect(() => decodeCursor(text, 'newest')).toThrow(`--cursor: must be one that a search has given (got ${text})`)
  }
})
