// A search reads of an archive what it needs: counted are the reads of each object, since from a store each costs a round trip.
import { expect, test } from 'vitest'
import type { ReadableArchive } from '../../src/archive/archive.ts'
import { IndexCache } from '../../src/archive/index-cache.ts'
import { MillraceError } from '../../src/errors.ts'
import { encodeBatch } from '../../src/kafka/batch.ts'
import { search } from '../../src/search/search.ts'
import type { SelectionFlags } from '../../src/search/selection.ts'
import { parseSelection } from '../../src/search/selection.ts'
import type { RangeSource } from '../../src/segment/reader.ts'
import { ORDERS, START, streamOf, World } from './world.ts'

const orders = streamOf('orders', ORDERS, 0)
const SEGMENTS = 10
const PER_SEGMENT = 20

/** Ten segments, one after the other in time; each has words of its own, and one that all have. */
async function tenSegments(perSegment = PER_SEGMENT): Promise<World> {
  const world = await World.make()
  for (let i = 0; i < SEGMENTS; i++) {
    const records = Array.from({ length: perSegment }, (_, j) => {
      const offset = i * perSegment + j
      const value = Buffer.from(`common rare${i} n${offset} ${offset % 2 === 0 ? 'even' : 'odd'}`)
      return { offset, timestamp: START + offset, key: null, value, headers: [] }
    })
    await world.ship(orders, [encodeBatch(records)], false)
  }
  return world
}

/** The archive, with its reads counted by the number of the segment. */
class CountedArchive implements ReadableArchive {
  readonly #archive: ReadableArchive
  readonly reads: number[] = Array.from({ length: SEGMENTS }, () => 0)
  /** Objects that are gone: their reads fail once, until they are looked for again. */
  readonly gone = new Set<number>()

  readonly #perSegment: number

  constructor({ archive }: World, perSegment = PER_SEGMENT) {
    this.#archive = archive
    this.#perSegment = perSegment
  }

  partitions = () => this.#archive.partitions()
  readRoot: ReadableArchive['readRoot'] = stream => this.#archive.readRoot(stream)
  walk: ReadableArchive['walk'] = (stream, listing) => this.#archive.walk(stream, listing)

  async *listings() {
    this.gone.clear()
    yield* this.#archive.listings()
  }

  source(key: string): RangeSource {
    const number = Number(/(\d{20})\.tar\.gz$/.exec(key)![1]) / this.#perSegment
    const counted = <T>(read: (source: RangeSource) => Promise<T>): Promise<T> => {
      this.reads[number]!++
      if (this.gone.has(number)) return Promise.reject(new MillraceError('OBJECT_MISSING', `there is no object ${key}`))
      return read(this.#archive.source(key))
    }
    return {
      name: key,
      get: (start, end) => counted(source => source.get(start, end)),
      tail: bytes => counted(source => source.tail(bytes))
    }
  }
}

/** The segments that were read, and how often the one that was read most. */
async function readsOf(world: World, query: string, flags: SelectionFlags) {
  return await readsWith(new CountedArchive(world), new IndexCache(null, 0), world, query, flags)
}

async function readsWith(
  archive: CountedArchive,
  indexes: IndexCache,
  world: World,
  query: string,
  flags: SelectionFlags
) {
  archive.reads.fill(0)
  const { records } = await world.search(query, flags, { archive, indexes, warm: null, wal: null })
  const segments = archive.reads.flatMap((reads, number) => (reads > 0 ? number : []))
  return {
    found: records.map(({ offset }) => offset),
    segments,
    most: Math.max(...archive.reads),
    reads: archive.reads
  }
}

test('outside of the windows of time and offset nothing is read', async () => {
  await using world = await tenSegments()
  const iso = (offset: number): string => new Date(START + offset).toISOString()
  const inTime = await readsOf(world, 'common', { from: iso(45), to: iso(47) })
  expect(inTime).toMatchObject({ found: [46, 45], segments: [2] })
  const inOffsets = await readsOf(world, 'common', { offsets: '59..61' })
  expect(inOffsets).toMatchObject({ found: [60, 59], segments: [2, 3] })
  expect(await readsOf(world, 'common', { offsets: '1000..' })).toMatchObject({ found: [], segments: [] })
  expect(await readsOf(world, 'common', { topic: ['others'] })).toMatchObject({ found: [], segments: [] })
})

test('the first page of a common word reads one segment, the next page that and the next one', async () => {
  await using world = await tenSegments()
  const newest = await readsOf(world, 'common', { limit: 5 })
  expect(newest).toMatchObject({ found: [199, 198, 197, 196, 195], segments: [9] })
  // Table of contents and filter, index, both indexes of the log, and the log.
  expect(newest.most).toBe(4)
  expect(await readsOf(world, '*', { limit: 5 })).toMatchObject({ segments: [9] })
  expect(await readsOf(world, 'common', { limit: 5, order: 'oldest' })).toMatchObject({ segments: [0] })
  const first = await world.search('common', { limit: 19 })
  const second = await readsOf(world, 'common', { limit: 5, cursor: first.next! })
  expect(second.found).toEqual([180, 179, 178, 177, 176])
  // The filters of the next four are asked at once.
  expect(second.segments.filter(number => number < 5)).toEqual([])
})

test('a rare word asks the filter of each segment, and opens only what may have it', async () => {
  await using world = await tenSegments()
  const { found, reads } = await readsOf(world, 'rare3 n70', {})
  expect(found).toEqual([70])
  // Of the others the table of contents and, with it, the filter.
  expect(reads.filter((_, number) => number !== 3)).toEqual(Array(9).fill(1))
  expect(reads[3]).toBe(4)
  const { segments } = await readsOf(world, 'nowhere', { offsets: '..100' })
  expect(segments).toEqual([0, 1, 2, 3, 4])
})

test('what an earlier search has fetched is not fetched again', async () => {
  await using world = await tenSegments()
  using indexes = new IndexCache(null, 0)
  const archive = new CountedArchive(world)
  const reads = (query: string) => readsWith(archive, indexes, world, query, {})
  expect((await reads('n70')).segments).toHaveLength(SEGMENTS)
  // The log alone.
  expect(await reads('n71')).toMatchObject({ found: [71], segments: [3], most: 1 })
  expect((await reads('nowhere')).segments).toEqual([])
})

test('counting reads no record, but where the record has to tell', async () => {
  await using world = await tenSegments()
  const counting = async (query: string) => {
    const archive = new CountedArchive(world)
    const indexes = new IndexCache(null, 0)
    const { count } = await world.count(query, {}, { archive, indexes, warm: null, wal: null })
    return { count, most: Math.max(...archive.reads) }
  }
  expect(await counting('common')).toEqual({ count: 200, most: 2 })
  expect(await counting('*')).toEqual({ count: 200, most: 2 })
  expect(await counting('even NOT rare3')).toEqual({ count: 90, most: 2 })
  expect(await counting('value.x:common')).toMatchObject({ count: 0 })
})

test.for(['newest', 'oldest', 'rank'] as const)(
  'what vanishes while records are given is looked for again, %s first',
  async order => {
    await using world = await tenSegments(100)
    const archive = new CountedArchive(world, 100)
    const indexes = new IndexCache(null, 0)
    const places = { archive, indexes, warm: null, wal: null }
    const query = 'even OR rare3'
    const whole = await world.search(query, { order })
    const result = await search(places, parseSelection({ order, limit: 1_000 }), query)
    const found: number[] = []
    for await (const { offset } of result.records) {
      found.push(offset)
      // From now on every object is gone, until the archive is listed again.
      if (found.length % 100 === 0) for (let number = 0; number < SEGMENTS; number++) archive.gone.add(number)
    }
    expect(found).toEqual(whole.records.map(({ offset }) => offset))
    expect(found.length).toBe(550)
    expect(result.next()).toBeNull()
  }
)
