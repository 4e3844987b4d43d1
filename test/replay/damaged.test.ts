// A batch that went bad before it was archived, in a segment that is whole: every way to its records checks its CRC.
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Chain } from '../../src/archive/archive.ts'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { planReplay } from '../../src/replay/plan.ts'
import { replay } from '../../src/replay/replay.ts'
import { fileSource, SegmentReader } from '../../src/segment/reader.ts'
import { writeSegment } from '../../src/segment/writer.ts'
import { tempFolder } from '../support/temp.ts'
import { batchOf } from './batches.ts'

const stream = { clusterId: 'here', topic: 'orders', topicId: 'AAECAwQFBgcICQoLDA0ODw', partition: 0 }
const crcMismatch = expect.objectContaining({
  code: 'SEGMENT_CORRUPT',
  message: expect.stringContaining('CRC mismatch')
})

test('it is not replayed, nor anything after it, and it is said how far the replay got', async () => {
  await using folder = await tempFolder('replay')
  const { manifest, path } = segmentWithFlippedBit(folder.path)
  const links = [{ key: 'orders', size: 1, manifest }]
  const chain: Chain = { stream, root: null, links, end: 6, extras: [], unreached: [] }
  const sent: number[] = []
  const { partitions, failure } = await replay(
    planReplay([chain], { fromOffset: 0, toOffset: Number.MAX_SAFE_INTEGER }),
    {
      open: () => SegmentReader.open(fileSource(path)),
      sendTo: () => async batch => void sent.push(batch.header.recordCount),
      concurrency: 1,
      signal: new AbortController().signal
    }
  )
  expect(failure).toEqual(crcMismatch)
  expect(sent).toEqual([2])
  expect(partitions[0]).toMatchObject({ nextOffset: 2, records: 2, batches: 1 })
})

test('it is not read', async () => {
  await using folder = await tempFolder('replay')
  const reader = await SegmentReader.open(fileSource(segmentWithFlippedBit(folder.path).path))
  const offsets: number[] = []
  const read = async () => {
    for await (const { offset } of reader.records()) offsets.push(offset)
  }
  await expect(read()).rejects.toEqual(crcMismatch)
  expect(offsets).toEqual([0, 1])
})

/** A segment of three batches of two records, the middle one with a bit flipped in its value. */
function segmentWithFlippedBit(folder: string) {
  const batches = [0, 2, 4].map(offset => batchOf([offset, offset + 1]))
  const good = batches[1]!
  const wire = Buffer.from(good.toWire())
  wire[wire.length - 2]! ^= 1
  batches[1] = { header: good.header, toWire: () => wire, records: () => good.records() } as unknown as CanonicalBatch
  const plan = { ...stream, baseOffset: 0, nextOffset: 6, gaps: [], previousChainSha256: null, openTransactions: [] }
  return writeSegment(
    { ...plan, createdBy: 'test' },
    batches.map(batch => ({ batch, fromBroker: true })),
    join(folder, 'segment.tar.gz')
  )
}
