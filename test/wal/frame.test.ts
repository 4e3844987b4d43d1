import { crc32c } from '@node-rs/crc32'
import { expect, test } from 'vitest'
import type { BatchRecord, SingleRecord } from '../../src/wal/frame.ts'
import {
  batchFrameBytes,
  FrameFlag,
  layBatchFrame,
  sealBatchFrame,
  streamPrefix,
  WalRecord
} from '../../src/wal/frame.ts'
import { captured, expected, orders } from './batches.ts'

function batchFrame(flags = 0) {
  const batch = captured(42, { flags })
  const prefix = streamPrefix(batch.stream)
  const frame = Buffer.alloc(batchFrameBytes(prefix, batch))
  sealBatchFrame(frame, layBatchFrame(frame, prefix, batch))
  return { batch, frame }
}

const single: SingleRecord = {
  version: 1,
  flags: 0,
  stream: orders,
  offset: 7,
  timestamp: -1,
  key: null,
  value: Buffer.alloc(0),
  headers: [
    ['h', null],
    ['h', Buffer.from('é')]
  ]
}

test('a V2 frame has the bytes that docs/formats.md says', () => {
  const { batch, frame } = batchFrame(FrameFlag.FETCHED)
  const wire = expected(batch)
  const body = Buffer.concat([
    Buffer.from('000c', 'hex'),
    Buffer.from('test-cluster'),
    Buffer.from('0006', 'hex'),
    Buffer.from('orders'),
    Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex'),
    Buffer.from('00000000', 'hex'),
    Buffer.from('000000000000002a', 'hex'),
    Buffer.from('000000000000002a', 'hex'),
    Buffer.from('00000001', 'hex'),
    wire
  ])
  expect(frame.toString('hex')).toBe(headed('ca7e0201', body).toString('hex'))
})

test('a V1 frame has the bytes that docs/formats.md says', () => {
  const body = Buffer.concat([
    Buffer.from('000c', 'hex'),
    Buffer.from('test-cluster'),
    Buffer.from('0006', 'hex'),
    Buffer.from('orders'),
    Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex'),
    Buffer.from('00000000', 'hex'),
    Buffer.from('0000000000000007', 'hex'),
    Buffer.from('ffffffffffffffff', 'hex'),
    Buffer.from('ffffffff', 'hex'),
    Buffer.from('00000000', 'hex'),
    Buffer.from('00000002', 'hex'),
    Buffer.from('0000000168ffffffff', 'hex'),
    Buffer.from('000000016800000002c3a9', 'hex')
  ])
  expect(WalRecord.encode(single).toString('hex')).toBe(headed('ca7e0100', body).toString('hex'))
})

/** A frame of magic, version and flags in hex, and a body. */
function headed(start: string, body: Buffer): Buffer {
  const head = Buffer.from(`${start}00000000`, 'hex')
  head.writeUInt32BE(body.length, 4)
  const crc = Buffer.alloc(4)
  crc.writeUInt32BE(crc32c(Buffer.concat([head, body])))
  return Buffer.concat([head, crc, body])
}

test('a V2 frame gives back its batch, with the assigned base offset', () => {
  const { batch, frame } = batchFrame(FrameFlag.PROVISIONAL)
  expect(WalRecord.decode(frame)).toEqual({
    version: 2,
    flags: FrameFlag.PROVISIONAL,
    stream: orders,
    baseOffset: 42,
    lastOffset: 42,
    recordCount: 1,
    batch: expected(batch)
  })
})

test('a V1 frame gives back its record: nulls, empty values and repeated headers', () => {
  expect(WalRecord.decode(WalRecord.encode(single))).toEqual(single)
})

test('encode gives the frame that an append lays out', () => {
  const { frame } = batchFrame(FrameFlag.FETCHED)
  expect(WalRecord.encode(WalRecord.decode(frame)).equals(frame)).toBe(true)
})

test('toCanonical gives the batch of a V2 record and null for a V1', () => {
  const record = WalRecord.decode(batchFrame().frame) as BatchRecord
  expect(WalRecord.toCanonical(record).header).toMatchObject({ baseOffset: 42, recordCount: 1 })
  expect(WalRecord.toCanonical(single as WalRecord)).toBeNull()
})

test('toCanonical refuses a batch that fails its own CRC in a frame whose CRC fits, and bytes behind a batch', () => {
  const record = WalRecord.decode(batchFrame().frame) as BatchRecord
  const broken = Buffer.from(record.batch)
  broken[broken.length - 1]! ^= 1
  for (const batch of [broken, Buffer.concat([record.batch, Buffer.of(0)])]) {
    const decoded = WalRecord.decode(WalRecord.encode({ ...record, batch }))
    expect(() => WalRecord.toCanonical(decoded)).toThrow(expect.objectContaining({ code: 'BATCH_CORRUPT' }))
  }
})

test('every flipped bit of a frame is noticed', () => {
  const { frame } = batchFrame()
  for (const bytes of [frame, WalRecord.encode(single)]) {
    expect(WalRecord.verifyChecksum(bytes)).toBe(true)
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes)
      flipped[bit >>> 3]! ^= 1 << (bit & 7)
      expect(WalRecord.verifyChecksum(flipped), `bit ${bit}`).toBe(false)
      expect(() => WalRecord.decode(flipped, 'here'), `bit ${bit}`).toThrow(
        expect.objectContaining({ code: 'WAL_CORRUPT' })
      )
    }
  }
})

test('every shorter or longer frame is refused, and the message names the place', () => {
  const { frame } = batchFrame()
  for (let length = 0; length < frame.length; length++) {
    expect(WalRecord.verifyChecksum(frame.subarray(0, length))).toBe(false)
    expect(() => WalRecord.decode(frame.subarray(0, length), 'wal/3.wal: frame 17')).toThrow(/^wal\/3\.wal: frame 17: /)
  }
  expect(() => WalRecord.decode(Buffer.concat([frame, Buffer.of(0)]))).toThrow(/the frame says/)
})

test('an unknown version with a good CRC is refused by its number', () => {
  const { frame } = batchFrame()
  frame[2] = 3
  frame.writeUInt32BE(crc32c(frame.subarray(12), crc32c(frame.subarray(0, 8))), 8)
  expect(() => WalRecord.decode(frame)).toThrow(/frame version 3 is not known/)
})
