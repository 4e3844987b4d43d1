// A search says how many batches it could not look into, wherever they are, and finds everything beside them.
import { expect, test } from 'vitest'
import type { SelectionFlags } from '../../src/search/selection.ts'
import { FrameFlag } from '../../src/wal/frame.ts'
import { batchAt, smallArchive } from '../archive/small-archive.ts'
import { LIMIT, unreadable } from '../kafka/unreadable.ts'
import { batch, START } from '../segment/segments.ts'
import { flipInWal } from '../support/flip.ts'
import { millrace } from '../support/millrace.ts'
import { ORDERS, streamOf, World } from './world.ts'

const orders = streamOf('orders', ORDERS, 0)
const bad = unreadable.map(([, make]) => make)
/** At 3, 8, 13 and 18, each after three records. */
const batches = bad.flatMap((make, i) => [batch(5 * i, 3), make(5 * i + 3)])
const iso = (time: number): string => new Date(time).toISOString()

const cases: [flags: SelectionFlags, notSearched: number, offsets: number[]][] = [
  [{}, 4, [0, 1, 2, 5, 6, 7, 10, 11, 12, 15, 16, 17]],
  [{ offsets: '4..8' }, 1, [5, 6, 7]],
  [{ offsets: '..3' }, 0, [0, 1, 2]],
  [{ offsets: '9..' }, 3, [10, 11, 12, 15, 16, 17]],
  [{ from: iso(START + 11), to: iso(START + 13) }, 4, [11, 12]],
  [{ from: iso(START + 1_000_000) }, 4, []],
  [{ topic: ['other'] }, 0, []]
]

const tiers: [tier: string, fill: (world: World) => Promise<void>][] = [
  ['the WAL', world => world.capture(orders, batches)],
  ['the archive', world => world.ship(orders, batches, false, LIMIT)],
  [
    'segments without any other batch',
    async world => {
      for (const one of batches) await world.ship(orders, [one], false, LIMIT)
    }
  ],
  [
    'both',
    async world => {
      await world.ship(orders, batches.slice(0, 4), true, LIMIT)
      await world.capture(orders, batches)
    }
  ]
]

test.each(tiers)('in %s', async (_, fill) => {
  await using world = await World.make()
  await fill(world)
  for (const [flags, notSearched, offsets] of cases) {
    const found = await world.search('grain', { order: 'oldest', ...flags }, { maxDecompressedBytes: LIMIT })
    expect(found, JSON.stringify(flags)).toMatchObject({ notSearched })
    const { count, notSearched: notCounted } = await world.count('grain', flags, { maxDecompressedBytes: LIMIT })
    expect({ count, notCounted }, JSON.stringify(flags)).toEqual({ count: offsets.length, notCounted: notSearched })
    expect(found.records.map(({ offset }) => offset)).toEqual(offsets)
  }
})

test('a frame of the WAL that is damaged counts as not searched, and hides nothing else', async () => {
  await using world = await World.make()
  await world.capture(orders, [batchAt(0), batchAt(1), batchAt(2)])
  await flipInWal(world.walFolder, 'record 1')
  const offsetsOf = async (flags: SelectionFlags) => {
    const { records, notSearched } = await world.search('record', { order: 'oldest', ...flags })
    return { notSearched, offsets: records.map(({ offset }) => offset) }
  }
  expect(await offsetsOf({})).toEqual({ notSearched: 1, offsets: [0, 2] })
  expect(await offsetsOf({ offsets: '2..' })).toEqual({ notSearched: 0, offsets: [2] })
  await world.capture(orders, [batchAt(1)], FrameFlag.FETCHED)
  expect(await offsetsOf({})).toEqual({ notSearched: 0, offsets: [0, 1, 2] })
})

test('the command says so on stderr, and with --json after the records', async () => {
  await using small = await smallArchive()
  await small.append(orders, { nextOffset: 20, batches, maxDecompressedBytes: LIMIT })
  const search = async (...more: string[]) => {
    const { code, stdout, stderr } = await millrace(['search', 'number1', '--archive', small.url, ...more])
    expect(code, stderr).toBe(0)
    return { lines: stdout.split('\n').filter(Boolean), stderr }
  }
  const stderr =
    '4 batches could not be searched: their records cannot be read (millrace verify names those that are archived or damaged)\n'
  expect(await search()).toEqual({ lines: [expect.stringContaining('orders-0@1 ')], stderr })
  expect(await search('--count')).toEqual({ lines: ['1'], stderr })
  expect(await search('--count', '--json')).toEqual({ lines: ['{"count":1,"notSearched":4}'], stderr })
  const { lines } = await search('--json')
  expect(lines.map(line => JSON.parse(line))).toEqual([expect.objectContaining({ offset: 1 }), { notSearched: 4 }])
  const whole = await search('--json', '--offsets', '0..3')
  expect(whole).toMatchObject({ lines: [expect.stringContaining('"offset":1')], stderr: '' })
  expect((await search('--count', '--json', '--offsets', '0..3')).lines).toEqual(['{"count":1}'])
})
