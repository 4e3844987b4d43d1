// The hot index changes how long a search takes, and never what it finds: with it, without it, with half of it, and with one that
// is damaged.
import { randomBytes } from 'node:crypto'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { HotIndexes } from '../../src/search/hot-index.ts'
import { HotIndexing } from '../../src/search/hot-indexing.ts'
import { LIMIT, unreadable } from '../kafka/unreadable.ts'
import { flipInWal } from '../support/flip.ts'
import { until } from '../support/until.ts'
import {
  answers,
  busyWorld,
  expectSameAnswers,
  folderOf,
  indexedFrames,
  indexerOf,
  indexNames,
  one,
  orders,
  others,
  queries
} from './hot-world.ts'
import { streamOf, World } from './world.ts'

test('the same answers with the index, without it, and with half of it', async () => {
  await using world = await busyWorld()
  expect((await answers(world, null, queries)).filter(({ lines }) => lines.length > 0).length).toBeGreaterThan(12)
  await expectSameAnswers(world, 'none is there', queries)
  using indexer = indexerOf(world)
  await indexer.pass()
  expect(indexNames(world).length).toBeGreaterThan(3)
  // Left out are the unreadable ones.
  const { has, of } = indexedFrames(world)
  expect(has).toBe(of - unreadable.length)
  await expectSameAnswers(world, 'all of it', queries)
  await world.capture(orders!, [one(2_000, 'apple fig'), one(2_001, 'banana')])
  await world.capture(others!, [one(2_000, 'apple behind the rest')])
  await expectSameAnswers(world, 'what came since is not in it', queries)
  await indexer.pass()
  expect(indexedFrames(world)).toEqual({ has: has + 3, of: of + 3 })
  await expectSameAnswers(world, 'all of it once more', queries)
})

test('what is acknowledged is found at once, and once, however far the thread is', { timeout: 120_000 }, async () => {
  await using world = await World.make(64 * 1024)
  await using _ = HotIndexing.start(true, {
    walDirectory: world.walFolder,
    directory: folderOf(world),
    maxDecompressedBytes: LIMIT,
    reserveBytes: 0,
    isReleased: () => false,
    logger: pino({ level: 'silent' })
  })
  const search = async () => {
    const flags = { order: 'oldest' }
    const { records } = await world.search('apple', flags, { hotIndexes: new HotIndexes(folderOf(world)) })
    return records.map(({ offset }) => offset)
  }
  const sent: number[] = []
  for (let round = 0; round < 40; round++) {
    const batches = Array.from({ length: 10 }, (_, i) => one(10 * round + i, `apple ${'x'.repeat(500)}`))
    await world.capture(orders!, batches)
    sent.push(...batches.map(({ header }) => header.baseOffset))
    expect(await search()).toEqual(sent)
  }
  // On a busy machine the thread has to wait.
  const isAll = () => indexedFrames(world).has === sent.length
  await until(isAll, { what: 'all is indexed', timeout: 50_000, interval: 200 })
  expect(await search()).toEqual(sent)
})

test('what it has is not read again to be searched', async () => {
  await using world = await World.make()
  await world.capture(orders!, [one(0, 'apple'), one(1, 'apple')])
  using indexer = indexerOf(world)
  await indexer.pass()
  for (const name of indexNames(world)) {
    const db = new Database(join(folderOf(world), name))
    db.exec('DELETE FROM record WHERE id % 2 = 0 AND id / 4194304 = 1')
    db.close()
  }
  const hotIndexes = new HotIndexes(folderOf(world))
  const { records } = await world.search('apple', {}, { hotIndexes })
  expect(records.map(({ offset }) => offset)).toEqual([1])
  expect(await world.count('apple', {}, { hotIndexes })).toMatchObject({ count: 1 })
})

test('of partitions that share a file each finds its own, however far apart they lie', async () => {
  await using world = await World.make()
  const offsets = [0, 0]
  const send = async (partition: number, texts: readonly string[]) => {
    const batches = texts.map(text => one(offsets[partition]!++, text))
    await world.capture(streamOf('orders', orders!.topicId, partition), batches)
  }
  for (let round = 0; round < 6; round++) {
    await send(0, ['common rare', 'common'])
    await send(
      1,
      Array.from({ length: 20 + 60 * round }, () => 'common')
    )
  }
  using indexer = indexerOf(world)
  await indexer.pass()
  const flags = { partition: 0, order: 'oldest' }
  const hotIndexes = new HotIndexes(folderOf(world))
  for (const [query, offsets] of [
    ['common', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
    ['rare', [0, 2, 4, 6, 8, 10]]
  ] as const) {
    const { records } = await world.search(query, flags, { hotIndexes })
    expect(records.map(({ offset }) => offset)).toEqual(offsets)
    expect(await world.count(query, flags, { hotIndexes })).toMatchObject({ count: offsets.length })
  }
})

const damages: [what: string, damage: (file: string, bytes: Buffer) => void][] = [
  ['empty', file => truncateSync(file, 0)],
  ['a fragment', file => truncateSync(file, 100)],
  ['cut in the middle of a page', (file, { length }) => truncateSync(file, length / 2 + 100)],
  ['cut by a page', (file, { length }) => truncateSync(file, length - 4096)],
  ['something else', file => writeFileSync(file, randomBytes(20_000))],
  ['without a table', file => new Database(file).exec('DROP TABLE record').close()],
  ['of zeros', (file, { length }) => writeFileSync(file, Buffer.alloc(length))],
  ['of zeros but for its first page', (file, bytes) => writeFileSync(file, Buffer.from(bytes).fill(0, 4096))],
  ['of zeros in its second half', (file, bytes) => writeFileSync(file, Buffer.from(bytes).fill(0, bytes.length / 2))]
]

test.for(damages)('an index that is %s is not used, and made anew', async ([, damage]) => {
  await using world = await busyWorld()
  {
    using indexer = indexerOf(world)
    await indexer.pass()
  }
  for (const name of indexNames(world)) {
    const file = join(folderOf(world), name)
    damage(file, readFileSync(file))
  }
  await expectSameAnswers(world, 'damaged')
  await world.capture(orders!, [one(2_000, 'apple fig'), one(2_001, 'banana')])
  const warnings: string[] = []
  using indexer = indexerOf(world, warnings)
  await indexer.pass()
  await expectSameAnswers(world, 'after one more look')
  await indexer.pass()
  await expectSameAnswers(world, 'after two')
  for (const warning of warnings)
    expect(warning).toMatch(/^the search index of .*\.wal cannot be written, and it is made/)
})

test('a batch that is damaged after it was indexed counts as not searched, and hides nothing else', async () => {
  await using world = await World.make()
  await world.capture(orders!, [one(0, 'apple'), one(1, 'apple on a bad sector'), one(2, 'apple')])
  using indexer = indexerOf(world)
  await indexer.pass()
  await flipInWal(world.walFolder, 'bad sector')
  const found = await world.search('apple', {}, { hotIndexes: new HotIndexes(folderOf(world)) })
  expect(found.records.map(({ offset }) => offset)).toEqual([2, 0])
  expect(found.notSearched).toBe(1)
})
