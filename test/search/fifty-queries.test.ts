// One table of queries: wherever the records are, each finds what a plain scan of them says, in the order that was asked for, at
// once and page by page.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HotIndexes } from '../../src/search/hot-index.ts'
import { HotIndexer } from '../../src/search/hot-indexer.ts'
import type { Tier } from '../../src/search/record-json.ts'
import { FrameFlag } from '../../src/wal/frame.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { digest } from '../segment/segments.ts'
import { until } from '../support/until.ts'
import type { WrittenLog } from './corpus.ts'
import { corpus } from './corpus.ts'
import { every, isSelected, matches, not, scan } from './oracle.ts'
import { queries } from './query-table.ts'
import { World } from './world.ts'

const records = corpus.flatMap(log => log.records)
const rows = queries.map(([query, meaning, flags = {}]) => [query, flags, meaning] as const)

const INDEXED = 'hot, with a hot index'

const places: Record<string, readonly Tier[]> = {
  hot: ['hot'],
  [INDEXED]: ['hot'],
  warm: ['warm'],
  cold: ['cold'],
  mixed: ['hot', 'warm', 'cold']
}

describe('of a table of queries', () => {
  const worlds = new Map<string, World>()
  let hotIndexes: HotIndexes

  beforeAll(async () => {
    for (const name of Object.keys(places)) {
      const world = await World.make()
      worlds.set(name, world)
      for (const log of corpus) {
        await fill(world, name, log)
        await pause(2) // roots and captures carry times in milliseconds, which tell the older topic from the newer
      }
    }
    hotIndexes = await indexHot(worlds.get(INDEXED)!)
  })
  afterAll(async () => {
    for (const world of worlds.values()) await world[Symbol.asyncDispose]()
  })

  test('the table has fifty queries and more, nearly all find something and hardly any finds all', () => {
    expect(queries.length).toBeGreaterThanOrEqual(50)
    const counts = queries.map(([, meaning, flags = {}]) => scan(records, meaning, flags).length)
    const selected = queries.map(([, , flags = {}]) => records.filter(record => isSelected(record, flags)).length)
    const none = queries.filter((_, i) => counts[i] === 0).map(([query]) => query)
    expect(none).toEqual(['nowhere', '"full almost"', 'key="customer"'])
    expect(counts.filter((count, i) => count < selected[i]!).length).toBeGreaterThanOrEqual(50)
    expect(counts.filter(count => count > 20).length).toBeGreaterThan(30)
  })

  test.for(rows)('%s %j', async ([query, flags, meaning]) => {
    const expected = scan(records, meaning, flags)
    const limit = flags.limit ?? Math.ceil(expected.length / 2) + 1
    for (const [name, world] of worlds) {
      const hidden = name === INDEXED ? { hotIndexes } : {}
      const found = await pages(world, [query, { ...flags, limit }, hidden])
      expect(found.records.map(textOf), name).toEqual(expected.map(textOf))
      expect(places[name], name).toEqual(expect.arrayContaining([...found.tiers]))
      const counted = await world.count(query, { ...flags, limit: undefined }, hidden)
      expect(counted.count, name).toBe(expected.length)
    }
  })

  test('what is hot is found in the hot index, and what is archived in indexes that are kept', async () => {
    const { walFolder } = worlds.get(INDEXED)!
    using reader = WalReader.open(walFolder)
    const entries = reader.streams().flatMap(stream => reader.entries(stream))
    expect(entries.length).toBeGreaterThan(100)
    for (const { file, id } of entries) expect(hotIndexes.take(file, reader.salt(file)!)?.has(id)).toBe(true)
    for (const { file } of entries) hotIndexes.giveBack(file)
    const kept = readdirSync(join(worlds.get('cold')!.walFolder, '..', 'indexes'))
    expect(kept.length).toBeGreaterThan(corpus.length)
  })

  test('the scan itself tells one from the other', () => {
    const [first] = records
    expect(records.some(({ isCommitted }) => !isCommitted)).toBe(true)
    expect(records.filter(record => matches(record, every))).toHaveLength(records.length)
    expect(matches(first!, not(every))).toBe(false)
  })
})

async function fill(world: World, name: string, { stream, batches }: WrittenLog): Promise<void> {
  if (name.startsWith('hot')) return await world.capture(stream, batches, FrameFlag.FETCHED)
  const cuts = [0, 3, 4, Math.max(5, Math.floor(batches.length / 2)), batches.length]
  const parts = cuts
    .slice(1)
    .map((cut, i) => batches.slice(cuts[i], cut))
    .filter(part => part.length > 0)
  if (name !== 'mixed') {
    for (const part of parts) await world.ship(stream, part, name === 'warm')
    return
  }
  // The last part is in the WAL only, out of order, and some of it twice; what is archived is in the WAL too.
  for (const batch of batches.slice(3).toReversed()) await world.capture(stream, [batch], FrameFlag.FETCHED)
  await world.capture(stream, batches.slice(-3), FrameFlag.FETCHED)
  for (const [i, part] of parts.slice(0, -1).entries()) await world.ship(stream, part, i % 2 === 1)
}

type Found = Awaited<ReturnType<World['search']>>['records'][number]

/** All that a search gives, page by page until there is none. */
async function pages(world: World, [query, flags, hidden]: Parameters<World['search']>) {
  const records: Found[] = []
  const tiers = new Set<Tier>()
  for (let cursor: string | undefined; ; ) {
    const page = await world.search(query, { ...flags, cursor }, hidden)
    records.push(...page.records)
    for (const tier of page.tiers) tiers.add(tier)
    if (page.next === null) return { records, tiers }
    expect(page.records).toHaveLength(flags.limit!)
    cursor = page.next
  }
}

/** Indexes what a world's WAL holds, as a worker does. */
async function indexHot({ walFolder }: World): Promise<HotIndexes> {
  const directory = join(walFolder, '..', 'hot')
  using indexer = new HotIndexer({
    walDirectory: walFolder,
    directory,
    maxDecompressedBytes: 2 ** 28,
    reserveBytes: 0,
    needed: async (_file, frames) => new Set(frames),
    warn: message => expect.fail(message)
  })
  const isThrough = async (): Promise<boolean> => {
    await indexer.pass()
    return indexer.bytesBehind === 0
  }
  await until(isThrough, { what: 'all is indexed' })
  return new HotIndexes(directory)
}

function placeOf({
  topic,
  topicId,
  partition,
  offset,
  timestamp
}: Pick<Found, 'topic' | 'topicId' | 'partition' | 'offset' | 'timestamp'>): string {
  return `${topic}/${topicId}/${partition}@${offset} ${timestamp}`
}

/** All of a record. */
function textOf(record: Found): string {
  return `${placeOf(record)} ${record.timestampType} ${digest(record)}`
}
