// What the pipeline says of what it could not archive: over a real WAL, with a sealer that does as the test says.
import pino from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { MillraceError } from '../../src/errors.ts'
import { Pipeline } from '../../src/pipeline/pipeline.ts'
import type { SealStep } from '../../src/sealing/seal-step.ts'
import type { Sealer } from '../../src/sealing/sealer.ts'
import { Wal } from '../../src/wal/wal.ts'
import { noGaps } from '../sealing/no-gaps.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { captured, orders } from '../wal/batches.ts'

const other = { ...orders, topic: 'other', topicId: 'EBESExQVFhcYGRobHB0eHw' }

/** A pipeline that seals at once whatever it captures. */
async function start(sealNext: Sealer['sealNext']): Promise<{ wal: Wal; pipeline: Pipeline }> {
  const folder = await tempFolder('unarchived')
  const walMaxBytes = 64 * 1024 * 1024
  const wal = await Wal.open({ directory: folder.path, maxBytes: walMaxBytes })
  const sealer = { sealNext } as Sealer
  const logger = pino({ level: 'silent' })
  const pipeline = new Pipeline({
    wal,
    clusterId: orders.clusterId,
    sealer,
    gaps: noGaps,
    logger,
    segmentBytes: 1024 * 1024,
    segmentMs: 1,
    walMaxBytes
  })
  pipeline.start()
  onTestFinished(async () => {
    await pipeline[Symbol.asyncDispose]()
    await wal.close()
    await folder.dispose()
  })
  return { wal, pipeline }
}

test('what is left of another cluster is neither sealed nor waited for', async () => {
  const sealed: string[] = []
  const { wal, pipeline } = await start(async key => {
    sealed.push(key.clusterId)
    wal.releaseStreams([key])
    return { progressed: true, end: 1, covered: 1 }
  })
  await wal.append([captured(0, { stream: { ...orders, clusterId: 'another' } })])
  await pipeline.capture([captured(0)])
  await until(() => pipeline.unarchived().length === 0, { what: 'what is ours is archived' })
  expect((await pipeline.flush({ timeoutMs: 1_000 })).partitions).toEqual([])
  expect(sealed).toEqual([orders.clusterId])
  expect(wal.streams()).toMatchObject([{ key: { clusterId: 'another' } }])
})

test('what is captured is unarchived until the WAL lets go of it', async () => {
  const { wal, pipeline } = await start(async () => new Promise(() => {}))
  expect(pipeline.unarchived()).toEqual([])
  const began = Date.now()
  const batches = [captured(0), captured(1), captured(7, { stream: other })]
  await pipeline.capture(batches)
  const [first, second] = pipeline.unarchived()
  expect(first).toMatchObject({ key: orders, unreleasedBatches: 2, firstOffset: 0, lastOffset: 1 })
  expect(second).toMatchObject({ key: other, unreleasedBatches: 1, firstOffset: 7, lastOffset: 7 })
  expect(first!.oldestAppend).toBeGreaterThanOrEqual(began)
  const bytes = batches.flatMap(({ chunks }) => chunks).reduce((sum, { length }) => sum + length, 0)
  expect(first!.unreleasedBytes + second!.unreleasedBytes).toBe(bytes)
  wal.release([1, 2, 3].map(id => ({ file: 1, id })))
  expect(pipeline.unarchived()).toEqual([])
})

test('the cause is the last failure of that partition, until it gets on', async () => {
  let outcome: () => SealStep = () => {
    throw new MillraceError('STORE_FAILED', 'the bucket is away')
  }
  const { pipeline } = await start(async () => outcome())
  await pipeline.capture([captured(0)])
  const causeIs = (text: string) =>
    until(() => pipeline.unarchived()[0]!.cause === text, { what: `the cause "${text}"`, interval: 5 })
  await causeIs('the bucket is away')
  expect(pipeline.sealingFailures).toBe(1)

  outcome = () => ({ progressed: false, end: 0, covered: 0 })
  await causeIs('the high watermark is not past what was captured from offset 0 on')
  outcome = () => ({ progressed: true, end: 0, covered: 0 })
  await causeIs('its turn to be sealed has not come')
  expect(pipeline.sealingFailures).toBe(1)
})

test('while a seal hangs, it is what the other partitions wait for', async () => {
  const hung = Promise.withResolvers<SealStep>()
  const { pipeline } = await start(() => hung.promise)
  await pipeline.capture([captured(0), captured(0, { stream: other })])
  const waits = /^orders-0 has been under way to the archive for \d+ s$/
  await until(() => pipeline.unarchived().every(({ cause }) => waits.test(cause)), { what: 'both wait', interval: 5 })
  hung.resolve({ progressed: false, end: 0, covered: 0 })
})

test('a flush that fails counts and is told as any other', async () => {
  const failing = new MillraceError('STORE_FAILED', 'the bucket is gone', { retriable: false })
  const { pipeline } = await start(async () => {
    throw failing
  })
  await pipeline.capture([captured(0)])
  const before = pipeline.sealingFailures
  await expect(pipeline.flush({ timeoutMs: 1_000 })).rejects.toThrow('the bucket is gone')
  expect(pipeline.sealingFailures).toBeGreaterThan(before)
  expect(pipeline.unarchived()[0]!.cause).toBe('the bucket is gone')
})
