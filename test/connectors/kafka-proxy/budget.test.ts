// The budget of bytes in flight, and the shares that brokers have of it.
import net from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Share } from '../../../connectors/kafka-proxy/budget.ts'
import { Budget } from '../../../connectors/kafka-proxy/budget.ts'
import { produceFrame } from './frames.ts'
import { End, startHarness } from './harness.ts'

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

/** Shares of brokers that all have clients, and who went on, by name. */
function brokers(limit: number, count: number) {
  const budget = new Budget(limit)
  const shares = Array.from({ length: count }, (_, id) => budget.of(id))
  for (const share of shares) share.enter()
  const got: string[] = []
  /** Gives what makes it stop waiting. */
  const ask = (id: number, name: string, bytes: number) => {
    const retry = taker(shares[id]!, bytes, () => got.push(name))
    retry()
    return () => shares[id]!.forget(retry)
  }
  return { budget, shares: shares as [Share, Share, Share, Share], got, ask }
}

describe('a large frame', () => {
  test('gets through although small ones of other brokers leave no moment with room for it', () => {
    const { shares, got, ask } = brokers(100, 3)
    const [, two, three] = shares
    const taken = (share: Share) => expect(share.take(10, never)).toBe(true)
    taken(two)
    ask(0, 'large', 95)
    for (let i = 0; i < 100; i++) {
      taken(three)
      two.give(10)
      taken(two)
      three.give(10)
    }
    expect(got).toEqual(['large'])
  })

  test('waits for the frames of its own broker, and those that come behind for it', () => {
    const { budget, shares, got, ask } = brokers(100, 2)
    const [one, two] = shares
    expect(one.take(20, never)).toBe(true)
    expect(two.take(20, never)).toBe(true)
    ask(0, 'large', 95)
    ask(0, 'behind', 5)
    expect(got).toEqual([])
    one.give(20)
    expect(got).toEqual(['large'])
    expect(budget.used).toBe(20 + 95)
    one.give(95)
    expect(got).toEqual(['large', 'behind'])
  })

  test('larger than all of the budget takes nothing from the other brokers', () => {
    const { budget, shares, got, ask } = brokers(100, 2)
    const [one, two] = shares
    expect(two.take(30, never)).toBe(true)
    ask(0, 'larger', 500)
    expect(got).toEqual(['larger'])
    expect(two.take(20, never)).toBe(true)
    expect(budget.used).toBe(550)
    one.give(500)
    expect(budget.used).toBe(50)
  })

  test('has at most one other beside it, and brokers take turns', () => {
    const { shares, got, ask } = brokers(100, 4)
    for (const id of [0, 1, 2, 3]) ask(id, `${id} first`, 80)
    expect(got).toEqual(['0 first', '1 first'])
    ask(0, '0 second', 80)
    ask(1, '1 second', 80)
    shares[0].give(80)
    shares[1].give(80)
    expect(got.slice(2)).toEqual(['2 first', '3 first'])
    shares[3].give(80)
    shares[2].give(80)
    expect(got.slice(4)).toEqual(['0 second', '1 second'])
  })

  test('of a broker that stops then keeps others from nothing', () => {
    const { shares, got, ask } = brokers(100, 3)
    const [, two, three] = shares
    ask(0, 'stopped', 95)
    for (let i = 0; i < 10; i++) {
      ask(1, `${i}`, 95)
      ask(2, `${i}`, 95)
      expect(got.splice(0).filter(name => name !== 'stopped')).toEqual([`${i}`])
      two.give(95)
      expect(got.splice(0)).toEqual([`${i}`])
      expect(two.take(40, never)).toBe(true)
      two.give(40)
      three.give(95)
    }
  })

  test('that has gone does not hold up those behind it', () => {
    const { shares, got, ask } = brokers(100, 2)
    expect(shares[0].take(20, never)).toBe(true)
    const forget = ask(0, 'large', 95)
    ask(0, 'small', 5)
    expect(got).toEqual([])
    forget()
    expect(got).toEqual(['small'])
  })
})

const LIMIT = 100
const BROKERS = 4
const LARGEST = 2 * LIMIT

test('whatever is sent, and one broker answers nothing: all of the others get through, and no more is in flight than there may be', () => {
  const frames = fc.array(
    fc.record({
      broker: fc.nat(BROKERS - 1),
      bytes: fc.oneof(fc.integer({ min: 1, max: 10 }), fc.integer({ min: 1, max: LARGEST })),
      /** How many answers come before the next frame does. */
      answers: fc.nat(2)
    }),
    { minLength: 1, maxLength: 60 }
  )
  fc.assert(
    fc.property(frames, fc.nat(BROKERS - 1), (sent, stopped) => {
      const { budget, shares, got, ask } = brokers(LIMIT, BROKERS)
      const at = (index: string) => sent[Number(index)]!
      let answered = 0
      const answer = () => {
        const next = got.slice(answered).findIndex(name => at(name).broker !== stopped)
        if (next < 0) return false
        const [name] = got.splice(answered + next, 1)
        got.splice(answered++, 0, name!)
        shares[at(name!).broker]!.give(at(name!).bytes)
        return true
      }
      sent.forEach(({ broker, bytes, answers }, index) => {
        ask(broker, String(index), bytes)
        expect(budget.used).toBeLessThanOrEqual(LIMIT + 2 * LARGEST)
        for (let i = 0; i < answers; i++) answer()
      })
      while (answer());
      const waiting = sent.filter(({ broker }, index) => broker !== stopped && !got.includes(String(index)))
      expect(waiting).toEqual([])
      const kept = got.slice(answered).reduce((sum, name) => sum + at(name).bytes, 0)
      expect(budget.used).toBe(kept)
    })
  )
})

test('a request for which a stopped broker leaves no room goes to another one', async () => {
  const harness = await startHarness({ budget: 1024 * 1024 })
  harness.named(1, 2)
  const one = await harness.connect()
  one.client.send(produceFrame({ size: 700 * 1024 }))
  await one.broker.next()
  const two = new End(net.connect({ host: '127.0.0.1', port: harness.port + 1 }))
  const large = produceFrame({ size: 900 * 1024 })
  two.send(large)
  expect((await (await harness.accepted()).next()).equals(large)).toBe(true)
})
