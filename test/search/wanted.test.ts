// A search that nobody waits for any more ends where it stands, and not when it is through.
import { expect, test } from 'vitest'
import { logs, pieces, World } from './world.ts'

test.each([['newest'], ['oldest'], ['rank']])('with the order %s it asks no further source', async order => {
  await using world = await World.make()
  for (const log of logs) {
    const [hot, ...archived] = pieces(log).reverse()
    for (const piece of archived.reverse()) await world.ship(log.stream, piece, true)
    await world.capture(log.stream, hot!)
  }
  let asked = 0
  let limit = Number.POSITIVE_INFINITY
  const checkWanted = () => {
    if (++asked >= limit) throw new Error('nobody waits')
  }
  await world.search('apple banana', { order }, { checkWanted })
  const all = asked
  expect(all).toBeGreaterThan(20)
  for (limit = 1; limit < all; limit += 7) {
    asked = 0
    await expect(world.search('apple banana', { order }, { checkWanted })).rejects.toThrow('nobody waits')
    // Sources that are asked at once each notice by themselves.
    expect(asked).toBeLessThan(limit + 8)
  }
})
