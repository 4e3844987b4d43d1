// The budget of bytes in flight.
import { expect, test } from 'vitest'
import { Budget } from '../../../connectors/kafka-proxy/budget.ts'

test('is taken up to its limit, and wakes those who wait when something is given back', () => {
  const budget = new Budget(100)
  const woken: string[] = []
  const wake = (name: string) => () => woken.push(name)
  expect(budget.take(60, wake('a'))).toBe(true)
  expect(budget.take(40, wake('b'))).toBe(true)
  const c = wake('c')
  expect([budget.take(1, c), budget.take(1, c), budget.take(50, wake('d'))]).toEqual([false, false, false])
  budget.give(40)
  expect(woken).toEqual(['c', 'd'])
  expect(budget.take(50, wake('d'))).toBe(false)
  expect(budget.take(40, wake('c'))).toBe(true)
  budget.give(60)
  expect(woken).toEqual(['c', 'd', 'd'])
})

test('a frame larger than all of it gets through alone', () => {
  const budget = new Budget(100)
  expect(budget.take(1, () => undefined)).toBe(true)
  expect(budget.take(500, () => undefined)).toBe(false)
  budget.give(1)
  expect(budget.take(500, () => undefined)).toBe(true)
  expect(budget.take(1, () => undefined)).toBe(false)
  budget.give(500)
  expect(budget.take(100, () => undefined)).toBe(true)
})

test('who has gone is not woken', () => {
  const budget = new Budget(100)
  let woken = false
  const wake = () => {
    woken = true
  }
  budget.take(100, () => undefined)
  expect(budget.take(1, wake)).toBe(false)
  budget.forget(wake)
  budget.give(100)
  expect(woken).toBe(false)
})

test('one that takes when it is woken leaves the others waiting', () => {
  const budget = new Budget(100)
  const got: string[] = []
  const taker = (name: string) => {
    const retry = () => {
      if (budget.take(80, retry)) got.push(name)
    }
    return retry
  }
  taker('a')()
  taker('b')()
  taker('c')()
  expect(got).toEqual(['a'])
  budget.give(80)
  expect(got).toEqual(['a', 'b'])
  budget.give(80)
  expect(got).toEqual(['a', 'b', 'c'])
})
