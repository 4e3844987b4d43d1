// Memory that is used again: enough each time, the same each time, and none that is kept for one large thing.
import { expect, test } from 'vitest'
import { reusedMemory } from '../../src/wal/reused-memory.ts'

test('one thing after the other lies in the same memory, which grows with the largest', () => {
  const take = reusedMemory()
  expect(take(0).length).toBe(0)
  const [first, second, larger, again] = [take(1000), take(10), take(70_000), take(65_536)]
  expect([first, second, larger, again].map(({ length }) => length)).toEqual([1000, 10, 70_000, 65_536])
  expect(second.buffer).toBe(first.buffer)
  expect(again.buffer).toBe(larger.buffer)
  expect(larger.buffer).not.toBe(first.buffer)
})

test('what is very large gets memory of its own', () => {
  const take = reusedMemory()
  const usual = take(1000)
  expect(take(5_000_000).length).toBe(5_000_000)
  expect(take(1000).buffer).toBe(usual.buffer)
})
