// Records of a batch, or the reason why not, whatever a client has put there.
import { expect, test } from 'vitest'
import { encodeBatch } from '../../src/kafka/batch.ts'
import { NO_RECORDS, readRecords } from '../../src/kafka/read-records.ts'
import { record } from '../segment/segments.ts'
import { resigned } from './resigned.ts'
import { LIMIT, unreadable } from './unreadable.ts'

test('readable records can be gone through again and again, and are counted', () => {
  const records = [record(3, { timestamp: 70 }), record(4, { timestamp: -1 }), record(9, { timestamp: 50 })]
  const read = readRecords(encodeBatch(records, { codec: 'lz4' }))
  expect(read).toMatchObject({ count: 3, minTimestamp: -1, maxTimestamp: 70 })
  if (read instanceof Error) return
  expect([...read]).toEqual(records)
  expect([...read]).toEqual(records)
  expect([...NO_RECORDS]).toEqual([])
})

test.each(unreadable)('%s gives the reason', (_, batch, reason) => {
  const read = readRecords(batch(5), LIMIT)
  expect(read).toMatchObject({ message: expect.stringContaining(reason), code: expect.stringMatching(/^BATCH_/) })
})

test('a record whose time is exact is read, and one just beyond is not', () => {
  const last = encodeBatch([record(0, { timestamp: Number.MAX_SAFE_INTEGER })])
  expect(readRecords(last)).toMatchObject({ maxTimestamp: Number.MAX_SAFE_INTEGER })
  // The second timestamp is one above the first, which is then made the greatest that is exact.
  const wire = Buffer.from(encodeBatch([record(0, { timestamp: 5 }), record(1, { timestamp: 6 })]).toWire())
  wire.writeBigInt64BE(BigInt(Number.MAX_SAFE_INTEGER), 27)
  const read = readRecords(resigned(wire))
  expect(read).toMatchObject({ message: 'record 1 of the batch is malformed: its timestamp is beyond 2^53' })
})

test('a time delta that would be rounded is not taken for another', () => {
  // Attributes; the zigzag varint of 2^52 + 1, which has 54 bits; offset, key, value, headers.
  const delta = Buffer.from([0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10])
  const body = Buffer.concat([Buffer.from([0]), delta, Buffer.from([0, 1, 1, 0])])
  const head = encodeBatch([record(0)])
    .toWire()
    .subarray(0, 61)
  const batch = (delta: Buffer) => resigned(Buffer.concat([head, Buffer.from([2 * body.length]), delta]))
  expect(readRecords(batch(body))).toMatchObject({ message: expect.stringContaining('a varint is beyond 2^53') })
  body[8] = 0x0f
  const base = encodeBatch([record(0)]).header.baseTimestamp
  expect(readRecords(batch(body))).toMatchObject({ maxTimestamp: base + 2 ** 52 - 2 ** 48 + 1 })
})
