// What a segment says of its batches, and which batches make no segment.
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { encodeBatch } from '../../src/kafka/batch.ts'
import { parseManifest } from '../../src/segment/manifest.ts'
import { withTrueMaxTimestamp } from '../../src/segment/max-timestamp.ts'
import type { SegmentBatch, SegmentPlan } from '../../src/segment/writer.ts'
import { writeSegment } from '../../src/segment/writer.ts'
import { tempFolder } from '../support/temp.ts'
import { batch, captured, changed, fetched, marker, plan, record, START, transactional } from './segments.ts'

async function write(changes: Partial<SegmentPlan>, batches: Iterable<SegmentBatch>) {
  await using folder = await tempFolder('segment')
  const result = writeSegment({ ...plan, ...changes }, batches, join(folder.path, 'segment.tar.gz'))
  expect(await readdir(folder.path)).toEqual(['segment.tar.gz'])
  return { ...result, bytes: await readFile(result.path) }
}

test('the manifest says what is in the log', async () => {
  const [late, early] = [record(5, { timestamp: START + 900 }), record(6, { timestamp: START - 900 })]
  const batches = [encodeBatch([late, early], { partitionLeaderEpoch: 3 }), batch(9, 2, { partitionLeaderEpoch: 4 })]
  const gaps = [{ from: 7, to: 9, reason: 'compacted' as const }]
  const result = await write({ baseOffset: 5, nextOffset: 11, gaps }, fetched(...batches))
  const log = Buffer.concat(batches.map(each => each.toWire()))
  expect(result.manifest).toEqual({
    formatVersion: 3,
    clusterId: 'test-cluster',
    topic: 'orders',
    topicId: plan.topicId,
    partition: 0,
    baseOffset: 5,
    nextOffset: 11,
    firstBatchOffset: 5,
    lastBatchOffset: 10,
    leaderEpochs: [
      { epoch: 3, startOffset: 5 },
      { epoch: 4, startOffset: 9 }
    ],
    minTimestamp: START - 900,
    maxTimestamp: START + 900,
    records: 4,
    batches: 2,
    logBytes: log.length,
    logSha256: createHash('sha256').update(log).digest('hex'),
    chainSha256: chain(null, batches),
    gaps,
    abortedTransactions: [],
    openTransactions: [],
    rewrittenByBroker: [],
    createdBy: 'test'
  })
  expect(result.batches).toEqual(
    batches.map(({ header: { baseOffset, lastOffset, crc } }) => ({ baseOffset, lastOffset, crc }))
  )
  expect(result.size).toBe(result.bytes.length)
  expect(result.sha256).toBe(createHash('sha256').update(result.bytes).digest('hex'))
})

/** The chain hash as the contract words it. */
function chain(previous: string | null, batches: readonly CanonicalBatch[]): string {
  let hash = previous === null ? Buffer.alloc(32) : Buffer.from(previous, 'hex')
  for (const each of batches) {
    const bytes = Buffer.from(each.toWire())
    bytes.fill(0, 12, 16)
    hash = createHash('sha256')
      .update(Buffer.concat([hash, bytes]))
      .digest()
  }
  return hash.toString('hex')
}

test('the chain hash does not depend on where segments are cut, nor on leader epochs', async () => {
  const batches = [batch(0, 3), batch(3, 2), batch(5, 5)]
  const whole = await write({ nextOffset: 10 }, captured(...batches))
  const first = await write({ nextOffset: 3 }, captured(batches[0]!))
  const previousChainSha256 = first.manifest.chainSha256
  const rest = batches.slice(1).map(each => each.withLeaderEpoch(7))
  const second = await write({ baseOffset: 3, nextOffset: 10, previousChainSha256 }, captured(...rest))
  expect(second.manifest.chainSha256).toBe(whole.manifest.chainSha256)
})

test('the same plan and batches give the same bytes', async () => {
  const make = () => write({ nextOffset: 2_000 }, captured(batch(0, 1_000), batch(1_000, 1_000, { codec: 'zstd' })))
  const [a, b] = [await make(), await make()]
  expect(a.sha256).toBe(b.sha256)
  expect(a.bytes.equals(b.bytes)).toBe(true)
})

test('a segment of gaps only has neither batches nor times, and hands the chain hash on', async () => {
  const gaps = [{ from: 0, to: 6_000_000_000, reason: 'not-requested' as const }]
  const { manifest } = await write({ nextOffset: 6_000_000_000, gaps }, [])
  expect(manifest).toMatchObject({ firstBatchOffset: null, lastBatchOffset: null, minTimestamp: null, batches: 0 })
  expect(manifest.chainSha256).toBe('0'.repeat(64))
  const previousChainSha256 = 'ab'.repeat(32)
  expect((await write({ nextOffset: 6_000_000_000, gaps, previousChainSha256 }, [])).manifest.chainSha256).toBe(
    previousChainSha256
  )
})

test('transactions are listed where their marker lies, and carried on where there is none', async () => {
  const { manifest } = await write(
    { baseOffset: 10, nextOffset: 15, openTransactions: [{ producerId: 1, firstOffset: 4 }] },
    fetched(transactional(10, 2, 2), marker(12, 1, 'abort'), marker(13, 2, 'commit'), transactional(14, 1, 3))
  )
  expect(manifest.abortedTransactions).toEqual([
    { producerId: 1, firstOffset: 4, lastOffset: 12, lastStableOffset: 10 }
  ])
  expect(manifest.openTransactions).toEqual([{ producerId: 3, firstOffset: 14 }])
  // Records of control batches are not users' records.
  expect(manifest).toMatchObject({ records: 3, batches: 4 })
})

const wrongMax = (each: CanonicalBatch) => changed(each, wire => wire.writeBigInt64BE(BigInt(START + 77_777), 35))

test('a captured batch gets its true max timestamp, as the broker has it', async () => {
  const right = batch(0, 3)
  const { manifest, batches } = await write({ nextOffset: 3 }, captured(wrongMax(right)))
  expect(manifest.rewrittenByBroker).toEqual([{ baseOffset: 0, field: 'maxTimestamp' }])
  expect(batches[0]!.crc).toBe(right.header.crc)
  expect(manifest.logSha256).toBe(createHash('sha256').update(right.toWire()).digest('hex'))
})

test('what the broker gave is not changed, nor what a broker would not change', async () => {
  const wrong = wrongMax(batch(0, 3))
  const { manifest, batches } = await write({ nextOffset: 3 }, fetched(wrong))
  expect(manifest.rewrittenByBroker).toEqual([])
  expect(batches[0]!.crc).toBe(wrong.header.crc)
  const appendTime = changed(wrong, wire => wire.writeInt16BE(0x08, 21))
  const thinned = wrongMax(encodeBatch([record(0), record(2)]))
  for (const each of [appendTime, thinned, wrongMax(marker(0, 1, 'abort'))]) {
    expect(withTrueMaxTimestamp(each)).toBe(each)
  }
})

const gap = (from: number, to: number) => ({ from, to, reason: 'retention' as const })
const uncovered: [what: string, changes: Partial<SegmentPlan>, batches: CanonicalBatch[], message: string][] = [
  ['a hole at the beginning', { nextOffset: 4 }, [batch(2, 2)], 'offset 0 is followed by 2'],
  ['a hole in the middle', { nextOffset: 6 }, [batch(0, 2), batch(3, 3)], 'offset 2 is followed by 3'],
  ['a hole at the end', { nextOffset: 6 }, [batch(0, 2)], 'offset 2 is followed by 6'],
  ['overlapping batches', { nextOffset: 6 }, [batch(0, 4), batch(3, 3)], 'offset 4 is followed by 3'],
  ['batches out of order', { nextOffset: 6 }, [batch(3, 3), batch(0, 3)], 'offset 0 is followed by 3'],
  ['a batch behind the end', { nextOffset: 3 }, [batch(0, 5)], 'offset 5 is followed by 3'],
  ['a batch before the beginning', { baseOffset: 2, nextOffset: 5 }, [batch(0, 5)], 'offset 2 is followed by 0'],
  [
    'a gap that is too short',
    { nextOffset: 6, gaps: [gap(2, 3)] },
    [batch(0, 2), batch(4, 2)],
    'offset 3 is followed by 4'
  ],
  ['a gap over a batch', { nextOffset: 4, gaps: [gap(1, 3)] }, [batch(0, 4)], 'the gap from 1 to 3'],
  ['a gap behind the end', { nextOffset: 4, gaps: [gap(4, 9)] }, [batch(0, 4)], 'the gap from 4 to 9'],
  ['an empty gap', { nextOffset: 4, gaps: [gap(2, 2)] }, [batch(0, 2), batch(2, 2)], 'the gap from 2 to 2'],
  ['gaps out of order', { nextOffset: 6, gaps: [gap(4, 6), gap(0, 2)] }, [batch(2, 2)], 'offset 0 is followed by 2'],
  [
    "more offsets than Kafka's indexes reach",
    { nextOffset: 2 ** 31 + 1, gaps: [gap(0, 2 ** 31 - 1)] },
    [batch(2 ** 31 - 1, 2)],
    'the batch at offset 2147483647 reaches 2147483648 offsets'
  ]
]

test.for(uncovered)('%s is refused with its offsets, and leaves no file', async ([, changes, batches, message]) => {
  await using folder = await tempFolder('segment')
  const write = () => writeSegment({ ...plan, ...changes }, fetched(...batches), join(folder.path, 'segment.tar.gz'))
  expect(write).toThrow(expect.objectContaining({ code: 'SEGMENT_CORRUPT', message: expect.stringContaining(message) }))
  expect(await readdir(folder.path)).toEqual([])
})

test('gaps side by side are covered one after the other', async () => {
  const gaps = [gap(0, 2), gap(2, 3), gap(5, 8)]
  expect((await write({ nextOffset: 8, gaps }, fetched(batch(3, 2)))).manifest.gaps).toEqual(gaps)
})

test('an error of the source leaves no file and no open database', async () => {
  await using folder = await tempFolder('segment')
  const source = function* (): Generator<SegmentBatch> {
    yield* captured(batch(0, 5))
    throw new Error('the WAL is gone')
  }
  const file = join(folder.path, 'segment.tar.gz')
  expect(() => writeSegment({ ...plan, nextOffset: 9 }, source(), file)).toThrow('the WAL is gone')
  expect(await readdir(folder.path)).toEqual([])
  writeSegment({ ...plan, nextOffset: 5 }, captured(batch(0, 5)), file)
  expect(await readdir(folder.path)).toEqual(['segment.tar.gz'])
})

test('batches that are others when they are gone through again leave no file', async () => {
  await using folder = await tempFolder('segment')
  let times = 0
  const source = (again: readonly CanonicalBatch[]) => ({
    [Symbol.iterator]: () => captured(...(times++ % 2 === 0 ? [batch(0, 3), batch(3, 2)] : again)).values()
  })
  const file = join(folder.path, 'segment.tar.gz')
  const write = (...again: CanonicalBatch[]) => writeSegment({ ...plan, nextOffset: 5 }, source(again), file)
  const other = batch(3, 2, { partitionLeaderEpoch: 7, producerId: 9 })
  expect(() => write(batch(0, 3), other)).toThrow('the batch at offset 3 is another one now')
  expect(() => write(batch(0, 3))).toThrow(/log was to have \d+ bytes, and has \d+$/)
  expect(() => write(batch(0, 3), batch(3, 2), batch(5, 2))).toThrow('the batch at offset 5 is another one now')
  expect(await readdir(folder.path)).toEqual([])
  write(batch(0, 3), batch(3, 2))
  expect(await readdir(folder.path)).toEqual(['segment.tar.gz'])
})

test('a manifest is parsed strictly, and a later format by its number', async () => {
  const { manifest } = await write({ nextOffset: 3 }, captured(batch(0, 3)))
  const parse = (changes: object) => () => parseManifest(JSON.stringify({ ...manifest, ...changes }), 'some/segment')
  expect(parse({})()).toEqual(manifest)
  for (const formatVersion of [1, 2]) expect(parse({ formatVersion })()).toEqual({ ...manifest, formatVersion })
  expect(parse({ formatVersion: 4 })).toThrow(/^some\/segment: format version 4; this Millrace reads 1 to 3$/)
  expect(parse({ gaps: [{ from: 0, to: 1, reason: 'lost' }] })).toThrow(/some\/segment.*gaps\.0\.reason/)
  expect(parse({ baseOffset: -1 })).toThrow(/baseOffset/)
  expect(parse({ extra: 1 })).toThrow(expect.objectContaining({ code: 'SEGMENT_CORRUPT' }))
  expect(() => parseManifest('{', 'some/segment')).toThrow(/not JSON/)
})
