import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { encodeBatch } from '../../src/kafka/batch.ts'
import { HotIndex, HotIndexes } from '../../src/search/hot-index.ts'
import type { HotIndexerOptions } from '../../src/search/hot-indexer.ts'
import { HotIndexer } from '../../src/search/hot-indexer.ts'
import type { SelectionFlags } from '../../src/search/selection.ts'
import { FrameFlag } from '../../src/wal/frame.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { LIMIT, unreadable } from '../kafka/unreadable.ts'
import { logs, START, World } from './world.ts'

export const [orders, others, events] = logs.map(({ stream }) => stream)
const iso = (minute: number): string => new Date(START + minute * 60_000).toISOString()
const DAYS_AGO = -10_000_000

export const queries: [query: string, flags: SelectionFlags][] = [
  ['apple', {}],
  ['*', {}],
  ['"apple banana"', {}],
  ['apple (fig OR grape) NOT cherry', {}],
  ['order* header:banana', {}],
  ['header.apple:banana', {}],
  ['value.text:apple', {}],
  ['NOWHERE OR again', {}],
  ['apple', { order: 'oldest', limit: 7 }],
  ['apple', { partition: 1 }],
  ['apple OR fig', { offsets: '31..58' }],
  ['apple OR fig', { from: iso(50), to: iso(120) }],
  ['*', { from: iso(DAYS_AGO), to: iso(3), order: 'oldest' }],
  ['apple OR banana OR cherry', { order: 'rank' }],
  ['filler', {}]
]

const few = [0, 1, 7, 10].map(i => queries[i]!)

export const one = (offset: number, text: string): CanonicalBatch =>
  encodeBatch([{ offset, timestamp: START + offset, key: null, value: Buffer.from(text), headers: [] }])

/** A WAL with batches of every kind: out of order, twice, over each other, unreadable, and in several files. */
export async function busyWorld(): Promise<World> {
  const world = await World.make(8 * 1024)
  for (const { stream, batches } of logs) {
    await world.capture(stream, batches.slice(12).toReversed())
    await world.capture(stream, batches.slice(0, 14))
    await world.capture(stream, batches.slice(20), FrameFlag.FETCHED)
  }
  const end = logs[0]!.batches.at(-1)!.header.lastOffset + 1
  await world.capture(orders!, [one(end, 'apple taken back'), one(end + 1, 'apple stays')])
  await world.capture(orders!, [one(end, 'apple again')], FrameFlag.PROVISIONAL)
  await world.capture(orders!, [one(end, 'apple of the broker')], FrameFlag.FETCHED)
  await world.capture(
    events!,
    unreadable.map(([, make], i) => make(1_000 + 10 * i))
  )
  return world
}

export function optionsOf(world: World, warnings: string[] = []) {
  return {
    walDirectory: world.walFolder,
    directory: folderOf(world),
    maxDecompressedBytes: LIMIT,
    reserveBytes: 0,
    needed: async (_file: number, frames: readonly number[]) => new Set(frames),
    warn: (message: string) => void warnings.push(message)
  } satisfies HotIndexerOptions
}

export const indexerOf = (world: World, warnings?: string[]): HotIndexer => new HotIndexer(optionsOf(world, warnings))
/** When everything came some time ago: what came just now counts as needed, and is not asked about. */
export async function later(work: () => Promise<void>): Promise<void> {
  const { now } = Date
  const then = now() + 60_000
  try {
    Date.now = () => then
    await work()
  } finally {
    Date.now = now
  }
}

export const folderOf = (world: World): string => join(world.walFolder, '..', 'hot')
export const indexNames = (world: World): string[] => readdirSync(folderOf(world)).filter(name => name.endsWith('.db'))

export async function answers(world: World, hotIndexes: HotIndexes | null, asked: typeof queries) {
  const all = []
  for (const [query, flags] of asked) {
    const places = { hotIndexes, maxDecompressedBytes: LIMIT }
    const { lines, notSearched, unknownTopics } = await world.search(query, flags, places)
    const counted = await world.count(query, flags, places)
    all.push({ query, flags, lines, notSearched, unknownTopics, counted })
  }
  return all
}

export async function expectSameAnswers(world: World, what: string, asked = few): Promise<void> {
  const hotIndexes = new HotIndexes(folderOf(world))
  expect(await answers(world, hotIndexes, asked), what).toEqual(await answers(world, null, asked))
}

/** Which frames that a search would read are in an index. */
export function indexedFrames(world: World): { has: number; of: number } {
  using reader = WalReader.open(world.walFolder)
  const entries = reader.streams().flatMap(stream => reader.entries(stream))
  let has = 0
  for (const [file, ofFile] of Map.groupBy(entries, entry => entry.file)) {
    using index = HotIndex.open(folderOf(world), file, reader.salt(file)!)
    has += ofFile.filter(({ id }) => index?.has(id)).length
  }
  return { has, of: entries.length }
}
