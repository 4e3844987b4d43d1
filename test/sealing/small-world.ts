// A WAL with nothing captured, a sealer, and the archive that it seals into. The broker is a list of batches; all else is real.
import { join } from 'node:path'
import pino from 'pino'
import { WarmSegments } from '../../src/archive/warm-segments.ts'
import { Sealer } from '../../src/sealing/sealer.ts'
import { SegmentBuilder } from '../../src/sealing/segment-builder.ts'
import { SegmentReader } from '../../src/segment/reader.ts'
import { Wal } from '../../src/wal/wal.ts'
import { smallArchive } from '../archive/small-archive.ts'
import { tempFolder } from '../support/temp.ts'
import { orders } from '../wal/batches.ts'
import type { FakeBroker } from './fake-broker.ts'

/** What is in it, and what is to be disposed of. */
export async function openWorld({ broker }: FakeBroker) {
  await using opened = new AsyncDisposableStack()
  const temp = await tempFolder('stalls')
  opened.defer(() => temp.dispose())
  const small = opened.use(await smallArchive())
  const [walDirectory, building] = [join(temp.path, 'wal'), join(temp.path, 'building')]
  const wal = await Wal.open({ directory: walDirectory, maxBytes: 2 ** 30 })
  opened.defer(() => wal.close())
  const sealer = new Sealer({
    wal,
    builder: opened.use(new SegmentBuilder({ walDirectory, maxDecompressedBytes: 2 ** 20 })),
    archive: small.archive,
    warm: new WarmSegments(join(temp.path, 'warm'), 0),
    broker,
    logger: pino({ level: 'silent' }),
    directory: building,
    segmentBytes: 2 ** 20,
    createdBy: 'test'
  })
  const parts = opened.move()
  return {
    small,
    wal,
    walDirectory,
    building,
    sealer,
    sealOnce: () => sealer.sealNext(orders, { toHighWatermark: true, begin: 0 }),
    async seal({ seenEnd = 0 } = {}) {
      const options = { toHighWatermark: true, begin: 0, seenEnd }
      let step = await sealer.sealNext(orders, options)
      while (step.progressed) step = await sealer.sealNext(orders, options)
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
