// However many places are added, the first of them are kept, in one order whatever the order of adding.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeCursor, encodeCursor } from '../../src/search/cursor.ts'
import { Hits } from '../../src/search/hits.ts'
import type { RecordSource } from '../../src/search/record-source.ts'

const sources = ['a', 'b'].flatMap(topic =>
  [0, 2, 10].map(partition => {
    const stream = { clusterId: 'c', topic, topicId: 'i', partition }
    return { stream, notSearched: 0, match: () => none(), read: () => none() } satisfies RecordSource
  })
)

async function* none(): AsyncGenerator<never> {}

const places = sources.flatMap((source, number) =>
  Array.from({ length: 1_000 }, (_, offset) => ({
    source,
    stream: source.stream,
    offset,
    timestamp: (offset * 7) % 50,
    number
  }))
)

test('the first of many', () => {
  fc.assert(
    fc.property(
      fc.shuffledSubarray(places, { minLength: places.length }),
      fc.integer({ min: 1, max: 40 }),
      (added, limit) => {
        const oldest = new Hits({ limit, order: 'oldest', after: undefined })
        const newest = new Hits({ limit, order: 'newest', after: undefined })
        for (const place of added) {
          oldest.add(place)
          newest.add(place)
        }
        // Sources stand in the order of their topics and partitions.
        const sorted = places.toSorted(
          (a, b) => a.timestamp - b.timestamp || a.number - b.number || a.offset - b.offset
        )
        expect(oldest.first()).toEqual(sorted.slice(0, limit))
        expect(newest.first()).toEqual(sorted.toReversed().slice(0, limit))
        expect([oldest.total, newest.total]).toEqual([places.length, places.length])
      }
    ),
    { numRuns: 20 }
  )
})

test.for(['oldest', 'newest'] as const)('page by page, %s first, each is given once and in order', order => {
  const sorted = places.toSorted((a, b) => a.timestamp - b.timestamp || a.number - b.number || a.offset - b.offset)
  const given: unknown[] = []
  for (let cursor: string | null = null; ; ) {
    const after = cursor === null ? undefined : decodeCursor(cursor, order)
    const hits = new Hits({ limit: 700, order, after })
    for (const place of places) hits.add(place)
    given.push(...hits.first())
    expect(hits.total).toBe(places.length)
    const next = hits.next()
    if (next === null) break
    cursor = encodeCursor(next, order)
  }
  expect(given).toEqual(order === 'oldest' ? sorted : sorted.toReversed())
})

test('a cursor is one of a search in the same order', () => {
  const place = { stream: sources[0]!.stream, timestamp: 1, offset: 2 }
  expect(decodeCursor(encodeCursor(place, 'newest'), 'newest')).toEqual(place)
  expect(() => decodeCursor(encodeCursor(place, 'newest'), 'oldest')).toThrow(
    '--cursor: is of a search with --order newest'
  )
  for (const text of ['', 'x', Buffer.from('["newest"]').toString('base64url')]) {
    expect(() => decodeCursor(text, 'newest')).toThrow(`--cursor: must be one that a search has given (got ${text})`)
  }
})
