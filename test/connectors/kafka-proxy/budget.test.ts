// The budget of bytes in flight, and the shares that brokers have of it.
import { expect, test } from 'vitest'
import type { Share } from '../../../connectors/kafka-proxy/budget.ts'
import { Budget } from '../../../connectors/kafka-proxy/budget.ts'

const never = () => expect.unreachable()

/** Asks for bytes as a session does: again when it is told that they are to be had. */
function taker(share: Share, bytes: number, got: () => void): () => void {
  const retry = () => {
    if (share.take(bytes, retry)) got()
  }
  return retry
}

test('is taken up to its limit; who waits goes on in the order in which they came, as soon as there is enough', () => {
  const share = new Budget(100).of(1)
  const got: string[] = []
  const ask = (name: string, bytes: number) => taker(share, bytes, () => got.push(name))()
  ask('a', 60)
  ask('b', 40)
  ask('c', 50)
  ask('d', 10)
  expect(got).toEqual(['a', 'b'])
  share.give(40)
  // There would be room for d, but c was first.
  expect(got).toEqual(['a', 'b'])
  share.give(60)
  expect(got).toEqual(['a', 'b', 'c', 'd'])
})

test('a frame larger than all of it gets through alone', () => {
  const budget = new Budget(100)
  const share = budget.of(1)
  let got = false
  expect(share.take(1, never)).toBe(true)
  taker(share, 500, () => {
    got = true
  })()
  expect(got).toBe(false)
  share.give(1)
  expect(got).toBe(true)
  expect(budget.used).toBe(500)
  expect(share.take(1, () => undefined)).toBe(false)
})

test('who has gone is not waited for', () => {
  const share = new Budget(100).of(1)
  share.take(100, never)
  expect(share.take(1, never)).toBe(false)
  share.forget(never)
  share.give(100)
})

test('a broker that is alone has all; where others have clients, what it has is no more than what is left', () => {
  const budget = new Budget(120)
  const [one, two, three] = [budget.of(1), budget.of(2), budget.of(3)]
  one.enter()
  expect(one.take(100, never)).toBe(true)
  one.give(100)

  two.enter()
  expect(one.take(60, never)).toBe(true)
  const more: string[] = []
  taker(one, 10, () => more.push('one'))()
  // Two brokers that have stopped have two thirds.
  expect(two.take(30, never)).toBe(true)
  taker(two, 10, () => more.push('two'))()
  three.enter()
  for (let i = 0; i < 10; i++) {
    expect(three.take(15, never)).toBe(true)
    three.give(15)
  }
  expect(more).toEqual([])
  expect(budget.used).toBe(90)

  one.give(60)
  expect(more).toEqual(['one', 'two'])
})

test('a broker may have all again when the clients of the others are gone', () => {
  const budget = new Budget(100)
  const [one, two] = [budget.of(1), budget.of(2)]
  one.enter()
  two.enter()
  let got = false
  expect(one.take(50, never)).toBe(true)
  taker(one, 40, () => {
    got = true
  })()
  expect(got).toBe(false)
  two.leave()
  expect(got).toBe(true)
})
