// However many places are added, the first of them are kept, in one order whatever the order of adding.
import fc from 'fast-check'
import { expect, test } from 'vitest'
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
  Array.from({ length: 1_000 }, (_, offset) => ({ source, offset, timestamp: (offset * 7) % 50, number }))
)

test('the first of many', () => {
  fc.assert(
    fc.property(
      fc.shuffledSubarray(places, { minLength: places.length }),
      fc.integer({ min: 1, max: 40 }),
      (added, limit) => {
        const oldest = new Hits({ limit, order: 'oldest' })
        const newest = new Hits({ limit, order: 'newest' })
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
