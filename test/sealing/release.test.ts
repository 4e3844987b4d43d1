// A capture is let go of when the archive holds that batch: with its bytes, or with its records where the broker has changed the
// bytes. Anything else at its offsets, however alike, has it put beside.
import { mkdir, readdir, readFile, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { CanonicalBatch, EncodeOptions } from '../../src/kafka/batch.ts'
import { encodeBatch } from '../../src/kafka/batch.ts'
import type { KafkaRecord } from '../../src/kafka/records.ts'
import { writeSegment } from '../../src/segment/writer.ts'
import type { CapturedBatch } from '../../src/wal/wal.ts'
import { batchAt } from '../archive/small-archive.ts'
import { flipBit, flipInWal } from '../support/flip.ts'
import { captured, orders } from '../wal/batches.ts'
import { fakeBroker, inEpoch } from './fake-broker.ts'
import { openWorld } from './small-world.ts'

afterEach(() => void vi.useRealTimers())

const BASE = 2
const NOW = 1_764_000_000_000

const sent: readonly KafkaRecord[] = [
  { offset: BASE, timestamp: NOW, key: Buffer.from('key'), value: Buffer.from('first'), headers: [] },
  {
    offset: BASE + 1,
    timestamp: NOW + 5,
    key: null,
    value: Buffer.alloc(2_000, 'second'),
    headers: [
      ['trace', Buffer.from('id')],
      ['empty', null]
    ]
  }
]

const withFirst = (change: Partial<KafkaRecord>) => [{ ...sent[0]!, ...change }, sent[1]!]
const withLast = (change: Partial<KafkaRecord>) => [sent[0]!, { ...sent[1]!, ...change }]
const gzipped = (records: readonly KafkaRecord[], options: EncodeOptions = {}) =>
  encodeBatch(records, { codec: 'gzip', ...options })

function capture(batch: CanonicalBatch): CapturedBatch {
  const { baseOffset, lastOffset, recordCount } = batch.header
  return { stream: orders, baseOffset, lastOffset, recordCount, flags: 0, chunks: [batch.toWire()] }
}

interface Case {
  readonly of: string
  /** What the broker's log has. */
  readonly stored: CanonicalBatch
  readonly captured?: CanonicalBatch
}

const idempotent = { producerId: 7, producerEpoch: 1, baseSequence: 40 }
/** Beyond what the tests' segment thread takes, 1 MiB. */
const tooLarge = withFirst({ value: Buffer.alloc(2 ** 21) })

describe('of a topic that the broker rewrites, what was captured of a batch', () => {
  const sealed = async ({ stored, captured = encodeBatch(sent) }: Case) => {
    await using world = await openWorld(fakeBroker([batchAt(0, 1), stored], { compressionType: () => 'gzip' }))
    await world.wal.append([capture(batchAt(0, 1)), capture(captured)])
    await world.seal()
    expect(world.wal.streams()).toEqual([])
    return await world.archived()
  }

  test.each<Case>([
    { of: 'compressed anew', stored: gzipped(sent) },
    { of: 'decompressed', stored: encodeBatch(sent), captured: encodeBatch(sent, { codec: 'lz4' }) },
    { of: 'given the time of its append', stored: encodeBatch(sent).withLogAppendTime(NOW + 1_000) },
    { of: 'given both', stored: gzipped(sent).withLogAppendTime(NOW + 1_000) },
    {
      of: 'of an idempotent producer',
      stored: gzipped(sent, idempotent),
      captured: encodeBatch(sent, idempotent)
    }
  ])('$of is let go of', async one => {
    expect(await sealed(one)).toEqual({ root: 0, end: 4, batches: [0, BASE], gaps: [], extras: [] })
  })

  test.each<Case>([
    { of: 'another value', stored: gzipped(withFirst({ value: Buffer.from('other') })) },
    { of: 'no value', stored: gzipped(withFirst({ value: null })), captured: withEmptyValue() },
    { of: 'another key', stored: gzipped(withFirst({ key: Buffer.from('other') })) },
    {
      of: 'what its key and value are together',
      stored: gzipped(withFirst({ key: Buffer.from('keyf'), value: Buffer.from('irst') }))
    },
    {
      of: 'another header',
      stored: gzipped(
        withLast({
          headers: [
            ['trace', Buffer.from('other')],
            ['empty', null]
          ]
        })
      )
    },
    {
      of: 'another header name',
      stored: gzipped(
        withLast({
          headers: [
            ['trace', Buffer.from('id')],
            ['other', null]
          ]
        })
      )
    },
    { of: 'another time', stored: gzipped(withLast({ timestamp: NOW + 6 })) },
    { of: 'another producer', stored: gzipped(sent, idempotent) },
    {
      of: 'another payload under its sequence',
      stored: gzipped(withFirst({ value: Buffer.from('other') }), idempotent),
      captured: encodeBatch(sent, idempotent)
    },
    { of: 'what cannot be decompressed', stored: gzipped(tooLarge), captured: encodeBatch(tooLarge, { codec: 'lz4' }) }
  ])('in whose place there is $of is put beside', async one => {
    expect(await sealed(one)).toEqual({ root: 0, end: 4, batches: [0, BASE], gaps: [], extras: [BASE] })
  })

  test('that an election took back is put beside', async () => {
    const epochEnds = new Map([
      [3, 10],
      [4, 11]
    ])
    const log = [inEpoch(3, batchAt(0, 9)), inEpoch(4, batchAt(10))]
    await using world = await openWorld(fakeBroker(log, { epochEnds, compressionType: () => 'gzip' }))
    await world.wal.append([{ ...captured(10, { seed: 'lost' }), leaderEpoch: 3 }])
    await world.seal()
    expect(await world.archived()).toEqual({ root: 0, end: 11, batches: [0, 10], gaps: [], extras: [10] })
    expect(world.wal.streams()).toEqual([])
  })

  test('is found among many, of which some were captured twice', async () => {
    const offsets = Array.from({ length: 20 }, (_, i) => 2 * i)
    const stored = offsets.map(offset =>
      gzipped([
        { ...sent[0]!, offset },
        { ...sent[1]!, offset: offset + 1 }
      ])
    )
    const asSent = (offset: number, value: string) =>
      capture(
        encodeBatch([
          { ...sent[0]!, offset, value: Buffer.from(value) },
          { ...sent[1]!, offset: offset + 1 }
        ])
      )
    await using world = await openWorld(fakeBroker(stored, { compressionType: () => 'gzip' }))
    await world.wal.append(offsets.filter(offset => offset !== 6).map(offset => asSent(offset, 'first')))
    await world.wal.append(
      [4, 10, 38].map(offset => asSent(offset, 'other')),
      { keepRepeats: true }
    )
    await world.seal()
    expect(await world.archived()).toEqual({ root: 0, end: 40, batches: offsets, gaps: [], extras: [4, 10, 38] })
    expect(world.wal.streams()).toEqual([])
  })
})

test('a capture is let go of where the archive has its records, whatever the settings of the topic are now', async () => {
  await using world = await openWorld(fakeBroker([batchAt(0, 1), gzipped(sent)]))
  await world.small.append(orders, { batches: [batchAt(0, 1), gzipped(sent)], nextOffset: 4 })
  await world.wal.append([capture(encodeBatch(sent))])
  await world.seal()
  expect((await world.archived()).extras).toEqual([])
  expect(world.wal.streams()).toEqual([])
})

test('a capture is put beside where the archive that had it was removed, and begun anew with something else by another worker', async () => {
  await using world = await openWorld(fakeBroker([batchAt(0, 1), encodeBatch(sent)]))
  const { small, wal } = world
  await wal.append([capture(batchAt(0, 1)), capture(encodeBatch(sent))])
  await world.seal()
  expect(wal.streams()).toEqual([])
  for (const name of await readdir(small.folder)) await rm(join(small.folder, name), { recursive: true })
  await mkdir(join(small.folder, '.tmp'))
  await using another = await small.reopen()
  await another.createRoot(orders, 0, 'another')
  const other = encodeBatch(withFirst({ value: Buffer.from('other') }))
  const plan = { ...orders, baseOffset: 0, nextOffset: 4, gaps: [], previousChainSha256: null, openTransactions: [] }
  const batches = [batchAt(0, 1), other].map(batch => ({ batch, fromBroker: true }))
  const segment = writeSegment({ ...plan, createdBy: 'another' }, batches, join(world.walDirectory, 'segment.tar.gz'))
  expect(await another.append(orders, segment)).not.toBeNull()
  await wal.append([capture(encodeBatch(sent))], { keepRepeats: true })
  await world.seal()
  expect(await world.archived()).toEqual({ root: 0, end: 4, batches: [0, BASE], gaps: [], extras: [BASE] })
  expect(wal.streams()).toEqual([])
})

test('a capture is put beside where the archive has another at its offset that cannot be read', async () => {
  await using world = await openWorld(fakeBroker([batchAt(0, 1), gzipped(sent)], { compressionType: () => 'gzip' }))
  await world.small.append(orders, { batches: [batchAt(0, 1), gzipped(sent)], nextOffset: 4 })
  const [link] = (await world.small.archive.walk(orders)).links
  const file = join(world.small.folder, link!.key)
  const [before, bytes] = [await stat(file), await readFile(file)]
  // The log is in the second gzip member.
  await flipBit(file, bytes.indexOf(Buffer.from([0x1f, 0x8b, 8]), 10) + 100)
  await utimes(file, before.atime, before.mtime)
  await world.wal.append([capture(encodeBatch(sent))])
  await world.seal()
  expect((await world.small.archive.walk(orders)).extras).toHaveLength(1)
  expect(world.wal.streams()).toEqual([])
})

function withEmptyValue(): CanonicalBatch {
  return encodeBatch(withFirst({ value: Buffer.alloc(0) }))
}

describe('what was captured under the id of a topic that is gone', () => {
  const newer = { ...orders, topicId: 'BBECAwQFBgcICQoLDA0ODw' }
  /** Up to where the deleted topic was captured from. */
  const before = batchAt(0, 1)

  async function refiled(stored: CanonicalBatch, own: CanonicalBatch, { isDamaged = false } = {}) {
    vi.useFakeTimers({ toFake: ['performance'] })
    await using world = await openWorld(fakeBroker([batchAt(0, 1), stored], { topicId: newer.topicId }))
    await world.small.append(orders, { batches: [before], nextOffset: 2 })
    await world.wal.append([capture(own)])
    if (isDamaged) await flipInWal(world.walDirectory, 'first')
    await expect(world.seal()).rejects.toThrow('does not know topic')
    vi.advanceTimersByTime(6_000)
    await world.seal()
    const { batches } = await world.archived()
    return { batches, waiting: world.wal.streams().map(({ key }) => key) }
  }

  test.each<Case>([
    { of: 'its bytes', stored: encodeBatch(sent) },
    {
      of: 'it with the right max timestamp',
      stored: encodeBatch(sent),
      captured: encodeBatch(sent).withMaxTimestamp(5)
    },
    { of: 'it compressed anew', stored: gzipped(sent) },
    { of: 'it with the time of its append', stored: encodeBatch(sent).withLogAppendTime(NOW + 1_000) }
  ])('is the next one’s where that has $of', async ({ stored, captured: own = encodeBatch(sent) }) => {
    expect(await refiled(stored, own)).toEqual({ batches: [0], waiting: [newer] })
  })

  test.each<Case>([
    { of: 'other records', stored: gzipped(withFirst({ value: Buffer.from('other') })) },
    { of: 'more records', stored: encodeBatch([...sent, { ...sent[0]!, offset: BASE + 2 }]) }
  ])('is its own where the next one has $of there', async ({ stored }) => {
    expect(await refiled(stored, encodeBatch(sent))).toEqual({ batches: [0, BASE], waiting: [] })
  })

  test('stops nothing where it cannot be read any more', async () => {
    expect(await refiled(gzipped(sent), encodeBatch(sent), { isDamaged: true })).toEqual({ batches: [0], waiting: [] })
  })
})
