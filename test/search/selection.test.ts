// Flags become checked values; a wrong one is refused with the flag, the rule and what was written.
import { expect, test } from 'vitest'
import type { Selection, SelectionFlags } from '../../src/search/selection.ts'
import { parseSelection } from '../../src/search/selection.ts'

const now = Date.UTC(2026, 10, 24, 12)

test('without flags everything is meant', () => {
  expect(parseSelection({}, now)).toEqual({
    topics: [],
    partition: undefined,
    fromTime: undefined,
    toTime: undefined,
    fromOffset: 0,
    toOffset: Number.MAX_SAFE_INTEGER,
    order: 'newest',
    isolation: 'read_uncommitted',
    limit: 100,
    topicId: undefined,
    allIncarnations: false
  })
})

test.for<[SelectionFlags, Partial<Selection>]>([
  [{ topic: ['a', 'b'] }, { topics: ['a', 'b'] }],
  [{ partition: 0 }, { partition: 0 }],
  [{ offsets: '10..20' }, { fromOffset: 10, toOffset: 20 }],
  [{ offsets: '10..' }, { fromOffset: 10, toOffset: Number.MAX_SAFE_INTEGER }],
  [{ offsets: '..20' }, { fromOffset: 0, toOffset: 20 }],
  [{ from: '-2h' }, { fromTime: now - 7_200_000 }],
  [
    { from: '-1.5m', to: '-500ms' },
    { fromTime: now - 90_000, toTime: now - 500 }
  ],
  [{ from: '2026-11-24T10:15:00Z' }, { fromTime: Date.UTC(2026, 10, 24, 10, 15) }],
  [{ from: '2026-11-24T10:15' }, { fromTime: Date.UTC(2026, 10, 24, 10, 15) }],
  [{ from: '2026-11-24T10:15:00.123+02:00' }, { fromTime: Date.UTC(2026, 10, 24, 8, 15, 0, 123) }],
  [{ order: 'rank' }, { order: 'rank' }],
  [{ isolation: 'read_committed' }, { isolation: 'read_committed' }],
  [{ to: '2026-11-24' }, { toTime: Date.UTC(2026, 10, 24) }]
])('%j', ([flags, expected]) => {
  expect(parseSelection(flags, now)).toMatchObject(expected)
})

test.for<[SelectionFlags, string]>([
  [{ partition: -1 }, '--partition: must be a whole number of 0 or more (got -1)'],
  [{ partition: Number.NaN }, '--partition: must be a whole number of 0 or more (got NaN)'],
  [{ limit: 0 }, '--limit: must be a whole number of 1 or more (got 0)'],
  [{ limit: 1.5 }, '--limit: must be a whole number of 1 or more (got 1.5)'],
  [{ order: 'fast' }, '--order: must be newest, oldest or rank (got fast)'],
  [{ isolation: 'serializable' }, '--isolation: must be read_uncommitted or read_committed (got serializable)'],
  [{ offsets: '5' }, '--offsets: must be a..b'],
  [{ offsets: '..' }, '--offsets: must be a..b'],
  [{ offsets: '5..5' }, '--offsets: must be a..b'],
  [{ offsets: '-1..5' }, '--offsets: must be a..b'],
  [{ from: 'yesterday' }, '--from: must be an ISO time'],
  [{ from: '2h' }, '--from: must be an ISO time'],
  [{ from: '2026-02-30' }, '--from: must be an ISO time'],
  [{ to: '2026-13-01T00:00Z' }, '--to: must be an ISO time'],
  [{ from: '-1h', to: '-2h' }, '--from: must be before --to -2h (got -1h)'],
  [{ topicId: 'x', allIncarnations: true }, '--topic-id: cannot be used with --all-incarnations']
])('%j is refused', ([flags, message]) => {
  expect(() => parseSelection(flags, now)).toThrow(
    expect.objectContaining({ code: 'USAGE', message: expect.stringContaining(message) })
  )
})
