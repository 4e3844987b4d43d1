// What a partition's log may look like when it is sealed without a capture: nothing of it stops the sealer. The broker here is a
// list of batches; all else is real.
import { join } from 'node:path'
import pino from 'pino'
import { afterEach, expect, test, vi } from 'vitest'
import { WarmSegments } from '../../src/archive/warm-segments.ts'
import { Sealer } from '../../src/sealing/sealer.ts'
import { SegmentBuilder } from '../../src/sealing/segment-builder.ts'
import { SegmentReader } from '../../src/segment/reader.ts'
import { Wal } from '../../src/wal/wal.ts'
import { batchAt, smallArchive } from '../archive/small-archive.ts'
import { tempFolder } from '../support/temp.ts'
import { captured, orders } from '../wal/batches.ts'
import type { FakeBroker } from './fake-broker.ts'
import { fakeBroker } from './fake-broker.ts'

afterEach(() => void vi.useRealTimers())

/** Nothing captured, a sealer, and what it seals into. */
async function openWorld({ broker }: FakeBroker) {
  await using opened = new AsyncDisposableStack()
  const temp = await tempFolder('stalls')
  opened.defer(() => temp.dispose())
  const small = opened.use(await smallArchive())
  const walDirectory = join(temp.path, 'wal')
  const wal = await Wal.open({ directory: walDirectory, maxBytes: 2 ** 30 })
  opened.defer(() => wal.close())
  const sealer = new Sealer({
    wal,
    builder: opened.use(new SegmentBuilder({ walDirectory, maxDecompressedBytes: 2 ** 20 })),
    archive: small.archive,
    warm: new WarmSegments(join(temp.path, 'warm'), 0),
    broker,
    logger: pino({ level: 'silent' }),
    directory: join(temp.path, 'building'),
    segmentBytes: 2 ** 20,
    createdBy: 'test'
  })
  const parts = opened.move()
  return {
    small,
    wal,
    async seal() {
      let step = await sealer.sealNext(orders, { toHighWatermark: true, begin: 0 })
      while (step.progressed) step = await sealer.sealNext(orders, { toHighWatermark: true, begin: 0 })
      return step
    },
    /** Where the archive begins and ends, where its batches and extras begin, and its gaps. */
    async archived() {
      const { root, links, end, extras } = await small.archive.walk(orders)
      const batches: number[] = []
      for (const { key } of links) {
        const reader = await SegmentReader.open(small.archive.source(key))
        for await (const { header } of reader.batches()) batches.push(header.baseOffset)
      }
      const gaps = links.flatMap(({ manifest }) => manifest.gaps.map(({ from, to, reason }) => ({ from, to, reason })))
      const extraOffsets = extras.map(({ key }) => Number(/extra\/(\d+)-/.exec(key)![1]))
      return { root: root?.baseOffset, end, batches, gaps, extras: extraOffsets }
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync()
  }
}

test('an archive begins with the batch into which the log’s start was moved', async () => {
  await using world = await openWorld(fakeBroker([batchAt(0, 1, 2), batchAt(3, 4, 5), batchAt(6, 7)], { start: 4 }))
  expect(await world.seal()).toEqual({ progressed: false, end: 8 })
  expect(await world.archived()).toEqual({ root: 3, end: 8, batches: [3, 6], gaps: [], extras: [] })
  expect(world.wal.streams()).toEqual([])
})

test('a batch that an election put over the archive’s end is put beside it, and the archive goes on behind', async () => {
  const since = batchAt(...Array.from({ length: 10 }, (_, i) => 10 + i))
  await using world = await openWorld(fakeBroker([batchAt(0, 9), since, batchAt(20, 21)]))
  await world.small.append(orders, { batches: [batchAt(0, 9), batchAt(10, 14)], nextOffset: 15 })
  expect(await world.seal()).toEqual({ progressed: false, end: 22 })
  const gaps = [{ from: 15, to: 20, reason: 'truncated' }]
  expect(await world.archived()).toEqual({ root: 0, end: 22, batches: [0, 10, 20], gaps, extras: [10] })
  expect(world.wal.streams()).toEqual([])
})

test('of a compacted log one fetch brings all that it has room for', async () => {
  const fake = fakeBroker([batchAt(4, 5), batchAt(10, 11), batchAt(20, 21), batchAt(22, 23)])
  await using world = await openWorld(fake)
  expect(await world.seal()).toEqual({ progressed: false, end: 24 })
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
  expect(await world.seal()).toEqual({ progressed: false, end: start + 2 })
  const gaps = [{ from: 2, to: start, reason: 'retention' }]
  expect(await world.archived()).toEqual({ root: 0, end: start + 2, batches: [0, start], gaps, extras: [] })
})

test('a topic that is deleted before anything of it was captured gets no archive', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  await using world = await openWorld(fakeBroker([], { topicId: 'another' }))
  await expect(world.seal()).rejects.toThrow('does not know topic')
  vi.advanceTimersByTime(5_000)
  expect(await world.seal()).toEqual({ progressed: false, end: 0 })
  expect((await world.archived()).root).toBeUndefined()
})

test('what an election took back where nobody writes any more is put aside in the end, and only that', async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() })
  const { broker } = fakeBroker([batchAt(0, 9)])
  // The log goes on to 13 in the epoch of now, of which the high watermark is behind; of the one before it has all up to 10.
  const ends = new Map([
    [3, 10],
    [4, 13]
  ])
  await using world = await openWorld({ broker: Object.assign(broker, { epochEnds: async () => ends }), fetches: [] })
  const epochs = [3, 3, 4, 4, -1]
  await world.wal.append(epochs.map((leaderEpoch, i) => ({ ...captured(10 + i, { seed: `${i}` }), leaderEpoch })))
  await world.seal()
  expect((await world.archived()).extras).toEqual([])
  vi.advanceTimersByTime(61_000)
  expect(await world.seal()).toEqual({ progressed: false, end: 10 })
  expect(await world.archived()).toMatchObject({ end: 10, batches: [0], extras: [10, 11, 13] })
  expect(world.wal.streams()).toMatchObject([{ firstOffset: 12, lastOffset: 14 }])
})
