import { crc32c } from '@node-rs/crc32'
import { expect, test } from 'vitest'
import {
  batchFrameBytes,
  decodeFrame,
  encodeSingleFrame,
  FrameFlag,
  layBatchFrame,
  sealFrame,
  streamPrefix
} from '../../src/wal/frame.ts'
import { captured, expected, orders } from './batches.ts'

function batchFrame(flags = 0) {
  const batch = captured(42, { flags })
  const prefix = streamPrefix(batch.stream)
  const frame = Buffer.alloc(batchFrameBytes(prefix, batch))
  layBatchFrame(frame, 0, frame.length, prefix, batch)
  sealFrame(frame)
  return { batch, frame }
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
  const head = Buffer.from('ca7e020100000000', 'hex')
  head.writeUInt32BE(body.length, 4)
  const crc = Buffer.alloc(4)
  crc.writeUInt32BE(crc32c(Buffer.concat([head, body])))
  expect(frame.toString('hex')).toBe(Buffer.concat([head, crc, body]).toString('hex'))
})

test('a V2 frame gives back its batch, with the assigned base offset', () => {
  const { batch, frame } = batchFrame(FrameFlag.PROVISIONAL)
  expect(decodeFrame(frame)).toEqual({
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
  const record = {
    offset: 7,
    timestamp: -1,
    key: null,
    value: Buffer.alloc(0),
    headers: [
      ['h', null],
      ['h', Buffer.from('é')]
    ] as const
  }
  expect(decodeFrame(encodeSingleFrame(orders, record))).toEqual({ version: 1, flags: 0, stream: orders, ...record })
})

test('every flipped bit of a frame is noticed', () => {
  const { frame } = batchFrame()
  const single = encodeSingleFrame(orders, { offset: 1, timestamp: 2, key: Buffer.from('k'), value: null, headers: [] })
  for (const bytes of [frame, single]) {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes)
      flipped[bit >>> 3]! ^= 1 << (bit & 7)
      expect(() => decodeFrame(flipped, 'here'), `bit ${bit}`).toThrow(expect.objectContaining({ code: 'WAL_CORRUPT' }))
    }
  }
})

test('every shorter or longer frame is refused, and the message names the place', () => {
  const { frame } = batchFrame()
  for (let length = 0; length < frame.length; length++) {
    expect(() => decodeFrame(frame.subarray(0, length), 'wal/3.db row 17')).toThrow(/^wal\/3\.db row 17: /)
  }
  expect(() => decodeFrame(Buffer.concat([frame, Buffer.of(0)]))).toThrow(/the frame says/)
})

test('an unknown version with a good CRC is refused by its number', () => {
  const { frame } = batchFrame()
  frame[2] = 3
  sealFrame(frame)
  expect(() => decodeFrame(frame)).toThrow(/frame version 3 is not known/)
})
