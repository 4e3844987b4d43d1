// What counts as known before a request was sent: only what was heard before.
import { expect, test } from 'vitest'
import { LeaderEpochs } from '../../src/kafka/leader-epochs.ts'

test('the epoch before a time is the highest that had been heard of by then', () => {
  const epochs = new LeaderEpochs()
  const start = performance.now()
  expect(epochs.before('A', 0, start, 1)).toBe(-1)
  epochs.hear('A', 0, 3, 1)
  const third = later()
  expect([epochs.before('A', 0, start, 1), epochs.before('A', 0, third, 1)]).toEqual([-1, 3])
  expect([epochs.before('A', 1, third, 1), epochs.before('B', 0, third, 1)]).toEqual([-1, -1])
  epochs.hear('A', 0, 5, 1)
  epochs.hear('A', 0, 4, 1) // a broker that lags
  expect([epochs.before('A', 0, third, 1), epochs.before('A', 0, later(), 1)]).toEqual([3, 5])
})

test('what was heard of another leader says nothing of a node that may not know yet that it leads no more', () => {
  const epochs = new LeaderEpochs()
  epochs.hear('A', 0, 5, 1)
  const before = later()
  epochs.hear('A', 0, 6, 2)
  const after = later()
  expect([epochs.before('A', 0, before, 1), epochs.before('A', 0, before, 2)]).toEqual([5, -1])
  expect([epochs.before('A', 0, after, 1), epochs.before('A', 0, after, 2)]).toEqual([-1, 6])
  expect(epochs.before('A', 0, after, -1)).toBe(-1)
  epochs.hear('A', 0, 7, -1) // nobody leads it: that is no node that nobody knows
  expect([-1, 1, 2].map(node => epochs.before('A', 0, later(), node))).toEqual([-1, -1, -1])
})

/** A time of the clock that is past all before it. */
function later(): number {
  const now = performance.now()
  while (performance.now() === now);
  return performance.now()
}
