// What cannot be read from the WAL any more when it is sealed, wherever the bits flipped: it comes from the broker, is a gap where
// the broker has it no more, and stops nothing. The broker here is a list of batches; all else is real.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import pino from 'pino'
import { expect, test } from 'vitest'
import { WarmSegments } from '../../src/archive/warm-segments.ts'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { encodeBatch } from '../../src/kafka/batch.ts'
import { Sealer } from '../../src/sealing/sealer.ts'
import { SegmentBuilder } from '../../src/sealing/segment-builder.ts'
import { SegmentReader } from '../../src/segment/reader.ts'
import { FrameFlag } from '../../src/wal/frame.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { Wal } from '../../src/wal/wal.ts'
import { batchAt, smallArchive } from '../archive/small-archive.ts'
import { flipBit, flipInWal } from '../support/flip.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { orders } from '../wal/batches.ts'
import { fakeBroker } from './fake-broker.ts'

const COUNT = 4
const batches = Array.from({ length: COUNT }, (_, i) => batchAt(2 * i, 2 * i + 1))
const end = 2 * COUNT

/** A WAL with the batches, three of them in one commit, and what seals it; the broker's log begins at `brokerStart`. */
async function openWorld({ brokerStart = 0, flags = 0 } = {}) {
  await using opened = new AsyncDisposableStack()
  const temp = await tempFolder('unreadable')
  opened.defer(() => temp.dispose())
  const small = opened.use(await smallArchive())
  const walFolder = join(temp.path, 'wal')
  const openWal = () => Wal.open({ directory: walFolder, maxBytes: 2 ** 30, fileBytes: 700 })
  let wal = await openWal()
  opened.defer(() => wal.close())
  const capture = async (some: typeof batches) =>
    await wal.append(
      some.map(batch => {
        const { baseOffset, lastOffset, recordCount } = batch.header
        return { stream: orders, baseOffset, lastOffset, recordCount, flags, chunks: [batch.toWire()] }
      })
    )
  await capture(batches.slice(0, 3))
  await capture(batches.slice(3))
  const builder = opened.use(new SegmentBuilder({ walDirectory: walFolder, maxDecompressedBytes: 2 ** 20 }))
  let errors = ''
  const said = new PassThrough().on('data', data => (errors += data))
  const { broker } = fakeBroker(batches, { start: brokerStart })
  const seal = async () => {
    const sealer = new Sealer({
      wal,
      builder,
      archive: small.archive,
      warm: new WarmSegments(join(temp.path, 'warm'), 0),
      broker,
      logger: pino({ level: 'error' }, said),
      directory: join(temp.path, 'building'),
      segmentBytes: 2 ** 20,
      createdBy: 'test'
    })
    let step = await sealer.sealNext(orders, { toHighWatermark: false })
    while (step.progressed) step = await sealer.sealNext(orders, { toHighWatermark: false })
    return step
  }
  const parts = opened.move()
  return {
    small,
    walFolder,
    file: join(walFolder, '1.wal'),
    builder,
    seal,
    get wal() {
      return wal
    },
    /** What was logged as an error, one line each. */
    errors: () => errors.split('\n').filter(Boolean),
    async restart() {
      await wal.close()
      wal = await openWal()
    },
    async archived() {
      const wires: string[] = []
      const chain = await small.archive.walk(orders)
      for (const { key } of chain.links) {
        const reader = await SegmentReader.open(small.archive.source(key))
        for await (const batch of reader.batches()) wires.push(batch.withLeaderEpoch(0).toWire().toString('hex'))
      }
      return { wires, end: chain.end, gaps: chain.links.flatMap(({ manifest }) => manifest.gaps) }
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync()
  }
}

type World = Awaited<ReturnType<typeof openWorld>>
const wires = batches.map(batch => batch.withLeaderEpoch(0).toWire().toString('hex'))

async function expectHealed(world: World): Promise<void> {
  expect(await world.archived()).toEqual({ wires, end, gaps: [] })
  expect(world.wal.streams()).toEqual([])
}

async function expectSetAside({ wal, walFolder }: World): Promise<void> {
  // The file that takes appends cannot go: this begins the next one.
  const stream = { ...orders, topic: 'next' }
  await wal.append([{ stream, baseOffset: 0, lastOffset: 1, recordCount: 2, flags: 0, chunks: [batches[0]!.toWire()] }])
  await until(async () => (await readdir(walFolder)).includes('1.damaged'), { what: 'the file is set aside' })
}

test.each([
  ['while the worker runs', false],
  ['while it does not', true]
])('a batch that is damaged %s is archived as the broker has it, wherever it stands', async (_, isDown) => {
  for (const offset of [0, 3, 7]) {
    await using world = await openWorld()
    await flipInWal(world.walFolder, `record ${offset}`)
    if (isDown) await world.restart()
    expect(await world.seal()).toMatchObject({ progressed: false, end })
    await expectHealed(world)
    if (isDown) expect(world.wal.recovery.damage).toHaveLength(1)
    else expect(world.errors()).toEqual([expect.stringMatching(saidOf(offset))])
    await expectSetAside(world)
  }
})

test.each([false, true])('all that was captured may be damaged; down meanwhile: %s', async isDown => {
  await using world = await openWorld()
  for (const offset of [0, 2, 4, 6]) await flipInWal(world.walFolder, `record ${offset}`)
  if (isDown) await world.restart()
  await world.seal()
  await expectHealed(world)
  expect(world.errors()).toHaveLength(isDown ? 0 : 4)
})

test.each([false, true])('what the broker has no more is a gap; down meanwhile: %s', async isDown => {
  await using world = await openWorld({ brokerStart: 4 })
  await flipInWal(world.walFolder, 'record 2')
  if (isDown) await world.restart()
  await world.seal()
  const gaps = [{ from: 2, to: 4, reason: 'retention' }]
  expect(await world.archived()).toMatchObject({ wires: wires.toSpliced(1, 1), end, gaps })
  expect(world.wal.streams()).toEqual([])
  await expectSetAside(world)
})

test('a batch that was fetched and is damaged is fetched again', async () => {
  await using world = await openWorld({ flags: FrameFlag.FETCHED })
  await flipInWal(world.walFolder, 'record 2')
  await world.seal()
  await expectHealed(world)
})

test('a batch that the archive has already is let go of, though it cannot be compared', async () => {
  await using world = await openWorld()
  // Another worker archived it in other bytes: the two would have to be told apart.
  const other = [0, 1, 2, 3].map(i => batchAt(2 * i, 2 * i + 1).withLeaderEpoch(0))
  await world.small.append(orders, { batches: [withOtherTime(other[0]!), ...other.slice(1)], nextOffset: end })
  await flipInWal(world.walFolder, 'record 0')
  expect(await world.seal()).toMatchObject({ progressed: false, end })
  expect(world.wal.streams()).toEqual([])
  expect(world.errors()).toEqual([expect.stringMatching(saidOf(0))])
  await expectSetAside(world)
})

test.each([
  ['not looked at it before', false],
  ['looked at it before', true]
])('a flip in a mark or before a batch stops nothing when the segment thread has %s', async (_, isSeen) => {
  const { length, frames } = await layout()
  // In marks, in the header, and over the first and the last frame's heads.
  const inHead = [frames[0]!, frames.at(-1)!].flatMap(frame => [2, 6, 15, 73].map(at => frame + at))
  for (const position of [4, 60, ...inHead, length - 1]) {
    await using world = await openWorld()
    if (isSeen) await world.builder.entries(orders, 0, end, 2 ** 20)
    await flipBit(world.file, position)
    expect(await world.seal(), `byte ${position}`).toMatchObject({ progressed: false, end })
    await expectHealed(world)
    if (inHead.includes(position)) await expectSetAside(world)
  }
})

test('a start believes no head that is damaged itself', async () => {
  const { frames } = await layout()
  // The lengths of cluster id and topic, and a letter of the topic: what follows is read as something else.
  for (const at of [13, 26, 27, 30, 52]) {
    await using world = await openWorld()
    await flipBit(world.file, frames[1]! + at)
    await world.restart()
    await world.seal()
    await expectHealed(world)
  }
})

/** The size of the file, and where its frames begin. */
async function layout() {
  await using world = await openWorld()
  using reader = WalReader.open(world.walFolder)
  const frames = reader.entries(orders).map(({ position }) => position)
  return { length: (await readFile(world.file)).length, frames }
}

/** The line of the log that names file, byte and offset. */
function saidOf(offset: number): RegExp {
  const base = offset - (offset % 2)
  return new RegExp(`"offset":${base},"msg":"damaged: .*/1\\.wal: frame ${base / 2 + 1}, at byte \\d+: CRC mismatch`)
}

/** The same record but for its time, which a broker may have changed. */
function withOtherTime({ header }: CanonicalBatch): CanonicalBatch {
  const { baseOffset, lastOffset } = header
  const offsets = Array.from({ length: lastOffset - baseOffset + 1 }, (_, i) => baseOffset + i)
  return encodeBatch(offsets.map(offset => ({ offset, timestamp: 1, key: null, value: Buffer.from('x'), headers: [] })))
}
