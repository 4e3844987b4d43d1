// Kafka's index formats, byte by byte; that the real broker writes the same is shown in test/integration/segment.test.ts.
import { expect, test } from 'vitest'
import { IndexBuilder, offsetForTime, positionFor } from '../../src/segment/offset-index.ts'
import { encodeTxnIndex, TransactionTracker } from '../../src/segment/txn-index.ts'
import { batch, marker, transactional } from './segments.ts'

const BASE = 1_000

/** Batches of one offset each with these sizes and timestamps. */
function built(batches: readonly (readonly [sizeInBytes: number, maxTimestamp: number])[]) {
  const builder = new IndexBuilder(BASE)
  let position = 0
  batches.forEach(([sizeInBytes, maxTimestamp], i) => {
    builder.add({ lastOffset: BASE + i, maxTimestamp, sizeInBytes }, position)
    position += sizeInBytes
  })
  return builder.finish()
}

test('an entry stands before a batch when more than 4096 bytes have no entry', () => {
  const { index, timeindex } = built([
    [4096, 10],
    [1, 20],
    [4096, 5],
    [4097, 30]
  ])
  // After 4096 bytes none; after 4097 one, for the third batch; then one for the fourth only if more than 4096 lie between.
  expect(index.toString('hex')).toBe('0000000200001001')
  expect(timeindex.toString('hex')).toBe('0000000000000014' + '00000001' + '000000000000001e' + '00000003')
})

test('a log without timestamps has no time entries, and a log without batches no entries at all', () => {
  expect(
    built([
      [5000, -1],
      [5000, -1]
    ]).timeindex
  ).toHaveLength(0)
  const { index, timeindex } = new IndexBuilder(BASE).finish()
  expect([index.length, timeindex.length]).toEqual([0, 0])
})

test('look-ups give the last entry that is not too late', () => {
  const { index, timeindex } = built(Array.from({ length: 50 }, (_, i) => [5000, 100 + 10 * i]))
  expect(positionFor(index, BASE, BASE)).toBe(0)
  for (let i = 1; i < 50; i++) expect(positionFor(index, BASE, BASE + i)).toBe(5000 * i)
  expect(positionFor(index, BASE, BASE + 10_000)).toBe(5000 * 49)
  expect(offsetForTime(timeindex, BASE, 0)).toBe(BASE)
  expect(offsetForTime(timeindex, BASE, 200)).toBeLessThanOrEqual(BASE + 10)
  expect(offsetForTime(timeindex, BASE, 200)).toBeGreaterThanOrEqual(BASE + 8)
})

test('a transaction begins with its first batch and ends with its marker', () => {
  const tracker = new TransactionTracker([{ producerId: 5, firstOffset: 90 }])
  const steps = [
    batch(100, 1),
    transactional(101, 2, 7),
    transactional(103, 1, 8),
    transactional(104, 1, 7),
    marker(105, 7, 'abort'),
    marker(106, 5, 'abort'),
    transactional(107, 1, 9),
    marker(108, 9, 'commit'),
    marker(109, 6, 'abort'), // of a transaction without records: Kafka lists none
    marker(110, 8, 'abort')
  ]
  for (const step of steps) tracker.add(step)
  expect(tracker.aborted).toEqual([
    { producerId: 7, firstOffset: 101, lastOffset: 105, lastStableOffset: 90 },
    { producerId: 5, firstOffset: 90, lastOffset: 106, lastStableOffset: 103 },
    { producerId: 8, firstOffset: 103, lastOffset: 110, lastStableOffset: 111 }
  ])
  expect(tracker.open).toEqual([])
})

test('what has no marker stays open, in the order of its beginning', () => {
  const tracker = new TransactionTracker([])
  for (const step of [transactional(0, 1, 4), transactional(1, 1, 2), transactional(2, 1, 4)]) tracker.add(step)
  expect(tracker.open).toEqual([
    { producerId: 4, firstOffset: 0 },
    { producerId: 2, firstOffset: 1 }
  ])
})

test('.txnindex has 34 bytes for each aborted transaction', () => {
  const bytes = encodeTxnIndex([{ producerId: 1, firstOffset: 2, lastOffset: 2 ** 40, lastStableOffset: 4 }])
  expect(bytes.toString('hex')).toBe(
    '0000' + '0000000000000001' + '0000000000000002' + '0000010000000000' + '0000000000000004'
  )
})
