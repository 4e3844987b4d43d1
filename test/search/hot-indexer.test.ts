// The life of the hot index: it goes on after a restart, goes with the WAL's files, gives way, and is no one's truth meanwhile.
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { expect, test } from 'vitest'
import { encodeBatch } from '../../src/kafka/batch.ts'
import { HotIndex, HotIndexes } from '../../src/search/hot-index.ts'
import { HotIndexer } from '../../src/search/hot-indexer.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { unreadable } from '../kafka/unreadable.ts'
import { flipBit } from '../support/flip.ts'
import { until } from '../support/until.ts'
import {
  busyWorld,
  expectSameAnswers,
  folderOf,
  indexedFrames,
  indexerOf,
  indexNames,
  later,
  one,
  optionsOf,
  orders
} from './hot-world.ts'
import { EVENTS, logs, START, streamOf, World } from './world.ts'

test('it goes on with what is committed after a restart, and begins anew where that is not to be trusted', async () => {
  await using world = await busyWorld()
  const pass = async () => {
    using indexer = indexerOf(world)
    await indexer.pass()
  }
  const change = (sql: string) => {
    for (const name of indexNames(world)) new Database(join(folderOf(world), name)).exec(sql).close()
  }
  const found = async () =>
    (await world.search('apple', {}, { hotIndexes: new HotIndexes(folderOf(world)) })).records.length
  await pass()
  const all = await found()
  change('DELETE FROM record')
  await pass()
  expect(await found(), 'nothing is made anew').toBeLessThan(all / 4)
  // Of another file of the same number, as when the folder was emptied.
  change(`UPDATE state SET identity = replace(identity, '"', '')`)
  await expectSameAnswers(world, 'others are not used')
  await pass()
  expect(indexedFrames(world).has).toBe(indexedFrames(world).of - unreadable.length)
  await expectSameAnswers(world, 'made anew')
})

test('an index goes with its WAL file, also when nobody was there to see it go', async () => {
  await using world = await busyWorld()
  using indexer = indexerOf(world)
  await indexer.pass()
  const filler = streamOf('filler', EVENTS, 0)
  await world.capture(filler, [one(0, 'filler')])
  using reader = WalReader.open(world.walFolder)
  const walFiles = () => readdirSync(world.walFolder).filter(name => name.endsWith('.wal'))
  expect(walFiles().length).toBeGreaterThan(2)
  for (const { stream } of logs) world.wal.release(reader.entries(stream))
  await until(() => walFiles().length === 1, { what: 'all WAL files but the last are deleted' })
  await expectSameAnswers(world, 'while the index is behind')
  writeFileSync(join(folderOf(world), '777.db-wal'), 'left behind')
  await indexer.pass()
  expect(
    indexNames(world)
      .map(name => name.replace('.db', '.wal'))
      .toSorted()
  ).toEqual(walFiles().toSorted())
  expect(existsSync(join(folderOf(world), '777.db-wal'))).toBe(false)
  await expectSameAnswers(world, 'afterwards')
})

test('a WAL file that is deleted while another one is indexed is let go of at once', async () => {
  await using world = await World.make(8 * 1024)
  const filler = streamOf('filler', EVENTS, 0)
  const send = (offset: number) => world.capture(offset % 2 === 0 ? orders! : filler, [one(offset, 'x'.repeat(9_000))])
  for (let offset = 0; offset < 4; offset++) await send(offset)
  using reader = WalReader.open(world.walFolder)
  const [second] = reader.entries(filler)
  const path = join(world.walFolder, `${second!.file}.wal`)
  const options = optionsOf(world)
  options.needed = async (file, frames) => {
    if (file > 1) return new Set(frames)
    world.wal.release([second!])
    await until(() => !existsSync(path), { what: 'the second file is deleted' })
    return new Set(frames)
  }
  using indexer = new HotIndexer(options)
  await later(() => indexer.pass())
  expect(indexNames(world)).not.toContain(`${second!.file}.db`)
  expect(indexNames(world)).toContain('1.db')
})

test('batches that the WAL copies to a newer file are found once, before and after the index has seen it', async () => {
  await using world = await World.make(8 * 1024)
  const kept = streamOf('kept', EVENTS, 0)
  for (let offset = 0; offset < 8; offset++) {
    if (offset % 3 === 0) await world.capture(kept, [one(offset, 'filler apple')])
    const value = Buffer.from(`filler ${randomBytes(6_000).toString('hex')}`)
    await world.capture(orders!, [encodeBatch([{ offset, timestamp: START, key: null, value, headers: [] }])])
  }
  using indexer = indexerOf(world)
  await indexer.pass()
  using reader = WalReader.open(world.walFolder)
  world.wal.release(reader.entries(orders!))
  const [first] = reader.entries(kept)
  await world.wal.freeSparseFile()
  using after = WalReader.open(world.walFolder)
  expect(after.entries(kept, 0, 1).at(-1)!.file).toBeGreaterThan(first!.file)
  for (const when of ['before', 'after']) {
    const { records } = await world.search('apple', {}, { hotIndexes: new HotIndexes(folderOf(world)) })
    expect(
      records.map(({ offset }) => offset),
      when
    ).toEqual([6, 3, 0])
    await indexer.pass()
  }
})

test('frames that nobody could name are not taken for indexed', async () => {
  await using world = await World.make()
  await world.capture(orders!, [one(0, 'apple'), one(1, 'apple'), one(2, 'apple')])
  using reader = WalReader.open(world.walFolder)
  await flipBit(join(world.walFolder, '1.wal'), reader.entries(orders!)[1]!.position)
  using indexer = indexerOf(world)
  await indexer.pass()
  using index = HotIndex.open(folderOf(world), 1, reader.salt(1)!)
  expect([1, 2, 3].map(frame => index!.has(frame))).toEqual([true, false, true])
})

test('what is archived already is passed over', async () => {
  await using world = await World.make()
  await world.capture(orders!, [one(0, 'apple'), one(1, 'apple'), one(2, 'apple')])
  const options = optionsOf(world)
  options.needed = async (_, frames) => new Set(frames.filter(frame => frame !== 2))
  using indexer = new HotIndexer(options)
  await later(() => indexer.pass())
  using reader = WalReader.open(world.walFolder)
  reader.streams()
  using index = HotIndex.open(folderOf(world), 1, reader.salt(1)!)
  expect([1, 2, 3, 4].map(frame => index!.has(frame))).toEqual([true, false, true, false])
  await expectSameAnswers(world, 'a search looks itself')
})

test('it gives way when the disk is short, and only files that begin later get an index again', async () => {
  await using world = await World.make(8 * 1024)
  const warnings: string[] = []
  const options = optionsOf(world, warnings)
  using indexer = new HotIndexer(options)
  await world.capture(orders!, [one(0, 'apple')])
  await indexer.pass()
  expect(indexNames(world)).toHaveLength(1)
  options.reserveBytes = Number.MAX_SAFE_INTEGER
  await indexer.pass()
  expect(readdirSync(folderOf(world))).toEqual([])
  await expectSameAnswers(world, 'dropped')
  options.reserveBytes = 0
  await world.capture(orders!, [one(1, 'apple')])
  await indexer.pass()
  expect(indexNames(world)).toEqual([])
  expect(indexer.bytesBehind).toBeGreaterThan(0)
  await world.capture(orders!, [one(2, `apple ${'x'.repeat(9_000)}`)])
  await world.capture(orders!, [one(3, 'apple')])
  await indexer.pass()
  expect(indexNames(world)).toHaveLength(1)
  await expectSameAnswers(world, 'the newest file alone')
  expect(warnings).toEqual(['the search indexes of the WAL are dropped: their disk is short of space'])
})

test('an index that cannot be written is done without', async () => {
  await using world = await World.make()
  await world.capture(orders!, [one(0, 'apple')])
  mkdirSync(join(folderOf(world), '1.db', 'in the way'), { recursive: true })
  const warnings: string[] = []
  using indexer = indexerOf(world, warnings)
  for (let look = 0; look < 4; look++) await indexer.pass().catch(error => warnings.push(String(error)))
  await expectSameAnswers(world, 'without')
  expect(warnings.length).toBeGreaterThan(0)
})
