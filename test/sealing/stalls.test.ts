// What a partition's log may look like when it is sealed without a capture: nothing of it stops the sealer. The broker here is a
// list of batches; all else is real.
import { readdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { MillraceError } from '../../src/errors.ts'
import { CanonicalBatch } from '../../src/kafka/batch.ts'
import { FrameFlag } from '../../src/wal/frame.ts'
import type { CapturedBatch } from '../../src/wal/wal.ts'
import { batchAt } from '../archive/small-archive.ts'
import { captured, orders } from '../wal/batches.ts'
import { fakeBroker, flipped, inEpoch } from './fake-broker.ts'
import { openWorld } from './small-world.ts'

/**
 * Messages 2 to 10: three of format 0, three of format 1, and three of format 1 in one that is compressed with gzip. Written by
 * MemoryRecordsBuilder of kafka-clients 2.8.2.
 */
const oldMessages = Buffer.from(
  '0000000000000002000000177dc2b9eb0000000000026b300000000776616c756520300000000000000003000000179160c5120000000000026b31' +
    '0000000776616c756520310000000000000004000000177ff746580000000000026b320000000776616c7565203200000000000000050000001f' +
    'e1ed3067010000000145f680b000000000026b300000000776616c7565203000000000000000060000001fe21dfa7f010000000145f680b00100' +
    '0000026b310000000776616c7565203100000000000000070000001fe60ca457010000000145f680b002000000026b320000000776616c756520' +
    '32000000000000000a0000006d7ac528e5010100000145f680b002ffffffff000000571f8b08000000000000ff63608003f9876f0dd219810c46' +
    'd76f0d1b40224cd9064092bd2c31a73455c100aa0ca442fe91ecaf7ab85246b05243845243a8522690d2673c4bc2e14a99c04a8d104a8d009e18' +
    '21df81000000',
  'hex'
)

afterEach(() => void vi.useRealTimers())

test('an archive begins with the batch into which the log’s start was moved', async () => {
  await using world = await openWorld(fakeBroker([batchAt(0, 1, 2), batchAt(3, 4, 5), batchAt(6, 7)], { start: 4 }))
  expect(await world.seal()).toMatchObject({ progressed: false, end: 8 })
  expect(await world.archived()).toEqual({ root: 3, end: 8, batches: [3, 6], gaps: [], extras: [] })
  expect(world.wal.streams()).toEqual([])
})

test.each(['append', 'putExtra'] as const)('no file is kept of what the archive does not take: %s', async put => {
  await using world = await openWorld(fakeBroker([batchAt(0), batchAt(1)]))
  await world.small.append(orders, { batches: [batchAt(0)], nextOffset: 1 })
  await world.wal.append([captured(0, { seed: 'another' })])
  vi.spyOn(world.small.archive, put).mockRejectedValue(new MillraceError('STORE_FAILED', 'no room'))
  await expect(world.seal()).rejects.toThrow('no room')
  expect(await readdir(world.building)).toEqual([])
})

test('what is archived is let go of also where no local copy of its segment can be kept', async () => {
  await using world = await openWorld(fakeBroker([batchAt(0), batchAt(1)]))
  await writeFile(join(dirname(world.building), 'warm'), 'a file in the place of the folder')
  await world.wal.append([captured(0)])
  expect(await world.seal()).toMatchObject({ progressed: false, end: 2 })
  expect(world.wal.streams()).toEqual([])
})

test('what was captured from another cluster waits for it', async () => {
  await using world = await openWorld(fakeBroker([batchAt(0, 1)]))
  const stream = { ...orders, clusterId: 'another' }
  await world.wal.append([captured(0, { stream }), captured(3, { stream })])
  await expect(world.sealer.sealNext(stream, { toHighWatermark: true })).rejects.toMatchObject({
    message: `orders-0 was captured from the cluster another, this is ${orders.clusterId}`,
    retriable: true
  })
  expect((await world.small.archive.walk(stream)).root).toBeNull()
  expect(world.wal.streams()).toMatchObject([{ key: stream, unreleasedBatches: 2 }])
})

test('a batch that an election put over the archive’s end is put beside it, and the archive goes on behind', async () => {
  const since = batchAt(...Array.from({ length: 10 }, (_, i) => 10 + i))
  await using world = await openWorld(fakeBroker([batchAt(0, 9), since, batchAt(20, 21)]))
  await world.small.append(orders, { batches: [batchAt(0, 9), batchAt(10, 14)], nextOffset: 15 })
  expect(await world.seal()).toMatchObject({ progressed: false, end: 22 })
  const gaps = [{ from: 15, to: 20, reason: 'truncated' }]
  expect(await world.archived()).toEqual({ root: 0, end: 22, batches: [0, 10, 20], gaps, extras: [10] })
  expect(world.wal.streams()).toEqual([])
})

test('of a compacted log one fetch brings all that it has room for', async () => {
  const fake = fakeBroker([batchAt(4, 5), batchAt(10, 11), batchAt(20, 21), batchAt(22, 23)])
  await using world = await openWorld(fake)
  expect(await world.seal()).toMatchObject({ progressed: false, end: 24 })
  const gaps = [
    { from: 0, to: 4, reason: 'compacted' },
    { from: 6, to: 10, reason: 'compacted' },
    { from: 12, to: 20, reason: 'compacted' }
  ]
  expect(await world.archived()).toEqual({ root: 0, end: 24, batches: [4, 10, 20, 22], gaps, extras: [] })
  expect(fake.fetches).toEqual([0])
})

test('retention may take more offsets at once than an index can tell of', async () => {
  const start = 3 * 2 ** 31
  await using world = await openWorld(fakeBroker([batchAt(start, start + 1)], { start }))
  await world.small.append(orders, { batches: [batchAt(0, 1)], nextOffset: 2 })
  expect(await world.seal()).toMatchObject({ progressed: false, end: start + 2 })
  const gaps = [{ from: 2, to: start, reason: 'retention' }]
  expect(await world.archived()).toEqual({ root: 0, end: start + 2, batches: [0, start], gaps, extras: [] })
})

test('a topic that is deleted before anything of it was captured gets no archive', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  await using world = await openWorld(fakeBroker([], { topicId: 'another' }))
  await expect(world.seal()).rejects.toThrow('does not know topic')
  vi.advanceTimersByTime(5_000)
  expect(await world.seal()).toMatchObject({ progressed: false, end: 0 })
  expect((await world.archived()).root).toBeUndefined()
})

test('what a topic had without its being captured is a gap when it has been deleted, also where nothing was captured', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  for (const captures of [[], [captured(3)]]) {
    await using world = await openWorld(fakeBroker([], { topicId: 'another' }))
    if (captures.length > 0) await world.wal.append(captures)
    await expect(world.seal({ seenEnd: 7 })).rejects.toThrow('does not know topic')
    vi.advanceTimersByTime(5_000)
    expect(await world.seal({ seenEnd: 7 })).toMatchObject({ progressed: false, end: 7 })
    const ranges = captures.length === 0 ? [[0, 7] as const] : [[0, 3] as const, [4, 7] as const]
    const gaps = ranges.map(([from, to]) => ({ from, to, reason: 'unavailable' }))
    expect(await world.archived()).toMatchObject({ root: 0, end: 7, batches: captures.map(() => 3), gaps })
    expect(world.wal.streams()).toEqual([])
  }
})

test('a topic that another broker knows is not gone, however long the one that is asked has not heard of it', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  await using world = await openWorld(fakeBroker([], { topicId: 'another', isKnownElsewhere: true }))
  for (let i = 0; i < 3; i++) {
    await expect(world.seal({ seenEnd: 7 })).rejects.toThrow('does not know topic')
    vi.advanceTimersByTime(60_000)
  }
})

test('messages of the formats 0 and 1 are a gap, however many there are, and what follows is archived', async () => {
  const fake = fakeBroker([batchAt(11, 12), batchAt(13, 14)], { start: 2, before: oldMessages })
  await using world = await openWorld(fake)
  expect(await world.seal()).toMatchObject({ progressed: false, end: 15 })
  const gaps = [{ from: 2, to: 11, reason: 'unsupported' }]
  expect(await world.archived()).toEqual({ root: 2, end: 15, batches: [11, 13], gaps, extras: [] })
})

test('a batch with flipped bits on the broker’s disk is a gap, unless it was captured, and what follows is archived', async () => {
  const fake = fakeBroker([batchAt(0, 1), flipped(batchAt(2, 3)), batchAt(4), flipped(batchAt(5, 6)), batchAt(7)])
  await using world = await openWorld(fake)
  await world.wal.append([
    { ...captured(5), lastOffset: 6, recordCount: 2, chunks: [batchAt(5, 6).toWire()] },
    captured(7)
  ])
  expect(await world.seal()).toMatchObject({ progressed: false, end: 8 })
  const gaps = [{ from: 2, to: 4, reason: 'damaged' }]
  expect(await world.archived()).toEqual({ root: 0, end: 8, batches: [0, 4, 5, 7], gaps, extras: [] })
  expect(world.wal.streams()).toEqual([])
})

test('what was fetched before an election that took it back is fetched again', async () => {
  const ends = new Map([
    [3, 10],
    [4, 13]
  ])
  const log = [inEpoch(3, batchAt(0, 9)), inEpoch(4, batchAt(10, 11)), inEpoch(4, batchAt(12))]
  const fake = fakeBroker(log, { epochEnds: ends })
  await using world = await openWorld(fake)
  const fetchedBefore = [log[0]!, inEpoch(3, batchAt(10, 12))]
  await world.wal.append(
    fetchedBefore.map(batch => ({
      ...batch.header,
      stream: orders,
      flags: FrameFlag.FETCHED,
      chunks: [batch.toWire()]
    }))
  )
  expect(await world.seal()).toMatchObject({ progressed: false, end: 13 })
  expect(await world.archived()).toEqual({ root: 0, end: 13, batches: [0, 10, 12], gaps: [], extras: [10] })
  expect(world.wal.streams()).toEqual([])
})

test('a broker whose epochs contradict its own log is believed in what it gives', async () => {
  const fake = fakeBroker([inEpoch(3, batchAt(0, 9))], { epochEnds: new Map([[3, 4]]) })
  await using world = await openWorld(fake)
  expect(await world.seal()).toMatchObject({ progressed: false, end: 10 })
  expect(await world.archived()).toMatchObject({ end: 10, batches: [0] })
})

test('what an election took back where nobody writes any more is put aside: what the log does not reach, and what it has not', async () => {
  // The log goes on to 13 in the epoch of now, of which the high watermark is behind; of the one before it has all up to 10.
  const ends = new Map([
    [3, 10],
    [4, 13]
  ])
  await using world = await openWorld(fakeBroker([batchAt(0, 9)], { epochEnds: ends }))
  const epochs = [3, 3, 4, 4, -1]
  await world.wal.append(epochs.map((leaderEpoch, i) => ({ ...captured(10 + i, { seed: `${i}` }), leaderEpoch })))
  // From here on, for the WAL's thread has a clock of its own.
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() })
  await world.seal()
  expect((await world.archived()).extras).toEqual([]) // they may have come since the log's end was asked for
  vi.advanceTimersByTime(6_000)
  await world.seal()
  expect((await world.archived()).extras).toEqual([13, 14])
  vi.advanceTimersByTime(61_000)
  expect(await world.seal()).toMatchObject({ progressed: false, end: 10 })
  expect(await world.archived()).toMatchObject({ end: 10, batches: [0], extras: [10, 11, 13, 14] })
  expect(world.wal.streams()).toMatchObject([{ firstOffset: 12, lastOffset: 12 }])
})

test('what an election took back is put aside also when the clock has been set back since it was captured', async () => {
  await using world = await openWorld(fakeBroker([batchAt(0, 9)], { epochEnds: new Map([[3, 10]]) }))
  await world.wal.append([{ ...captured(10), leaderEpoch: 3 }])
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 3_600_000 })
  await world.seal()
  expect(await world.archived()).toMatchObject({ end: 10, batches: [0], extras: [10] })
})

test('what an unclean election put in the place of what is archived is put beside it, once for each election', async () => {
  const [all, most] = [inEpoch(1, batchAt(0, 4)), inEpoch(2, batchAt(5, 6))]
  const archived = [all, most, inEpoch(2, batchAt(7, 9)), inEpoch(3, batchAt(10, 14))]
  const log = [all, most, inEpoch(4, batchAt(7, 8)), inEpoch(4, batchAt(9, 12))]
  const ends = new Map([
    [1, 5],
    [2, 7],
    [3, 0],
    [4, 13]
  ])
  const fake = fakeBroker(log, { epochEnds: ends })
  await using world = await openWorld(fake)
  await world.small.append(orders, { batches: archived, nextOffset: 15 })
  // One of them is captured too.
  const replacing = { ...captured(7), lastOffset: 8, recordCount: 2, chunks: [inEpoch(4, batchAt(7, 8)).toWire()] }
  await world.wal.append([replacing])
  for (let time = 0; time < 2; time++) {
    expect(await world.seal()).toEqual({ progressed: false, end: 15, covered: 13 })
    expect(await world.archived()).toEqual({ root: 0, end: 15, batches: [0, 5, 7, 10], gaps: [], extras: [7, 9] })
    expect(fake.fetches).toEqual([7])
  }
  // The next one takes back a part of that.
  log.splice(3, 1, inEpoch(5, batchAt(9, 10, 11, 12)))
  ends.set(4, 9).set(5, 13)
  expect(await world.seal()).toEqual({ progressed: false, end: 15, covered: 13 })
  expect((await world.archived()).extras).toEqual([7, 9, 9])
  expect(fake.fetches).toEqual([7, 7])
  expect(world.wal.streams()).toEqual([])
})

test('of many batches in the place of what is archived a hundred are put beside it at a time', async () => {
  const replacing = Array.from({ length: 150 }, (_, i) => inEpoch(4, batchAt(2 * i, 2 * i + 1)))
  const fake = fakeBroker([...replacing, inEpoch(4, batchAt(300, 309))], {
    epochEnds: new Map([
      [3, 0],
      [4, 310]
    ])
  })
  await using world = await openWorld(fake)
  await world.small.append(orders, { batches: [inEpoch(3, batchAt(0, 304))], nextOffset: 305 })
  expect(await world.sealOnce()).toEqual({ progressed: true, end: 305, covered: 200 })
  expect((await world.archived()).extras).toHaveLength(100)
  expect(await world.seal()).toMatchObject({ progressed: false, end: 310, covered: 310 })
  expect((await world.archived()).extras).toHaveLength(151)
})

test('where the log has none of the archived epochs, all of it is put beside, also if the topic’s batches are rewritten', async () => {
  const ends = new Map([
    [3, 0],
    [5, 10]
  ])
  const fake = fakeBroker([inEpoch(5, batchAt(0, 2, 9))], { epochEnds: ends, compressionType: () => 'gzip' })
  await using world = await openWorld(fake)
  await world.small.append(orders, {
    batches: [inEpoch(3, batchAt(0, 1, 9)), inEpoch(3, batchAt(10, 11))],
    nextOffset: 12
  })
  expect(await world.seal()).toMatchObject({ progressed: false, end: 12 })
  expect(await world.archived()).toMatchObject({ end: 12, batches: [0, 10], extras: [0] })
})

test('what lacks between much that was captured is fetched without that', async () => {
  const large = (offset: number) => captured(offset, { size: 600_000 })
  const asBatch = ({ chunks, baseOffset }: CapturedBatch) =>
    CanonicalBatch.fromWire(Buffer.concat(chunks)).batch.withBaseOffset(baseOffset)
  const fake = fakeBroker([large(0), large(2), large(4)].flatMap(one => [asBatch(one), batchAt(one.baseOffset + 1)]))
  await using world = await openWorld(fake)
  await world.wal.append([large(0), large(2), large(4)])
  expect(await world.seal()).toMatchObject({ progressed: false, end: 6 })
  expect(await world.archived()).toMatchObject({ batches: [0, 1, 2, 3, 4, 5], gaps: [], extras: [] })
  expect(fake.fetches).toEqual([1, 3, 5])
  expect(fake.fetchedBytes()).toBeLessThan(20_000)
})
