// What the pipeline seals when the WAL runs out of room: over a real WAL, with a sealer that only lets go.
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import pino from 'pino'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import { MillraceError } from '../src/errors.ts'
import { Unanswering } from '../src/kafka/broker-connections.ts'
import { Throttled } from '../src/kafka/log-fetches.ts'
import { Pipeline } from '../src/pipeline/pipeline.ts'
import type { Sealer } from '../src/sealing/sealer.ts'
import { WalReader } from '../src/wal/reader.ts'
import type { StreamKey } from '../src/wal/stream.ts'
import { Wal } from '../src/wal/wal.ts'
import { noGaps } from './sealing/no-gaps.ts'
import { tempFolder } from './support/temp.ts'
import { until } from './support/until.ts'
import { captured, orders } from './wal/batches.ts'

const MiB = 2 ** 20
const DAY_MS = 86_400_000

interface World {
  readonly wal: Wal
  readonly pipeline: Pipeline
  readonly directory: string
  /** The partitions that were shipped, in order. */
  readonly shipped: number[]
  readonly logged: { readonly level: string; readonly msg: string; readonly hint?: string }[]
}

afterEach(() => void vi.useRealTimers())

/** One that has started. */
async function start(...args: Parameters<typeof open>): Promise<World> {
  const world = await open(...args)
  world.pipeline.start()
  return world
}

/** Nothing is due by age, and by size only what a test makes so large. `ship` decides what one seal lets go of. */
async function open(
  options: { walMaxBytes: number; reserveBytes?: number },
  ship: (key: StreamKey, release: (count?: number) => void) => Promise<void> = async (_, release) => release()
): Promise<World> {
  const { walMaxBytes, reserveBytes } = options
  const folder = await tempFolder('pipeline')
  const directory = folder.path
  const wal = await Wal.open({ directory, maxBytes: walMaxBytes, reserveBytes })
  const reader = WalReader.open(directory)
  const shipped: number[] = []
  const ends: number[] = []
  const sealer = {
    async sealNext(key: StreamKey) {
      const rows = reader.entries(key).filter(({ file, id }) => !wal.isReleased(file, id))
      await ship(key, count => wal.release(rows.slice(0, count)))
      shipped.push(key.partition)
      ends[key.partition] = Math.max(ends[key.partition] ?? 0, ...rows.map(({ lastOffset }) => lastOffset + 1))
      return { progressed: true, end: ends[key.partition] }
    }
  } as unknown as Sealer
  const logged: World['logged'] = []
  const levels = { formatters: { level: (level: string) => ({ level }) } }
  const logger = pino(levels, { write: (line: string) => void logged.push(JSON.parse(line)) })
  const pipeline = new Pipeline({
    wal,
    clusterId: orders.clusterId,
    sealer,
    gaps: noGaps,
    logger,
    segmentBytes: MiB,
    segmentMs: DAY_MS,
    walMaxBytes
  })
  onTestFinished(async () => {
    await pipeline[Symbol.asyncDispose]()
    reader.close()
    await wal.close()
    await folder.dispose()
  })
  return { wal, pipeline, directory, shipped, logged }
}

const partition = (number: number): StreamKey => ({ ...orders, partition: number })

async function bytesIn(directory: string): Promise<number> {
  const sizes = (await readdir(directory)).map(name =>
    stat(join(directory, name)).then(
      ({ size }) => size,
      () => 0
    )
  )
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}

test('500 partitions, none of which is due: no producer is refused, and the space comes back', async () => {
  const walMaxBytes = 8 * MiB
  let appended = 0
  // The next batch of 50 partitions. Throws when the WAL does not take it.
  const produce = async () => {
    const numbers = Array.from({ length: 50 }, (_, i) => (appended + i) % 500)
    const offset = Math.floor(appended / 500)
    appended += numbers.length
    await world.pipeline.capture(numbers.map(i => captured(offset, { stream: partition(i), size: 2_000 })))
  }
  // While 500 ships are made, 1,000 batches come: 2 MiB.
  let producing = true
  let refused: unknown
  const world = await start({ walMaxBytes }, async (_, release) => {
    release()
    if (producing && world.shipped.length % 25 === 0) await produce().catch(error => (refused ??= error))
  })
  const { wal, pipeline, shipped, directory } = world
  while (appended * 2_000 < 2 * walMaxBytes) {
    await until(() => wal.bytes <= walMaxBytes / 2, { what: 'there is less than half in the WAL', interval: 5 })
    await produce()
  }
  producing = false
  expect(refused).toBeUndefined()
  expect(new Set(shipped).size).toBe(500)
  await pipeline.flush({ timeoutMs: 30_000 })
  await until(async () => (await bytesIn(directory)) < 0.4 * walMaxBytes, { what: 'the space is back' })
})

test('partitions that are always due do not keep the others from being sealed', async () => {
  const { wal, pipeline, shipped } = await start({ walMaxBytes: 16 * MiB }, async (key, release) =>
    release(key.partition === 0 ? 1 : undefined)
  )
  await pipeline.capture([captured(0, { stream: partition(1) })])
  for (let i = 0; i < 9; i++) await pipeline.capture([captured(i, { stream: partition(0), size: MiB })])
  await until(() => shipped.includes(1), { what: 'the small one is sealed' })
  expect(wal.health).toEqual({ ok: true })
})

test('only what is in the oldest file is sealed, until the WAL is less than half full', async () => {
  const { pipeline, shipped, wal } = await start({ walMaxBytes: 16 * MiB })
  const size = MiB / 2
  for (let i = 0; i < 20; i++) await pipeline.capture([captured(i, { stream: partition(i), size })])
  await until(() => wal.heldBytes <= 8 * MiB, { what: 'a file is gone' })
  await until(() => shipped.length > 0 && wal.bytes === wal.heldBytes, { what: 'it is deleted' })
  // A file ends at 4 MiB: eight batches of half a MiB.
  expect(shipped.toSorted((a, b) => a - b)).toEqual(Array.from({ length: shipped.length }, (_, i) => i))
  expect(shipped.length).toBeLessThan(10)
})

test.each([
  { what: 'much', size: MiB - 1_000, fileStays: true },
  { what: 'little', size: 100, fileStays: false }
])('a partition of which there is $what, and that cannot be sealed, does not keep the others from it', async kind => {
  const { pipeline, wal, shipped } = await start({ walMaxBytes: 16 * MiB }, async (key, release) => {
    if (key.partition === 0) throw new MillraceError('STORE_FAILED', 'not this one')
    release()
  })
  await pipeline.capture([captured(0, { stream: partition(0), size: kind.size })])
  for (let i = 1; i < 60; i++) {
    await until(() => wal.health.ok, { what: 'there is room' })
    await pipeline.capture([captured(0, { stream: partition(i), size: MiB - 1_000 })])
  }
  expect(shipped).not.toContain(0)
  expect(wal.streams()).toContainEqual(expect.objectContaining({ key: partition(0), unreleasedBatches: 1 }))
  if (kind.fileStays) expect(wal.oldestFile()?.file).toBe(1)
  else await until(() => wal.oldestFile()?.file !== 1, { what: 'its file is gone' })
})

test('on a disk with less free than the reserve, what is in the WAL is sealed at once', async () => {
  const { wal, shipped } = await start({ walMaxBytes: 64 * MiB, reserveBytes: 2 ** 60 })
  await wal.append([captured(0, { stream: partition(1) }), captured(0, { stream: partition(2) })], {
    beyondLimit: true
  })
  await until(() => shipped.length === 2, { what: 'both are sealed' })
  await until(() => wal.bytes === wal.heldBytes && wal.heldBytes < 100_000, { what: 'their file is deleted' })
})

test('before its start nothing is looked for or sealed, and a flush is refused: what is watched is not known yet', async () => {
  const lookAgain = vi.spyOn(noGaps, 'lookAgain')
  onTestFinished(() => lookAgain.mockRestore())
  const { pipeline, shipped } = await open({ walMaxBytes: 16 * MiB })
  await pipeline.capture([captured(0, { stream: partition(0), size: MiB })])
  await expect(pipeline.flush({ timeoutMs: 1 })).rejects.toMatchObject({ code: 'WORKER_UNREACHABLE', retriable: true })
  expect(lookAgain).not.toHaveBeenCalled()
  expect(shipped).toEqual([])
  pipeline.start()
  await until(() => shipped.length === 1, { what: 'it is sealed' })
})

test('what failed is tried again, also when the clock has been set back meanwhile', async () => {
  const failing = Promise.withResolvers<void>()
  let tries = 0
  const { pipeline, shipped } = await start({ walMaxBytes: 16 * MiB }, async (_, release) => {
    if (tries++ > 0) return release()
    failing.resolve()
    throw new MillraceError('STORE_FAILED', 'not yet')
  })
  await pipeline.capture([captured(0, { stream: partition(0), size: MiB })])
  await failing.promise
  await until(() => pipeline.sealingFailures === 1, { what: 'it has failed' })
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - DAY_MS })
  await until(() => shipped.length === 1, { what: 'it is sealed' })
})

test('what is captured is sealed by its age, also when the clock has been set back meanwhile', async () => {
  const { pipeline, shipped } = await start({ walMaxBytes: 16 * MiB })
  await pipeline.capture([captured(0)])
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 2 * DAY_MS })
  await until(() => shipped.length === 1, { what: 'it is sealed' })
})

test.each([
  [1, ['info']],
  [2, ['info', 'error']]
])('a leader that is away for %d tries is logged as %j', async (tries, levels) => {
  let left = tries
  const { pipeline, shipped, logged } = await start({ walMaxBytes: 16 * MiB }, async (_, release) => {
    if (left-- > 0) throw new MillraceError('BROKER_ERROR', 'orders-0 has no leader', { retriable: true })
    release()
  })
  await pipeline.capture([captured(0, { size: MiB })])
  await until(() => shipped.length === 1, { what: 'it is sealed' })
  expect(logged.map(({ level }) => level)).toEqual(levels)
})

test('a partition that waits for a quota says so once each time, and a flush waits as long', async () => {
  const waits = [400, 500]
  let mutedUntil = 0
  let tries = 0
  const { pipeline, shipped, logged } = await start({ walMaxBytes: 16 * MiB }, async (_, release) => {
    tries += 1
    const now = performance.now()
    if (now >= mutedUntil && waits.length > 0) mutedUntil = now + waits.shift()!
    if (now < mutedUntil) throw new Throttled('Fetch of orders-0', mutedUntil - now)
    release()
  })
  await pipeline.capture([captured(0)]) // which is not due
  await pipeline.flush({ timeoutMs: 30_000 })
  expect(shipped).toEqual([0])
  expect(logged.map(({ level, msg }) => [level, msg])).toEqual([
    ['info', 'orders-0 waits 0.4 s: the quota of client id millrace is used up'],
    ['info', 'orders-0 waits 0.5 s: the quota of client id millrace is used up']
  ])
  expect(logged[0]!.hint).toContain('consumer_byte_rate')
  expect(tries).toBeLessThanOrEqual(5) // a timer may be a little early
})

test('what a leader leads that does not answer is tried each five seconds, and logged as failed once', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  let tries = 0
  const { pipeline, logged } = await start({ walMaxBytes: 16 * MiB }, async () => {
    tries += 1
    throw new Unanswering('127.0.0.1:9092')
  })
  await pipeline.capture([captured(0, { size: MiB })])
  for (let count = 1; count < 8; count++) {
    await vi.waitUntil(() => tries === count, { timeout: 5_000 })
    vi.advanceTimersByTime(5_000)
  }
  expect(logged.map(({ level }) => level)).toEqual(['info', 'error'])
})
