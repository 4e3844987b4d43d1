// Whoever follows is given the newest matches, then each new one once: captured, archived, or late between others.
import { expect, test } from 'vitest'
import { IndexCache } from '../../src/archive/index-cache.ts'
import { RememberedArchive } from '../../src/archive/remembered.ts'
import { MillraceError } from '../../src/errors.ts'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { encodeBatch } from '../../src/kafka/batch.ts'
import type { FollowState } from '../../src/search/follow.ts'
import { look } from '../../src/search/follow.ts'
import type { SearchPlaces } from '../../src/search/search.ts'
import type { SelectionFlags } from '../../src/search/selection.ts'
import { parseSelection } from '../../src/search/selection.ts'
import { FrameFlag } from '../../src/wal/frame.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { marker, transactional } from '../segment/segments.ts'
import { EVENTS, ORDERS, RENEWED, START, streamOf, World } from './world.ts'

const orders = streamOf('orders', ORDERS, 0)
const events = streamOf('events', EVENTS, 0)

/** Records with these offsets, each a second after the one before. */
function batchOf(...offsets: number[]): CanonicalBatch {
  return encodeBatch(
    offsets.map(offset => ({
      offset,
      timestamp: START + offset * 1_000,
      key: null,
      value: Buffer.from(offset % 5 === 4 ? 'other' : `match ${offset}`),
      headers: []
    }))
  )
}

/** Follows in a world; each look goes on from a copy of the state, as it would in another thread. */
class Follower implements Disposable {
  readonly #wal: WalReader
  readonly #places: SearchPlaces
  readonly #flags: SelectionFlags
  readonly #query: string
  #state: FollowState | null = null

  constructor(world: World, flags: SelectionFlags = {}, places: Partial<SearchPlaces> = {}, query = 'match') {
    this.#wal = WalReader.open(world.walFolder)
    this.#places = { archive: world.archive, warm: world.warm, indexes: world.indexes, wal: this.#wal, ...places }
    this.#flags = flags
    this.#query = query
  }

  /** The places of what one look gives, of no more than `most`. */
  async look(most = Number.POSITIVE_INFINITY, given = (_place: string): void => {}): Promise<string[]> {
    const { records, state } = await look(this.#places, parseSelection(this.#flags), this.#query, this.#state)
    const found: string[] = []
    try {
      for await (const { topic, offset } of records) {
        found.push(`${topic}@${offset}`)
        given(found.at(-1)!)
        if (found.length >= most) break
      }
    } finally {
      this.#state = structuredClone(state())
    }
    return found
  }

  [Symbol.dispose](): void {
    this.#wal.close()
  }
}

test('first the newest, the oldest of them first; then what comes', async () => {
  await using world = await World.make()
  using follower = new Follower(world, { limit: 3 })
  expect(await follower.look()).toEqual([])
  using late = new Follower(world, { limit: 3 })
  await world.capture(orders, [batchOf(0, 1, 2), batchOf(3, 4, 5)])
  await world.capture(events, [batchOf(0, 1)])
  expect(await follower.look()).toEqual([
    'events@0',
    'orders@0',
    'events@1',
    'orders@1',
    'orders@2',
    'orders@3',
    'orders@5'
  ])
  expect(await late.look()).toEqual(['orders@2', 'orders@3', 'orders@5'])
  await world.capture(orders, [batchOf(6, 7)])
  for (const one of [follower, late]) {
    expect(await one.look()).toEqual(['orders@6', 'orders@7'])
    expect(await one.look()).toEqual([])
  }
})

test('what is archived meanwhile is not given again, and what was only archived is', async () => {
  await using world = await World.make()
  using follower = new Follower(world)
  await world.capture(orders, [batchOf(0, 1)])
  expect(await follower.look()).toEqual(['orders@0', 'orders@1'])
  await world.ship(orders, [batchOf(0, 1), batchOf(2, 3)], false)
  expect(await follower.look()).toEqual(['orders@2', 'orders@3'])
  await world.ship(events, [batchOf(0)], false)
  await world.capture(orders, [batchOf(4, 5)])
  expect(await follower.look()).toEqual(['events@0', 'orders@5'])
  expect(await follower.look()).toEqual([])
})

test('from an archive alone', async () => {
  await using world = await World.make()
  await world.ship(orders, [batchOf(0, 1)], false)
  using follower = new Follower(world, { limit: 1 }, { wal: null, warm: null })
  expect(await follower.look()).toEqual(['orders@1'])
  await world.ship(orders, [batchOf(2)], false)
  expect(await follower.look()).toEqual(['orders@2'])
})

test('what is fetched late, between what was captured, is given when it comes', async () => {
  await using world = await World.make()
  using follower = new Follower(world)
  await world.capture(orders, [batchOf(0, 1), batchOf(6, 7)])
  expect(await follower.look()).toEqual(['orders@0', 'orders@1', 'orders@6', 'orders@7'])
  await world.capture(orders, [batchOf(2, 3)], FrameFlag.FETCHED)
  expect(await follower.look()).toEqual(['orders@2', 'orders@3'])
  await world.capture(orders, [batchOf(4, 5)], FrameFlag.FETCHED)
  expect(await follower.look()).toEqual(['orders@5'])
})

test('a look that is broken off goes on where it was, and once', async () => {
  await using world = await World.make()
  await world.capture(orders, [batchOf(0, 1, 2, 3), batchOf(5, 6, 7, 8)])
  using follower = new Follower(world, { limit: 6 })
  expect(await follower.look(2)).toEqual(['orders@2', 'orders@3'])
  // What comes now is older than what was given already.
  await world.capture(events, [batchOf(0)])
  expect(await follower.look(3)).toEqual(['orders@5', 'orders@6', 'orders@7'])
  expect(await follower.look()).toEqual(['orders@8'])
  expect(await follower.look()).toEqual(['events@0'])
  expect(await follower.look()).toEqual([])
})

test('a look that fails on the way goes on behind what it gave', async () => {
  await using world = await World.make()
  const offsets = Array.from({ length: 600 }, (_, offset) => offset)
  for (const from of [0, 300]) {
    await world.ship(orders, [batchOf(...offsets.filter(offset => offset >= from && offset < from + 300))], false)
  }
  let isAway = false
  const archive = new RememberedArchive(world.archive, 0)
  const { source } = archive
  archive.source = key => {
    const there = source.call(archive, key)
    const unlessAway = <T>(read: () => Promise<T>): Promise<T> =>
      isAway ? Promise.reject(new MillraceError('STORE_FAILED', 'away')) : read()
    const get = (start: number, end: number) => unlessAway(() => there.get(start, end))
    return { name: key, get, tail: bytes => unlessAway(() => there.tail(bytes)) }
  }
  using follower = new Follower(
    world,
    { limit: 1_000 },
    { archive, indexes: new IndexCache(null, 0), wal: null, warm: null }
  )
  const given: string[] = []
  const failing = follower.look(Number.POSITIVE_INFINITY, place => {
    given.push(place)
    isAway = given.length >= 100
  })
  await expect(failing).rejects.toThrow('away')
  expect(given.length).toBeLessThan(300)
  isAway = false
  given.push(...(await follower.look()))
  expect(given).toEqual(offsets.filter(offset => offset % 5 !== 4).map(offset => `orders@${offset}`))
  expect(await follower.look()).toEqual([])
})

test('what an archive said is good for a while', async () => {
  await using world = await World.make()
  await world.ship(orders, [batchOf(0)], false)
  const archive = new RememberedArchive(world.archive, 1e9)
  using follower = new Follower(world, {}, { archive })
  expect(await follower.look()).toEqual(['orders@0'])
  await world.ship(orders, [batchOf(1)], false)
  expect(await follower.look()).toEqual([])
  await world.capture(orders, [batchOf(2)])
  expect(await follower.look()).toEqual(['orders@2'])
})

test('with read_committed a transaction is given when it is committed, and nothing of one that is aborted', async () => {
  await using world = await World.make()
  // In transactions they say grain.
  using follower = new Follower(world, { isolation: 'read_committed' }, {}, 'match OR grain')
  using eager = new Follower(world, {}, {}, 'match OR grain')
  await world.capture(orders, [batchOf(0, 1), transactional(2, 2, 7), batchOf(5)])
  expect(await follower.look()).toEqual(['orders@0', 'orders@1'])
  expect((await eager.look()).toSorted()).toEqual([0, 1, 2, 3, 5].map(offset => `orders@${offset}`))
  await world.capture(orders, [marker(4, 7, 'commit')], FrameFlag.FETCHED)
  expect(await follower.look()).toEqual(['orders@2', 'orders@3', 'orders@5'])
  await world.capture(orders, [transactional(6, 2, 8), batchOf(10)])
  expect(await follower.look()).toEqual([])
  await world.capture(orders, [marker(8, 8, 'abort'), batchOf(9)], FrameFlag.FETCHED)
  expect(await follower.look()).toEqual(['orders@10'])
  expect(await eager.look()).toEqual(['orders@6', 'orders@7', 'orders@10'])
})

test('a topic that is made again is followed', async () => {
  await using world = await World.make()
  await world.ship(orders, [batchOf(0, 1)], false)
  using follower = new Follower(world)
  expect(await follower.look()).toEqual(['orders@0', 'orders@1'])
  await world.capture(streamOf('orders', RENEWED, 0), [batchOf(0)])
  expect(await follower.look()).toEqual(['orders@0'])
})
