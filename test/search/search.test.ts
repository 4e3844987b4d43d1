// The same records are found wherever they are: in the WAL, in local segments, in the archive, and while they move from one to
// the other. What should be found is said by a plain scan of the records, without any index.
import { randomBytes } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Archive } from '../../src/archive/archive.ts'
import type { WarmSegments } from '../../src/archive/warm-segments.ts'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { encodeBatch } from '../../src/kafka/batch.ts'
import { standing } from '../../src/search/partitions.ts'
import type { FoundRecord, Tier } from '../../src/search/record-json.ts'
import type { SelectionFlags } from '../../src/search/selection.ts'
import { FrameFlag } from '../../src/wal/frame.ts'
import type { WalEntry } from '../../src/wal/reader.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { until } from '../support/until.ts'
import type { Log } from './world.ts'
import { EVENTS, logs, ORDERS, pieces, RENEWED, START, streamOf, World } from './world.ts'

type Scanned = Omit<FoundRecord, 'tier'>

/** All user records, as a plain read of the batches gives them. */
const everything = logs.flatMap(({ stream: { topic, topicId, partition }, batches }) =>
  batches
    .filter(({ header }) => !header.isControl)
    .flatMap(batch =>
      [...batch.records()].map((record): Scanned => {
        return { topic, topicId, partition, timestampType: batch.header.timestampType, ...record }
      })
    )
)

/** The words of a text, in order, as the index has them: lower case, without accents. */
function wordsOf(bytes: Buffer | null): string[] {
  const text = (bytes?.toString('utf8') ?? '').normalize('NFD').replace(/\p{M}/gu, '').toLowerCase()
  return text.split(/[^\p{L}\p{N}]+/u).filter(word => word !== '')
}

type Part = 'key' | 'value' | 'headers'

function partsOf(record: Scanned, part?: Part): string[][] {
  const parts = {
    key: wordsOf(record.key),
    value: wordsOf(record.value),
    headers: record.headers.flatMap(([name, value]) => [...wordsOf(Buffer.from(name)), ...wordsOf(value)])
  }
  return part === undefined ? Object.values(parts) : [parts[part]]
}

/** True where the phrase stands in one part of the record; a last word with a star is a prefix. */
function has(phrase: string, part?: Part): (record: Scanned) => boolean {
  const wanted = phrase.split(' ')
  const fits = (word: string | undefined, pattern: string): boolean =>
    pattern.endsWith('*') ? word?.startsWith(pattern.slice(0, -1)) === true : word === pattern
  return record =>
    partsOf(record, part).some(text => text.some((_, at) => wanted.every((word, i) => fits(text[at + i], word))))
}

type Predicate = (record: Scanned) => boolean
const all =
  (...tests: Predicate[]): Predicate =>
  record =>
    tests.every(one => one(record))
const any =
  (...tests: Predicate[]): Predicate =>
  record =>
    tests.some(one => one(record))
const not =
  (test: Predicate): Predicate =>
  record =>
    !test(record)
const inTopic =
  (topic: string): Predicate =>
  record =>
    record.topic === topic
const offsets =
  (from: number, to: number): Predicate =>
  ({ offset }) =>
    offset >= from && offset < to
const times =
  (from: number, to: number): Predicate =>
  ({ timestamp }) =>
    timestamp >= from && timestamp < to
const minutes = (count: number): number => START + count * 60_000
const iso = (time: number): string => new Date(time).toISOString()

const cases: [query: string, flags: SelectionFlags, expected: Predicate][] = [
  ['apple', {}, has('apple')],
  ['APPLE', {}, has('apple')],
  ['eclair', {}, has('eclair')],
  ['東京', {}, has('東京')],
  ['apple banana', {}, all(has('apple'), has('banana'))],
  ['"apple banana"', {}, has('apple banana')],
  ['apple OR fig', {}, any(has('apple'), has('fig'))],
  ['apple NOT fig', {}, all(has('apple'), not(has('fig')))],
  ['apple (fig OR grape) NOT cherry', {}, all(has('apple'), any(has('fig'), has('grape')), not(has('cherry')))],
  ['order-77', {}, has('order 77')],
  ['order*', {}, has('order*')],
  ['x1', {}, has('x1')],
  ['x1*', {}, has('x1*')],
  ['"NOT"', {}, has('not')],
  ['key:apple', {}, has('apple', 'key')],
  ['value:apple', {}, has('apple', 'value')],
  ['header:apple', {}, has('apple', 'headers')],
  ['key:apple value:banana', {}, all(has('apple', 'key'), has('banana', 'value'))],
  ['header:"apple banana"', {}, has('apple banana', 'headers')],
  ['apple', { topic: ['orders'] }, all(has('apple'), inTopic('orders'))],
  ['apple', { topic: ['orders', 'events'] }, has('apple')],
  ['apple', { partition: 1 }, all(has('apple'), ({ partition }) => partition === 1)],
  ['apple', { offsets: '30..60' }, all(has('apple'), offsets(30, 60))],
  ['apple', { offsets: '..41' }, all(has('apple'), offsets(0, 41))],
  ['apple', { from: iso(minutes(50)), to: iso(minutes(120)) }, all(has('apple'), times(minutes(50), minutes(120)))],
  ['apple OR fig', { from: iso(minutes(199)) }, all(any(has('apple'), has('fig')), times(minutes(199), Infinity))],
  ['apple', { to: iso(minutes(3)), order: 'oldest' }, all(has('apple'), times(0, minutes(3)))],
  ['apple', { order: 'oldest', limit: 7 }, has('apple')],
  ['apple', { limit: 7 }, has('apple')],
  ['nowhere', {}, () => false],
  ['apple', { topic: ['orders'], topicId: ORDERS }, all(has('apple'), inTopic('orders'))]
]

/** What a search should give: filtered, sorted and cut by hand. */
function scan(
  expected: Predicate,
  { order = 'newest', limit = 1_000 }: SelectionFlags
): { total: number; records: Scanned[] } {
  const found = everything.filter(expected).sort((a, b) => {
    const [left, right] = [a, b].map(({ timestamp, topic, partition, offset }) =>
      [timestamp, topic, String(partition), String(offset).padStart(9, '0')].join(' ')
    )
    return (left! < right! ? -1 : 1) * (order === 'oldest' ? 1 : -1)
  })
  return { total: found.length, records: found.slice(0, limit) }
}

describe('one answer from every tier', () => {
  const made: World[] = []
  const worlds = new Map<string, { world: World; tiers: Tier[] }>()

  beforeAll(async () => {
    const add = async (name: string, tiers: Tier[], fill: (world: World, log: Log) => Promise<void>) => {
      const world = await World.make()
      made.push(world)
      for (const log of logs) await fill(world, log)
      worlds.set(name, { world, tiers })
    }
    await add('hot', ['hot'], (world, log) => world.capture(log.stream, log.batches))
    await add('warm', ['warm'], async (world, log) => {
      for (const piece of pieces(log)) await world.ship(log.stream, piece, true)
    })
    await add('cold', ['cold'], async (world, log) => {
      for (const piece of pieces(log)) await world.ship(log.stream, piece, false)
    })
    await add('half moved', ['hot', 'warm', 'cold'], async (world, log) => {
      // All but the first piece is still in the WAL, in an order of its own, and some of it twice.
      await world.capture(log.stream, log.batches.slice(5).toReversed())
      await world.capture(log.stream, log.batches.slice(20), FrameFlag.FETCHED)
      const [first, second, third] = pieces(log)
      await world.ship(log.stream, first!, false)
      await world.ship(log.stream, second!, true)
      await world.ship(log.stream, third!, true)
    })
  })
  afterAll(async () => {
    for (const world of made) await world[Symbol.asyncDispose]()
  })

  test('the records to be found are many and of every kind', () => {
    expect(everything.length).toBeGreaterThan(200)
    expect(new Set(logs.flatMap(({ batches }) => batches.map(({ header }) => header.codec))).size).toBe(5)
    expect(new Set(everything.map(({ timestampType }) => timestampType)).size).toBe(2)
    const controls = logs.flatMap(({ batches }) => batches.filter(({ header }) => header.isControl))
    const inControls = controls.flatMap(batch => [...batch.records()]).map(record => ({ ...everything[0]!, ...record }))
    expect(inControls.filter(has('apple')).length).toBeGreaterThan(0)
  })

  test.for(cases)('%s %j', async ([query, flags, expected]) => {
    const wanted = scan(expected, flags)
    const lines: string[][] = []
    for (const [name, { world, tiers }] of worlds) {
      const found = await world.search(query, flags)
      const { count: total } = await world.count(query, flags)
      expect({ total, records: found.records }, name).toEqual(wanted)
      expect(found.next === null, name).toBe(total <= (flags.limit ?? 1_000))
      expect(tiers, name).toEqual(expect.arrayContaining([...found.tiers]))
      lines.push(found.lines)
    }
    for (const other of lines) expect(other).toEqual(lines[0])
  })

  test('each record is found by its own time and offset', async () => {
    const { world } = worlds.get('cold')!
    const readable = everything.filter(({ topic, value }) => topic === 'events' && wordsOf(value).length > 0)
    expect(readable.length).toBeGreaterThan(50)
    for (const { offset, timestamp, value, topic } of readable) {
      const flags = {
        topic: [topic],
        offsets: `${offset}..${offset + 1}`,
        from: iso(timestamp),
        to: iso(timestamp + 1)
      }
      const { records } = await world.search(wordsOf(value)[0]!, flags)
      expect(records.map(record => record.offset)).toEqual([offset])
    }
  })

  test('each tier was really used', async () => {
    for (const [name, { world, tiers }] of worlds) {
      const { tiers: used } = await world.search('apple OR fig OR order*', {})
      expect([...used].sort(), name).toEqual([...tiers].sort())
    }
    const { world } = worlds.get('half moved')!
    const { tiers } = await world.search('apple', {}, { warm: null, wal: null })
    expect(tiers).toEqual(new Set(['cold']))
  })

  test('a local copy may be removed while it is read', async () => {
    await using world = await World.make()
    const [log] = logs
    for (const piece of pieces(log!)) await world.ship(log!.stream, piece, true)
    const whole = await world.search('apple', {}, { warm: null })
    const { warm } = world
    const removing: Pick<WarmSegments, 'find'> = {
      find(key, size) {
        const source = warm.find(key, size)
        rmSync(join(world.warmFolder, key), { force: true })
        return source
      }
    }
    const found = await world.search('apple', {}, { warm: removing as WarmSegments })
    expect(found.records.length).toBeGreaterThan(5)
    expect(found.lines).toEqual(whole.lines)
  })

  test('a topic that is nowhere is named', async () => {
    const { world } = worlds.get('half moved')!
    const flags = { topic: ['orders', 'ordres'], partition: 9 }
    const { records, unknownTopics } = await world.search('apple', flags)
    expect({ records, unknownTopics }).toEqual({ records: [], unknownTopics: ['ordres'] })
    expect(await world.count('apple', flags)).toEqual({ count: 0, notSearched: 0, unknownTopics: ['ordres'] })
  })
})

describe('while a worker goes on', () => {
  const [log] = logs

  /** The archive, with something that happens after the WAL was read and before the archive is. */
  function archiveAfter({ archive }: World, event: () => Promise<void>, when = 'before it is listed'): Archive {
    return {
      async *listings() {
        if (when === 'before it is listed') await event()
        yield* archive.listings()
        if (when === 'before it is walked') await event()
      },
      walk: (stream, listing) => archive.walk(stream, listing),
      source: key => archive.source(key)
    } satisfies Partial<Archive> as unknown as Archive
  }

  test.for(['before it is listed', 'before it is walked'])(
    'what moves to the archive %s is found, and once',
    async when => {
      await using world = await World.make(4 * 1024)
      for (const batch of log!.batches) await world.capture(log!.stream, [batch])
      const before = await world.search('apple', {})
      const filler = encodeBatch([{ offset: 0, timestamp: 0, key: null, value: randomBytes(40_000), headers: [] }])
      const archive = archiveAfter(
        world,
        async () => {
          for (const piece of pieces(log!)) await world.ship(log!.stream, piece, false)
          await world.capture(streamOf('filler', EVENTS, 0), [filler])
          using reader = WalReader.open(world.walFolder)
          const rows = reader.entries(log!.stream)
          world.wal.release(rows)
          const gone = join(world.walFolder, `${rows[0]!.file}.wal`)
          await until(() => !existsSync(gone), { what: 'the first WAL file is deleted' })
        },
        when
      )
      const moving = await world.search('apple', {}, { archive })
      // Listed before, it is still read from the files that were open.
      expect([...moving.tiers]).toEqual([when === 'before it is listed' ? 'cold' : 'hot'])
      expect(moving.lines).toEqual(before.lines)
      expect((await world.search('apple', {})).lines).toEqual(before.lines)
    }
  )

  test('a segment that another one took the place of is looked for once more', async () => {
    await using world = await World.make()
    for (const piece of pieces(log!)) await world.ship(log!.stream, piece, false)
    const archive = archiveAfter(world, async () => {})
    let walks = 0
    archive.walk = async (stream, listing) => {
      const chain = await world.archive.walk(stream, listing)
      return walks++ > 0 ? chain : { ...chain, links: chain.links.map(link => ({ ...link, key: `${link.key}.gone` })) }
    }
    const found = await world.search('apple', {}, { archive })
    expect(found.lines).toEqual((await world.search('apple', {})).lines)
  })
})

test('more than is indexed at a time, and records that lie far apart', async () => {
  const [{ stream }] = logs as [Log]
  const padding = '-'.repeat(2 ** 20)
  const batches = Array.from({ length: 70 }, (_, offset) => {
    const value = Buffer.from(`${padding} n${offset} ${offset % 20 === 5 ? 'rare' : 'common'}`)
    return encodeBatch([{ offset, timestamp: START + offset, key: null, value, headers: [] }])
  })
  await using hot = await World.make()
  await using cold = await World.make()
  await hot.capture(stream, batches)
  await cold.ship(stream, batches, false)
  for (const world of [hot, cold]) {
    const { records } = await world.search('rare OR n6 OR n69', { order: 'oldest' })
    expect(records.map(({ offset }) => offset)).toEqual([5, 6, 25, 45, 65, 69])
    expect((await world.count('common', { limit: 1 })).count).toBe(66)
  }
})

describe('incarnations of a topic', () => {
  const [old] = logs
  const renewed = streamOf('orders', RENEWED, 0)
  const one = (offset: number, text: string): CanonicalBatch =>
    encodeBatch([{ offset, timestamp: START, key: null, value: Buffer.from(text), headers: [] }])
  const idsIn = async (world: World, flags: SelectionFlags): Promise<string[]> => {
    const { records } = await world.search('apple', flags)
    return [...new Set(records.map(({ topicId }) => topicId))].sort()
  }

  test.for<['hot' | 'cold']>([['hot'], ['cold']])('the newest is meant unless told, when it is %s', async ([where]) => {
    await using world = await World.make()
    await world.ship(old!.stream, old!.batches, false)
    // Roots carry times in milliseconds.
    while (new Date().toISOString() <= (await world.archive.walk(old!.stream)).root!.createdAt) await Promise.resolve()
    if (where === 'hot') await world.capture(renewed, [one(0, 'apple')])
    else await world.ship(renewed, [one(0, 'apple')], false)
    expect(await idsIn(world, {})).toEqual([RENEWED])
    expect(await idsIn(world, { topicId: ORDERS })).toEqual([ORDERS])
    expect(await idsIn(world, { allIncarnations: true })).toEqual([ORDERS, RENEWED])
    // A partition that the newest does not have is not taken from an older one.
    await world.ship(logs[1]!.stream, logs[1]!.batches, false)
    expect(await idsIn(world, { partition: 1 })).toEqual([])
  })
})

describe('what stands of the captures', () => {
  const entry = (baseOffset: number, lastOffset: number, more: Partial<WalEntry> = {}): WalEntry => {
    const facts = { crc: baseOffset, leaderEpoch: 0, flags: 0, bytes: 100, appendedMs: 0 }
    return { file: 1, id: 1, position: 0, baseOffset, lastOffset, ...facts, ...more }
  }
  const ids = (entries: readonly WalEntry[], end = 0): number[] => standing(entries, end).map(({ id }) => id)

  test('a retried batch is shown though it is not settled', () => {
    expect(ids([entry(0, 4, { id: 1, flags: FrameFlag.PROVISIONAL }), entry(5, 9, { id: 2 })])).toEqual([1, 2])
  })
  test('of two at one offset the later one stands', () => {
    expect(ids([entry(0, 4, { id: 1, crc: 1 }), entry(0, 4, { id: 2, crc: 2 }), entry(5, 9, { id: 3 })])).toEqual([
      2, 3
    ])
  })
  test('the broker has the last word', () => {
    expect(ids([entry(0, 4, { id: 1, flags: FrameFlag.FETCHED }), entry(0, 4, { id: 2, crc: 2 })])).toEqual([1])
  })
  test('what overlaps is left out', () => {
    const provisional = { flags: FrameFlag.PROVISIONAL }
    expect(ids([entry(0, 4, { id: 1 }), entry(3, 7, { id: 2, ...provisional }), entry(5, 9, { id: 3 })])).toEqual([
      1, 3
    ])
    expect(ids([entry(0, 4, { id: 1, ...provisional }), entry(3, 7, { id: 2, ...provisional })])).toEqual([1])
  })
  test('what the archive has is left out', () => {
    expect(ids([entry(0, 4, { id: 1 }), entry(5, 9, { id: 2 })], 5)).toEqual([2])
  })
})
