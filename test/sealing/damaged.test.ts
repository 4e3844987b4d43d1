// Bits that have flipped on a broker's disk, in what was not captured: each flip costs the batch that it is in and no other,
// and stops nothing.
import { PassThrough } from 'node:stream'
import pino from 'pino'
import { describe, expect, test } from 'vitest'
import { Throttled } from '../../src/kafka/log-fetches.ts'
import type { Gap } from '../../src/segment/manifest.ts'
import { batchAt } from '../archive/small-archive.ts'
import { orders } from '../wal/batches.ts'
import type { FakeBroker, LoggedBatch } from './fake-broker.ts'
import { changed, fakeBroker, flipped } from './fake-broker.ts'

const text = ({ from, to, reason }: Gap): string => `${from}-${to} ${reason}`

/** What comes of filling a hole, time and again, until there is no more. */
async function fillAll({ broker }: FakeBroker, { from, to, start = 0 }: { from: number; to: number; start?: number }) {
  const batches: number[] = []
  const gaps: string[] = []
  for (let begin = from; begin < to; ) {
    const filled = await broker.fill(
      orders,
      [{ from: begin, to }],
      { exists: true, start, end: to, leaderEpoch: 1 },
      from
    )
    batches.push(...filled.batches.map(({ header }) => header.baseOffset))
    gaps.push(...filled.gaps.map(text))
    const reached = Math.max(filled.batches.at(-1)?.header.lastOffset ?? -1, ...filled.gaps.map(gap => gap.to - 1))
    if (reached < begin) break
    begin = reached + 1
  }
  return { batches, gaps }
}

const sound = batchAt(0, 1)
const hit = batchAt(2, 3, 4)

interface Case {
  readonly of: string
  readonly log: readonly LoggedBatch[]
  readonly batches: readonly number[]
  readonly gaps: readonly string[]
  readonly from?: number
  readonly start?: number
}

describe('of a log with flipped bits all else is taken, and the gap is what they are in', () => {
  test.each<Case>([
    { of: 'in records', log: [sound, flipped(hit), batchAt(5, 6)], batches: [0, 5], gaps: ['2-5 damaged'] },
    { of: 'in the first batch', log: [flipped(sound), hit], batches: [2], gaps: ['0-2 damaged'] },
    { of: 'in the last batch', log: [sound, flipped(hit)], batches: [0], gaps: ['2-5 damaged'] },
    {
      of: 'in two in a row, and one more',
      log: [flipped(sound), flipped(hit), batchAt(5, 6), flipped(batchAt(7)), batchAt(8)],
      batches: [5, 8],
      gaps: ['0-2 damaged', '2-5 damaged', '7-8 damaged']
    },
    {
      of: 'before what compaction took',
      log: [sound, flipped(hit), batchAt(9)],
      batches: [0, 9],
      gaps: ['2-5 damaged', '5-9 compacted']
    },
    {
      of: 'in a batch in which the log begins',
      log: [flipped(hit), batchAt(5)],
      start: 3,
      batches: [5],
      gaps: ['0-3 retention', '3-5 damaged']
    },
    {
      of: 'in a batch that begins behind what compaction took',
      log: [flipped(hit), batchAt(5)],
      batches: [5],
      gaps: ['0-5 damaged']
    },
    {
      of: 'in the last offset, which is higher: what lies below it can be read',
      log: [
        sound,
        changed(hit, wire => wire.writeInt32BE(7, 23), { ...hit.header, lastOffset: 9 }),
        batchAt(5, 6),
        batchAt(7),
        batchAt(12)
      ],
      batches: [0, 5, 7, 12],
      gaps: ['2-5 damaged', '8-12 compacted']
    },
    {
      of: 'in the last offset, which is lower',
      log: [sound, changed(hit, wire => wire.writeInt32BE(0, 23), { ...hit.header, lastOffset: 2 }), batchAt(5)],
      batches: [0, 5],
      gaps: ['2-5 damaged']
    },
    {
      of: 'in the length, so that nothing that follows in the answer is found',
      log: [sound, changed(hit, wire => wire.writeInt32BE(2 ** 30, 8)), batchAt(5, 6), batchAt(7)],
      batches: [0, 5, 7],
      gaps: ['2-5 damaged']
    },
    {
      of: 'in the length, of two in a row',
      log: [0, 2]
        .map(at => changed(batchAt(at, at + 1), wire => wire.writeInt32BE(-1, 8)))
        .concat([batchAt(4) as never]),
      batches: [4],
      gaps: ['0-2 damaged', '2-4 damaged']
    },
    {
      of: 'in the magic',
      log: [sound, changed(hit, wire => wire.writeUInt8(3, 16)), batchAt(5)],
      batches: [0, 5],
      gaps: ['2-5 damaged']
    },
    {
      of: 'in the codec',
      log: [sound, changed(hit, wire => wire.writeUInt8(7, 22)), batchAt(5)],
      batches: [0, 5],
      gaps: ['2-5 damaged']
    }
  ])('$of', async ({ log, batches, gaps, from = 0, start = 0 }) => {
    const to = log.at(-1)!.header.lastOffset + 1
    expect(await fillAll(fakeBroker(log, { start }), { from, to, start })).toEqual({ batches, gaps })
  })
})

test('what was damaged on the way only is read again, and no gap', async () => {
  const log: LoggedBatch[] = [flipped(sound), hit]
  const fake = fakeBroker(log, { onFetch: count => void (count === 2 && log.splice(0, 1, sound)) })
  expect(await fillAll(fake, { from: 0, to: 5 })).toEqual({ batches: [0, 2], gaps: [] })
  expect(fake.fetches).toEqual([0, 0])
})

test('what is damaged is got past where a quota allows one reading at a time', async () => {
  // Like a broker: once a client has taken more than its quota, the next answer is empty, and the one after it is not.
  let isUsedUp = false
  const fake = fakeBroker([flipped(sound), hit, batchAt(5)], {
    onFetch: () => {
      isUsedUp = !isUsedUp
      if (!isUsedUp) throw new Throttled('Fetch of orders-0', 1_000)
    }
  })
  await expect(fillAll(fake, { from: 0, to: 6 })).rejects.toThrow(Throttled)
  expect(await fillAll(fake, { from: 0, to: 2 })).toEqual({ batches: [], gaps: ['0-2 damaged'] })
  expect(fake.fetches).toEqual([0, 0, 0])
})

test('where the length is damaged in a large batch, few fetches tell where it ends', async () => {
  const large = batchAt(...Array.from({ length: 5_000 }, (_, i) => i))
  const fake = fakeBroker([changed(large, wire => wire.writeInt32BE(2 ** 30, 8)), batchAt(5_000, 100_000)])
  expect(await fillAll(fake, { from: 0, to: 100_001 })).toEqual({ batches: [5_000], gaps: ['0-5000 damaged'] })
  expect(fake.fetches.length).toBeLessThan(25)
})

test('a gap of what is damaged ends where a capture begins', async () => {
  const { broker } = fakeBroker([sound, flipped(hit), batchAt(5)])
  const holes = [
    { from: 2, to: 3 },
    { from: 5, to: 6 }
  ]
  const filled = await broker.fill(orders, holes, { exists: true, start: 0, end: 6, leaderEpoch: 1 }, 0)
  expect(filled).toEqual({ batches: [], gaps: [{ from: 2, to: 3, reason: 'damaged' }] })
})

test('the log names what is damaged', async () => {
  let said = ''
  const logger = pino(
    { level: 'error' },
    new PassThrough().on('data', data => (said += data))
  )
  await fillAll(fakeBroker([sound, flipped(hit)], { logger }), { from: 0, to: 5 })
  expect(
    said
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
  ).toMatchObject([
    { level: 50, from: 2, to: 5, msg: 'damaged: offsets 2 to 4 of orders-0, at the broker; they become a gap' }
  ])
})

test('an archive may begin in a batch that is damaged', async () => {
  expect(await fakeBroker([flipped(hit)]).broker.firstBatch(orders, 3)).toBe(3)
})
