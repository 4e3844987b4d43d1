// Batches that cannot be read are carried byte for byte, and the segment says of each that it is not indexed.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../src/errors.ts'
import { readInt64 } from '../../src/kafka/cursor.ts'
import { readRecords } from '../../src/kafka/read-records.ts'
import type { SegmentManifest } from '../../src/segment/manifest.ts'
import { parseManifest } from '../../src/segment/manifest.ts'
import { withTrueMaxTimestamp } from '../../src/segment/max-timestamp.ts'
import { offsetForTime } from '../../src/segment/offset-index.ts'
import { SegmentReader } from '../../src/segment/reader.ts'
import type { VerifiableSegment } from '../../src/segment/verify.ts'
import { verifySegment } from '../../src/segment/verify.ts'
import type { SegmentBatch } from '../../src/segment/writer.ts'
import { writeSegment } from '../../src/segment/writer.ts'
import { resigned } from '../kafka/resigned.ts'
import { LIMIT, unreadable } from '../kafka/unreadable.ts'
import { tempFolder } from '../support/temp.ts'
import { batch, bytesSource, captured, changed, collect, fetched, plan, START, transactional } from './segments.ts'

async function segmentOf(nextOffset: number, batches: SegmentBatch[], limit = LIMIT) {
  await using folder = await tempFolder('segment')
  const { manifest, path } = writeSegment({ ...plan, nextOffset }, batches, join(folder.path, 's.tar.gz'), limit)
  const reader = await SegmentReader.open(bytesSource(await readFile(path)))
  return { manifest, reader }
}

describe.each(unreadable)('%s', (_, make, reason) => {
  const bad = make(3)
  const batches = [batch(0, 3), bad, batch(5, 2)]

  test.each([
    ['captured', captured],
    ['fetched', fetched]
  ] as const)('%s, is carried as it came and listed with its reason', async (_, from) => {
    const { manifest, reader } = await segmentOf(7, from(...batches))
    expect(manifest).toMatchObject({ batches: 3, records: 5, minTimestamp: START, maxTimestamp: START + 6 })
    expect(manifest.notIndexed).toEqual([{ baseOffset: 3, lastOffset: 4, reason: expect.stringContaining(reason) }])
    expect(manifest.rewrittenByBroker).toEqual([])
    expect(await reader.file('log')).toEqual(Buffer.concat(batches.map(each => each.toWire())))
    // What only the writer's limit kept from being read can be read by others.
    const isReadable = !(readRecords(bad) instanceof MillraceError)
    const offsets = [0, 1, 2, ...(isReadable ? [3, 4] : []), 5, 6]
    expect((await collect(reader.records())).map(({ offset }) => offset)).toEqual(offsets)
    using search = await reader.searchIndex()
    expect([...search.records()].map(({ offset }) => offset)).toEqual([0, 1, 2, 5, 6])
    expect(await reader.verify(null)).toEqual([])
  })

  test('alone in a segment leaves it without records and times', async () => {
    const { manifest, reader } = await segmentOf(4, fetched(make(0), make(2)))
    expect(manifest).toMatchObject({ batches: 2, records: 0, minTimestamp: null, maxTimestamp: null })
    expect(manifest.notIndexed).toHaveLength(2)
    expect(await reader.verify(null)).toEqual([])
  })

  test('is found by what is listed, not by what verify can read', async () => {
    const { manifest, reader } = await segmentOf(7, fetched(...batches))
    expect(await verifyWith(reader, { ...manifest, notIndexed: undefined })).not.toEqual([])
    const [listed] = manifest.notIndexed!
    const shifted = { ...manifest, notIndexed: [listed!, { ...listed!, baseOffset: 4 }] }
    const message = 'segment.json says that a batch of offsets 4 to 4 is not indexed, the log has none'
    expect(await verifyWith(reader, shifted)).toEqual([{ offset: 4, message }])
    // A readable batch must not be passed off as one that is not.
    const more = { ...manifest, notIndexed: [listed!, { ...listed!, baseOffset: 5, lastOffset: 6 }] }
    expect(await verifyWith(reader, more)).not.toEqual([])
  })
})

/** Verifies the same bytes under another manifest. */
function verifyWith(reader: SegmentReader, manifest: { [K in keyof SegmentManifest]: SegmentManifest[K] | undefined }) {
  const segment: VerifiableSegment = {
    manifest: async () => manifest as SegmentManifest,
    rawBatches: () => reader.rawBatches(),
    file: kind => reader.file(kind),
    searchIndex: () => reader.searchIndex(),
    filter: () => reader.filter(),
    checkTar: () => reader.checkTar()
  }
  return verifySegment(segment, null)
}

test('a segment without such batches has no list, and a manifest no empty one', async () => {
  const { manifest } = await segmentOf(3, captured(batch(0, 3)))
  expect(Object.keys(manifest)).not.toContain('notIndexed')
  const empty = JSON.stringify({ ...manifest, notIndexed: [] })
  expect(() => parseManifest(empty, 'some/segment')).toThrow(/notIndexed/)
})

test('the limit is exact: what grows to just that is indexed', async () => {
  const zeros = resigned(batch(0, 40, { codec: 'gzip' }).toWire())
  const bytes = batch(0, 40).header.sizeInBytes - 61
  expect((await segmentOf(40, captured(zeros), bytes)).manifest).toMatchObject({ records: 40 })
  const { manifest } = await segmentOf(40, captured(zeros), bytes - 1)
  expect(manifest).toMatchObject({ records: 0, minTimestamp: null, maxTimestamp: null })
  expect(manifest.notIndexed).toEqual([
    { baseOffset: 0, lastOffset: 39, reason: `a gzip batch grows beyond ${bytes - 1} bytes` }
  ])
})

test('the time index has the times of headers, and of one beyond 2^53 the last that is exact', async () => {
  const beyond = unreadable[1]![1]
  const { reader } = await segmentOf(5, fetched(batch(0, 3), beyond(3)))
  const times = await reader.file('timeindex')
  expect(times).toHaveLength(12)
  expect(readInt64(times, 0)).toBe(Number.MAX_SAFE_INTEGER)
  expect(times.readInt32BE(8)).toBe(4)
  expect(offsetForTime(times, 0, START + 1)).toBe(0)
})

test.each(unreadable)('of %s a max timestamp stays as it is stated', (_, make) => {
  const wrong = changed(make(0), wire => wire.writeBigInt64BE(5n, 35))
  expect(withTrueMaxTimestamp(wrong, readRecords(wrong, LIMIT))).toBe(wrong)
})

test('a batch of a producer id that no coordinator gives is indexed, and in no transaction', async () => {
  const odd = changed(transactional(0, 3, 7), wire => wire.writeBigInt64BE(2n ** 62n, 43))
  const { manifest, reader } = await segmentOf(3, fetched(odd))
  expect(manifest).toMatchObject({ records: 3, openTransactions: [] })
  expect(parseManifest(JSON.stringify(manifest), 'some/segment')).toEqual(manifest)
  expect(await reader.verify(null)).toEqual([])
})
