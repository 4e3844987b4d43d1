// What is fetched while the WAL is full and the archive takes nothing: a segment beyond the limit, however many partitions lack
// something, and all of it is archived when the archive takes it again. The broker here is a list of batches; all else is real.
import { join } from 'node:path'
import pino from 'pino'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import { WarmSegments } from '../../src/archive/warm-segments.ts'
import { MillraceError } from '../../src/errors.ts'
import { encodeBatch } from '../../src/kafka/batch.ts'
import { Throttled } from '../../src/kafka/log-fetches.ts'
import { Sealer } from '../../src/sealing/sealer.ts'
import { SegmentBuilder } from '../../src/sealing/segment-builder.ts'
import type { StreamKey } from '../../src/wal/stream.ts'
import { Wal } from '../../src/wal/wal.ts'
import { smallArchive } from '../archive/small-archive.ts'
import { tempFolder } from '../support/temp.ts'
import { captured, orders } from '../wal/batches.ts'
import { fakeBroker } from './fake-broker.ts'

const MiB = 2 ** 20
const SEGMENT_BYTES = MiB
const WAL_BYTES = 4 * MiB
/** What may be in the WAL: up to a fetch beyond the limit when it is reached, then a segment, and a fetch that ends behind it. */
const BOUND = WAL_BYTES + SEGMENT_BYTES + 2 * MiB
const PARTITIONS = 16

const large = (offset: number) =>
  encodeBatch([
    { offset, timestamp: 1_764_072_000_000, key: null, value: Buffer.alloc(240_000, 'a word'), headers: [] }
  ])
const log = Array.from({ length: 5 }, (_, offset) => large(offset))
const streams = Array.from({ length: PARTITIONS }, (_, partition): StreamKey => ({ ...orders, partition }))

afterEach(() => void vi.useRealTimers())

/** Partitions whose archives have begun, and that lack all of their logs; an archive that takes something only if `takes`. */
async function openWorld(more: Partial<Parameters<typeof fakeBroker>[1]> = {}) {
  await using opened = new AsyncDisposableStack()
  const temp = await tempFolder('beyond-limit')
  opened.defer(() => temp.dispose())
  const { archive } = opened.use(await smallArchive())
  const walDirectory = join(temp.path, 'wal')
  const wal = await Wal.open({ directory: walDirectory, maxBytes: WAL_BYTES })
  opened.defer(() => wal.close())
  const sealer = new Sealer({
    wal,
    builder: opened.use(new SegmentBuilder({ walDirectory, maxDecompressedBytes: MiB })),
    archive,
    warm: new WarmSegments(join(temp.path, 'warm'), 0),
    broker: fakeBroker(log, { partitions: PARTITIONS, ...more }).broker,
    logger: pino({ level: 'silent' }),
    directory: join(temp.path, 'building'),
    segmentBytes: SEGMENT_BYTES,
    createdBy: 'test'
  })
  for (const stream of streams) await archive.createRoot(stream, 0, 'test')
  const world = { takes: true }
  const put = archive.store.putIfAbsent.bind(archive.store)
  archive.store.putIfAbsent = async (...args) => {
    if (world.takes) return await put(...args)
    throw new MillraceError('STORE_FAILED', 'nothing is taken')
  }
  const parts = opened.move()
  onTestFinished(() => parts.disposeAsync())
  return Object.assign(world, {
    wal,
    seal: (stream: StreamKey) => sealer.sealNext(stream, { toHighWatermark: true, begin: 0 }),
    /** Tries each once; what came of it, by partition: how far the archive reaches, or the error's code. */
    async sealEach() {
      const results: (number | string)[] = []
      for (const stream of streams) {
        const step = sealer.sealNext(stream, { toHighWatermark: true, begin: 0 })
        results.push(
          await step.then(
            ({ end }) => end,
            error => error.code
          )
        )
        expect(wal.bytes).toBeLessThan(BOUND)
      }
      return results
    }
  })
}

test('while the archive takes nothing, what is fetched of many partitions stays within a segment beyond the limit', async () => {
  const world = await openWorld()
  world.takes = false
  const tries = [await world.sealEach(), await world.sealEach()]
  const bytes = world.wal.bytes
  expect(new Set(tries.flat())).toEqual(new Set(['STORE_FAILED', 'WAL_FULL']))
  for (let i = 0; i < 3; i++) await world.sealEach()
  expect(world.wal.bytes).toBe(bytes) // what they have is not fetched again

  world.takes = true
  for (let i = 0; i < 3; i++) await world.sealEach()
  expect(new Set(await world.sealEach())).toEqual(new Set([log.length]))
  expect(world.wal.streams()).toEqual([])
})

/** A world with a WAL that is full of a partition that is not sealed, the last, and that lacks something of the others. */
async function openFull(more?: Parameters<typeof openWorld>[0]) {
  const world = await openWorld(more)
  const stream = streams.at(-1)!
  for (let i = 0; world.wal.health.ok; i++) {
    await world.wal.append([captured(10 + i, { stream, size: MiB / 2 })])
  }
  return world
}

const full = { code: 'WAL_FULL', retriable: true }

test('where the one that has gone beyond the limit has no leader any more, others may', async () => {
  const leaderless = new Set<number>()
  const world = await openFull({ leaderless })
  const [first, second, third] = streams as [StreamKey, StreamKey, StreamKey]
  world.takes = false
  await expect(world.seal(first)).rejects.toMatchObject({ code: 'STORE_FAILED' })
  await expect(world.seal(second)).rejects.toMatchObject({
    ...full,
    message: 'the WAL has reached its limit of 4194304 bytes: orders-0 has to be archived before more is fetched'
  })
  leaderless.add(0)
  await expect(world.seal(first)).rejects.toMatchObject({ code: 'BROKER_ERROR' })
  await expect(world.seal(second)).rejects.toMatchObject({ code: 'STORE_FAILED' })
  await expect(world.seal(third)).rejects.toMatchObject(full)
  world.takes = true
  expect(await world.seal(second)).toMatchObject({ progressed: true })
  expect(await world.seal(third)).toMatchObject({ progressed: true })
})

test('where only one partition cannot be archived, the others may go beyond the limit in the end', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  const world = await openFull()
  const [first, second, third] = streams as [StreamKey, StreamKey, StreamKey]
  world.takes = false
  await expect(world.seal(first)).rejects.toMatchObject({ code: 'STORE_FAILED' })
  world.takes = true
  await expect(world.seal(second)).rejects.toMatchObject(full)
  vi.advanceTimersByTime(600_000)
  expect(await world.seal(second)).toMatchObject({ progressed: true })
  expect(await world.seal(third)).toMatchObject({ progressed: true })
})

test('one that waits for a quota in the middle of its segment goes first', async () => {
  let isUsedUp = false
  const world = await openFull({
    onFetch: () => {
      if (isUsedUp) throw new Throttled('Fetch', 1_000)
      isUsedUp = true
    }
  })
  const [first, second] = streams as [StreamKey, StreamKey]
  await expect(world.seal(first)).rejects.toThrow(Throttled)
  await expect(world.seal(second)).rejects.toMatchObject(full)
  isUsedUp = false
  expect(await world.seal(first)).toMatchObject({ progressed: true, end: log.length })
  isUsedUp = false
  await expect(world.seal(second)).rejects.toThrow(Throttled)
})
