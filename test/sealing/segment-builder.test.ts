// The segment thread may end, as when it runs out of memory: what it was asked fails and can be tried again, in a new thread.
import { once } from 'node:events'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import pino from 'pino'
import { expect, test } from 'vitest'
import { WarmSegments } from '../../src/archive/warm-segments.ts'
import { Sealer } from '../../src/sealing/sealer.ts'
import { SegmentBuilder } from '../../src/sealing/segment-builder.ts'
import { Wal } from '../../src/wal/wal.ts'
import { batchAt, smallArchive } from '../archive/small-archive.ts'
import { tempFolder } from '../support/temp.ts'
import { captured, orders } from '../wal/batches.ts'
import { fakeBroker } from './fake-broker.ts'

const failed = {
  code: 'SEALING_FAILED',
  retriable: true,
  message: expect.stringContaining('the segment thread has ended')
}

async function openWorld() {
  await using opened = new AsyncDisposableStack()
  const temp = await tempFolder('segment-builder')
  opened.defer(() => temp.dispose())
  const small = opened.use(await smallArchive())
  const walDirectory = join(temp.path, 'wal')
  const wal = await Wal.open({ directory: walDirectory, maxBytes: 2 ** 30 })
  opened.defer(() => wal.close())
  const started = once(process, 'worker')
  const builder = opened.use(new SegmentBuilder({ walDirectory, maxDecompressedBytes: 2 ** 20 }))
  const [thread] = (await started) as [Worker]
  const sealer = new Sealer({
    wal,
    builder,
    archive: small.archive,
    warm: new WarmSegments(join(temp.path, 'warm'), 0),
    broker: fakeBroker([batchAt(0), batchAt(1)]).broker,
    logger: pino({ level: 'silent' }),
    directory: join(temp.path, 'building'),
    segmentBytes: 2 ** 20,
    createdBy: 'test'
  })
  await wal.append([captured(0), captured(1)])
  const parts = opened.move()
  return {
    builder,
    thread,
    wal,
    file: join(temp.path, 'segment.tar.gz'),
    seal: () => sealer.sealNext(orders, { toHighWatermark: false }),
    [Symbol.asyncDispose]: () => parts.disposeAsync()
  }
}

test('a seal whose thread ends fails, and the next one archives', async () => {
  await using world = await openWorld()
  // With its first answer: what is asked next finds it ending.
  world.thread.once('message', () => world.thread.terminate())
  await expect(world.seal()).rejects.toMatchObject(failed)
  expect(await world.seal()).toMatchObject({ progressed: true, end: 2 })
  expect(world.wal.streams()).toEqual([])
})

test('all that waits for a thread that ends fails; another thread builds of what that one has found', async () => {
  await using world = await openWorld()
  const { builder, thread, file } = world
  const rows = await builder.entries(orders, 0, 2, 2 ** 20)
  const range = { baseOffset: 0, nextOffset: 2, gaps: [], previousChainSha256: null, openTransactions: [] }
  const build = () => builder.build({ ...orders, ...range, createdBy: 'test' }, rows, file)
  const waiting = Promise.allSettled([build(), builder.entries(orders, 0, 2, 2 ** 20)])
  void thread.terminate()
  expect(await waiting).toMatchObject([{ reason: failed }, { reason: failed }])
  expect((await build()).manifest).toMatchObject({ batches: 2, records: 2 })
})

test('no thread is started behind the end', async () => {
  await using world = await openWorld()
  await world.builder[Symbol.asyncDispose]()
  await expect(world.seal()).rejects.toMatchObject({ code: 'SEALING_FAILED', retriable: false })
})
