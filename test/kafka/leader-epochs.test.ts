// What counts as known before a request was sent: only what was heard before.
import { expect, test } from 'vitest'
import { LeaderEpochs } from '../../src/kafka/leader-epochs.ts'

test('the epoch before a time is the highest that had been heard of by then', () => {
  const epochs = new LeaderEpochs()
  const start = performance.now()
  expect(epochs.before('A', 0, start)).toBe(-1)
  epochs.hear('A', 0, 3)
  const third = later()
  expect([epochs.before('A', 0, start), epochs.before('A', 0, third)]).toEqual([-1, 3])
  expect([epochs.before('A', 1, third), epochs.before('B', 0, third)]).toEqual([-1, -1])
  epochs.hear('A', 0, 5)
  epochs.hear('A', 0, 4) // a broker that lags
  expect([epochs.before('A', 0, third), epochs.before('A', 0, later())]).toEqual([3, 5])
})

/** A time of the clock that is past all before it. */
function later(): number {
  const now = performance.now()
  while (performance.now() === now);
  return performance.now()
}
