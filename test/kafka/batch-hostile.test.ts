// What is wrong with a batch is told, never taken: flipped bits, truncation, hostile lengths, data that grows without end.
import { gzipSync, zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import snappy from 'snappy'
import { describe, expect, test } from 'vitest'
import { CanonicalBatch, encodeBatch } from '../../src/kafka/batch.ts'
import { compress } from '../../src/kafka/compression.ts'
import { batchFixture } from '../fixtures/load.ts'
import { thrown } from '../support/thrown.ts'
import { anyOptions, anyRecords, codecs } from './batch-arbitraries.ts'
import { decodeApart } from './peak-memory.ts'
import { resigned, withBody } from './resigned.ts'

const MiB = 1024 * 1024

test.each(['java-zstd', 'kafkajs-times', 'broker-empty'])('no bit of %s that the CRC covers can flip', name => {
  const { wire } = batchFixture(name)
  for (let bit = 21 * 8; bit < wire.length * 8; bit++) {
    const flipped = Buffer.from(wire)
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    expect(
      thrown(() => CanonicalBatch.fromWire(flipped)),
      `bit ${bit}`
    ).toMatchObject({ code: 'BATCH_CORRUPT' })
  }
})

test.each(['kafkajs-times', 'broker-commit'])('no bit of the length, the magic and the CRC of %s can flip', name => {
  const { wire } = batchFixture(name)
  const places = [8, 9, 10, 11, 16, 17, 18, 19, 20]
  for (const bit of places.flatMap(byte => Array.from({ length: 8 }, (_, i) => byte * 8 + i))) {
    const flipped = Buffer.from(wire)
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    const error = thrown(() => CanonicalBatch.fromWire(flipped))
    expect(error, `bit ${bit}`).toMatchObject({ code: expect.stringMatching(/^BATCH_(CORRUPT|UNSUPPORTED)$/) })
  }
})

describe('any batch', () => {
  const anyBatch = fc.tuple(anyRecords, anyOptions).map(([records, options]) => encodeBatch(records, options).toWire())
  const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

  test('is refused with any one bit flipped that the CRC covers', () => {
    const property = fc.property(anyBatch, place, (wire, place) => {
      const flipped = Buffer.from(wire)
      const bit = 21 * 8 + Math.floor(place * (wire.length - 21) * 8)
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      expect(thrown(() => CanonicalBatch.fromWire(flipped))).toMatchObject({ code: 'BATCH_CORRUPT' })
    })
    fc.assert(property, { numRuns: 1000 })
  })

  test('is refused when it is cut anywhere', () => {
    const property = fc.property(anyBatch, place, (wire, place) => {
      const cut = wire.subarray(0, Math.floor(place * wire.length))
      expect(thrown(() => CanonicalBatch.fromWire(cut))).toMatchObject({ code: 'BATCH_CORRUPT' })
    })
    fc.assert(property, { numRuns: 1000 })
  })

  test('whose records are other bytes gives an error or records, and nothing else', () => {
    const property = fc.property(
      anyBatch,
      place,
      fc.uint8Array({ minLength: 1, maxLength: 8 }),
      (wire, place, bytes) => {
        const changed = Buffer.from(wire)
        changed.set(
          bytes.subarray(0, changed.length - 61),
          61 + Math.floor(place * Math.max(0, wire.length - 61 - bytes.length))
        )
        const error = thrown(() => [...resigned(changed).records(MiB)])
        if (error !== undefined)
          expect(error).toMatchObject({ code: expect.stringMatching(/^BATCH_(CORRUPT|TOO_LARGE)$/) })
      }
    )
    fc.assert(property, { numRuns: 1000 })
  })
})

describe('decompression', () => {
  const bomb = [{ offset: 0, timestamp: 0, key: null, value: Buffer.alloc(8 * 1024 * 1024), headers: [] }]

  test.each(codecs.filter(codec => codec !== 'none'))('%s is bounded', codec => {
    const batch = encodeBatch(bomb, { codec })
    expect(batch.header.sizeInBytes).toBeLessThan(512 * 1024)
    for (const limit of [1, 1000, 1024 * 1024, 8 * 1024 * 1024]) {
      expect(
        thrown(() => [...batch.records(limit)]),
        `limit ${limit}`
      ).toMatchObject({ code: 'BATCH_TOO_LARGE' })
    }
    expect([...batch.records(8 * 1024 * 1024 + 100)]).toHaveLength(1)
  })

  test.each(codecs.filter(codec => codec !== 'none'))('%s data is refused wherever it is cut', codec => {
    const { wire } = batchFixture(`java-${codec}`)
    for (let length = 61; length < wire.length; length++) {
      const batch = resigned(wire.subarray(0, length))
      expect(
        thrown(() => [...batch.records()]),
        `cut to ${length}`
      ).toMatchObject({ code: 'BATCH_CORRUPT' })
    }
  })

  test.each(codecs.filter(codec => codec !== 'none'))('bytes after %s data are refused', codec => {
    const { wire } = batchFixture(`java-${codec}`)
    const batch = resigned(Buffer.concat([wire, Buffer.from('surplus')]))
    expect(thrown(() => [...batch.records()])).toMatchObject({ code: 'BATCH_CORRUPT' })
  })

  test.each(codecs.filter(codec => codec !== 'none'))('a second run of %s data does not slip past the limit', codec => {
    const { wire } = batchFixture(`java-${codec}`)
    const second = encodeBatch(bomb, { codec }).toWire().subarray(61)
    const batch = resigned(Buffer.concat([wire, second]))
    const error = thrown(() => [...batch.records(1024 * 1024)])
    expect(error).toMatchObject({ code: expect.stringMatching(/^BATCH_(CORRUPT|TOO_LARGE)$/) })
  })

  test('an lz4 frame of many short blocks is not taken for a large one', () => {
    // What a client sends that flushes often, in a frame that allows 4 MiB per block: stored bytes, literals, and matches.
    const words = Buffer.from('many short blocks, '.repeat(20))
    const block = compress('lz4', words).subarray(7, -4)
    const blocks = [...words].flatMap(byte => [Buffer.from([1, 0, 0, 0x80, byte]), block])
    const bytes = words.length + words.length * words.length
    // Version 1, independent blocks; 4 MiB; the header's checksum is its xxHash32.
    const header = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73])
    const batch = withBody('java-lz4', Buffer.concat([header, ...blocks, Buffer.alloc(4)]))
    expect(thrown(() => [...batch.records(bytes - 1)])).toMatchObject({ code: 'BATCH_TOO_LARGE' })
    // They are no records, but they come out, so that it is the records that are refused.
    expect(thrown(() => [...batch.records(bytes)])).toMatchObject({ message: expect.stringContaining('record') })
  })

  test('the limit is exact, whatever the records and the codec', () => {
    const property = fc.property(anyRecords, anyOptions, (records, { codec = 'none' }) => {
      fc.pre(codec !== 'none')
      const bytes = encodeBatch(records).header.sizeInBytes - 61
      const batch = encodeBatch(records, { codec })
      expect([...batch.records(bytes)]).toHaveLength(records.length)
      expect(thrown(() => [...batch.records(bytes - 1)])).toMatchObject({ code: 'BATCH_TOO_LARGE' })
    })
    fc.assert(property, { numRuns: 500 })
  })
})

describe('memory', () => {
  const repeated = (part: Buffer, bytes: number) => Buffer.concat(Array(Math.floor(bytes / part.length)).fill(part))
  /** The bytes between a frame's head and its end, over and over. */
  const stretched = (frame: Buffer, head: number, end: number) =>
    Buffer.concat([
      frame.subarray(0, head),
      repeated(frame.subarray(head, frame.length - end), MiB - head - end),
      frame.subarray(frame.length - end)
    ])
  // Each of about 1 MiB: 1 GiB of gzip, 11 GiB of zstd, 255 MiB of lz4, and as much of snappy as it can hold, 22 MiB.
  const bombs: [what: string, fixture: string, body: () => Buffer][] = [
    ['gzip', 'java-gzip', () => repeated(gzipSync(Buffer.alloc(64 * MiB)), MiB)],
    ['zstd', 'java-zstd', () => repeated(zstdCompressSync(Buffer.alloc(64 * MiB)), MiB)],
    ['lz4', 'java-lz4', () => stretched(compress('lz4', Buffer.alloc(65536)), 7, 4)],
    ['xerial snappy', 'java-snappy', () => stretched(compress('snappy', Buffer.alloc(32768)), 16, 0)],
    ['raw snappy', 'librdkafka-snappy', () => snappy.compressSync(Buffer.alloc(21 * MiB))]
  ]

  test.each(bombs)(
    '1 MiB of %s that grows beyond the limit is refused without taking more than that',
    async (_, fixture, body) => {
      const batch = withBody(fixture, body(), 1)
      expect(batch.header.sizeInBytes).toBeGreaterThan(0.9 * MiB)
      expect(batch.header.sizeInBytes).toBeLessThan(1.1 * MiB)
      const { codes, grownBytes } = await decodeApart([batch], 16 * MiB)
      expect(codes).toEqual(['BATCH_TOO_LARGE'])
      expect(grownBytes).toBeLessThan(40 * MiB)
    }
  )

  test('the limit is 256 MiB unless another is given', async () => {
    const batch = withBody('java-gzip', repeated(gzipSync(Buffer.alloc(64 * MiB)), MiB), 1)
    expect(thrown(() => [...batch.records()])).toMatchObject({
      code: 'BATCH_TOO_LARGE',
      message: `a gzip batch grows beyond ${256 * MiB} bytes`
    })
  })

  test('is not taken because a length or a count says so', async () => {
    const hugeSnappy = Buffer.from([0x80, 0x80, 0x80, 0x64, 0, 0]) // says that it holds 200 MiB
    const xerial = Buffer.from(batchFixture('java-snappy').wire.subarray(61, 77 + 4))
    xerial.writeInt32BE(hugeSnappy.length, 16)
    const endless = Buffer.from(xerial)
    endless.writeInt32BE(0x7fffffff, 16)
    // A window of 128 MiB, the largest that a decoder takes, for one block of five bytes.
    const zstd = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0x88, 0x2b, 0, 0, 0])
    const lz4Block = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82, 0xff, 0xff, 0xff, 0x7f])
    const huge = Buffer.from([0xfe, 0xff, 0xff, 0xff, 0x0f]) // 2^31 - 1 as a zigzag varint
    const [zero, none, filler] = [Buffer.alloc(1), Buffer.from([1]), Buffer.alloc(64)]
    // A record of 20 bytes: attributes, timestamp, offset; then a huge key, value, header count or header key.
    const records = [[huge], [none, huge], [none, none, huge], [none, none, Buffer.from([2]), huge]].map(rest =>
      Buffer.concat([Buffer.from([40]), zero, zero, zero, ...rest, filler]).subarray(0, 21)
    )
    const batches = [
      withBody('librdkafka-snappy', hugeSnappy),
      withBody('java-snappy', Buffer.concat([xerial, hugeSnappy])),
      withBody('java-snappy', Buffer.concat([endless, hugeSnappy])),
      withBody('java-zstd', zstd),
      withBody('java-lz4', lz4Block),
      withBody('java-none', Buffer.concat([huge, filler])),
      ...records.map(body => withBody('java-none', body, 1)),
      ...['java-none', 'java-gzip'].map(name => withBody(name, batchFixture(name).wire.subarray(61), 0x7fffffff))
    ]
    const { codes, grownBytes } = await decodeApart(batches, 256 * MiB)
    expect(codes).toEqual(batches.map(() => 'BATCH_CORRUPT'))
    expect(grownBytes).toBeLessThan(16 * MiB)
  })
})

describe('hostile records', () => {
  const good = encodeBatch([
    { offset: 0, timestamp: 0, key: Buffer.from('k'), value: Buffer.from('v'), headers: [['h', Buffer.from('x')]] }
  ])

  test.each([2, 1000, 0x7fffffff])('a count of %d where one record is', count => {
    const wire = Buffer.from(good.toWire())
    wire.writeInt32BE(count, 57)
    expect(thrown(() => [...resigned(wire).records()])).toMatchObject({ code: 'BATCH_CORRUPT' })
  })

  test.each([-1, -0x80000000])('a count of %d', count => {
    const wire = Buffer.from(good.toWire())
    wire.writeInt32BE(count, 57)
    expect(thrown(() => resigned(wire))).toMatchObject({ code: 'BATCH_CORRUPT' })
  })

  test('a count below the records that are there', () => {
    const { wire } = batchFixture('java-none')
    const fewer = Buffer.from(wire)
    fewer.writeInt32BE(4, 57)
    expect(thrown(() => [...resigned(fewer).records()])).toMatchObject({ code: 'BATCH_CORRUPT' })
  })

  test('a negative last offset delta', () => {
    const wire = Buffer.from(good.toWire())
    wire.writeInt32BE(-1, 23)
    expect(thrown(() => resigned(wire))).toMatchObject({ code: 'BATCH_CORRUPT' })
  })

  test.each([
    ['baseTimestamp', 27],
    ['maxTimestamp', 35],
    ['producerId', 43]
  ] as const)('a %s that no number holds exactly, which brokers take', (field, at) => {
    const wire = Buffer.from(good.toWire())
    for (const [value, seen] of [
      [2n ** 62n, Number.POSITIVE_INFINITY],
      [2n ** 53n - 1n, Number.MAX_SAFE_INTEGER],
      [-(2n ** 63n), Number.NEGATIVE_INFINITY]
    ] as const) {
      wire.writeBigInt64BE(value, at)
      const batch = resigned(wire)
      expect(batch.header[field]).toBe(seen)
      // Patched copies keep what is written.
      expect(batch.withBaseOffset(7).toWire().readBigInt64BE(at)).toBe(value)
    }
  })

  test('a base offset that no broker gives', () => {
    const wire = Buffer.from(good.toWire())
    wire.writeBigInt64BE(2n ** 62n, 0)
    expect(thrown(() => resigned(wire))).toMatchObject({ code: 'BATCH_CORRUPT' })
  })

  test.each([-2, 2])('a length that is off by %d / 2', change => {
    const wire = Buffer.from(good.toWire())
    wire[61]! += change // a zigzag varint of one byte
    expect(thrown(() => [...resigned(wire).records()])).toMatchObject({ code: 'BATCH_CORRUPT' })
  })

  test.each([[[0, 0]], [[1, 0]], [[-1, 0]], [[0, 2]]])('offsets that do not ascend, or leave the batch: %j', deltas => {
    const bodies = deltas.map(delta => Buffer.from([12, 0, 0, delta < 0 ? -2 * delta - 1 : 2 * delta, 1, 1, 0]))
    const head = Buffer.from(
      encodeBatch([0, 1].map(offset => ({ offset, timestamp: 0, key: null, value: null, headers: [] })))
        .toWire()
        .subarray(0, 61)
    )
    const batch = resigned(Buffer.concat([head, ...bodies]))
    expect(batch.header).toMatchObject({ recordCount: 2, lastOffset: 1 })
    expect(thrown(() => [...batch.records()])).toMatchObject({ code: 'BATCH_CORRUPT' })
  })

  test('an unknown codec', () => {
    const wire = Buffer.from(good.toWire())
    wire.writeInt16BE(5, 21)
    expect(thrown(() => resigned(wire))).toMatchObject({ code: 'BATCH_UNSUPPORTED' })
  })

  test('any byte of a record set to any value: an error or as many records, never more memory', () => {
    const wire = good.toWire()
    for (let at = 61; at < wire.length; at++) {
      for (let value = 0; value < 256; value++) {
        const changed = Buffer.from(wire)
        changed[at] = value
        const read = () => [...resigned(changed).records()]
        const error = thrown(read)
        if (error === undefined) expect(read()).toHaveLength(1)
        else expect(error, `${value} at ${at}`).toMatchObject({ code: 'BATCH_CORRUPT' })
      }
    }
  })

  test('varints that never end, lengths and counts far beyond the bytes', () => {
    const forever = Buffer.alloc(64, 0xff)
    const huge = Buffer.from([0xfe, 0xff, 0xff, 0xff, 0x0f])
    const zero = Buffer.alloc(1)
    const none = Buffer.from([1])
    const bodies = [
      forever,
      huge,
      // A record of 20 bytes: attributes, timestamp, offset; then a huge key, value, header count or header key.
      ...[[huge], [none, huge], [none, none, huge], [none, none, Buffer.from([2]), huge]].map(rest =>
        Buffer.concat([Buffer.from([40]), zero, zero, zero, ...rest, forever]).subarray(0, 21)
      )
    ]
    for (const body of bodies) {
      expect(thrown(() => [...withBody('java-none', body, 1).records()])).toMatchObject({ code: 'BATCH_CORRUPT' })
    }
  })
})
