// Record batches against what real clients sent, what a real broker wrote, and what Kafka's own kafka-dump-log says of both.
import { crc32c } from '@node-rs/crc32'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { EncodeOptions } from '../../src/kafka/batch.ts'
import { batchesOf, CanonicalBatch, encodeBatch, transactionMarker } from '../../src/kafka/batch.ts'
import type { CodecName } from '../../src/kafka/compression.ts'
import { Codec } from '../../src/kafka/compression.ts'
import type { KafkaRecord } from '../../src/kafka/records.ts'
import { batchFixture, batchFixtures } from '../fixtures/load.ts'
import type { DumpedBatch, DumpedRecord } from '../fixtures/oracle.ts'
import { thrown } from '../support/thrown.ts'

const codecs = Object.keys(Codec) as CodecName[]
const fixtures = batchFixtures()

test('there are fixtures of every client with every codec', () => {
  const wanted = ['java', 'librdkafka', 'kafkajs'].flatMap(client => codecs.map(codec => `${client}-${codec}`))
  expect(fixtures.map(({ name }) => name)).toEqual(expect.arrayContaining(wanted))
})

describe.each(fixtures)('$name', ({ wire, oracle }) => {
  const { batch } = CanonicalBatch.fromWire(wire)

  test('gives back the bytes that it took, and says how many', () => {
    const { batch, bytesConsumed } = CanonicalBatch.fromWire(Buffer.concat([wire, wire]))
    expect(bytesConsumed).toBe(wire.length)
    expect(batch.toWire()).toEqual(wire)
  })

  test('has the header that kafka-dump-log reads', () => {
    expect(dumped(batch)).toEqual(oracle.batch)
  })

  test('has the records that Kafka reads', () => {
    if (oracle.marker !== undefined) expect(transactionMarker(batch)?.toUpperCase()).toBe(oracle.marker)
    else expect([...batch.records()].map(dumpedRecord)).toEqual(oracle.records)
  })

  test('is refused wherever it is cut', () => {
    for (let length = 0; length < wire.length; length++) {
      const error = thrown(() => CanonicalBatch.fromWire(wire.subarray(0, length)))
      expect(error, `cut to ${length} bytes`).toMatchObject({ name: 'MillraceError', code: 'BATCH_CORRUPT' })
    }
  })

  test('keeps its CRC with another offset or leader epoch', () => {
    const moved = batch.withBaseOffset(2 ** 40 + 7).withLeaderEpoch(12)
    expect(moved.header).toMatchObject({ baseOffset: 2 ** 40 + 7, partitionLeaderEpoch: 12, crc: batch.header.crc })
    expect(moved.toWire().subarray(16)).toEqual(wire.subarray(16))
    expect(CanonicalBatch.fromWire(moved.toWire()).batch.header).toEqual(moved.header)
    expect(batch.toWire()).toEqual(wire)
  })

  test('gets a valid CRC with another producer or max timestamp', () => {
    const changed = batch
      .withProducer({ producerId: 2 ** 33, producerEpoch: 3, baseSequence: 70_000 })
      .withMaxTimestamp(1)
    const again = CanonicalBatch.fromWire(changed.toWire()).batch.header
    const fields = {
      producerId: 2 ** 33,
      producerEpoch: 3,
      baseSequence: 70_000,
      maxTimestamp: 1,
      isTransactional: false
    }
    expect(again).toEqual({ ...batch.header, ...fields, crc: crc32c(changed.toWire().subarray(21)) })
    expect(changed.toWire().subarray(61)).toEqual(wire.subarray(61))
  })

  if (oracle.records.length > 0) {
    test.each(codecs)('survives being encoded again with %s', codec => {
      const records = [...batch.records()]
      const encoded = encodeBatch(records, { codec })
      expect(encoded.header).toMatchObject({ codec, recordCount: records.length, lastOffset: records.at(-1)!.offset })
      expect([...encoded.records()]).toEqual(records)
      expect(encodeBatch(records, { codec }).toWire()).toEqual(encoded.toWire())
    })
  }
})

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

test('older message formats are refused by name, however short', () => {
  // A message of format 1 with a null key and a null value: 34 bytes (Kafka's documentation, "Old Message Format").
  const old = Buffer.alloc(34)
  old.writeInt32BE(22, 8)
  old[16] = 1
  expect(thrown(() => CanonicalBatch.fromWire(old))).toMatchObject({ code: 'BATCH_UNSUPPORTED' })
})

test('a stretch of log is read batch by batch, up to an incomplete one', () => {
  const whole = ['java-lz4', 'broker-empty', 'broker-commit'].map(name => batchFixture(name).wire)
  const log = Buffer.concat(whole)
  expect([...batchesOf(log)].map(batch => batch.toWire())).toEqual(whole)
  for (let length = 0; length < log.length; length++) {
    const read = [...batchesOf(log.subarray(0, length))].map(batch => batch.toWire())
    expect(Buffer.concat(read).length).toBeLessThanOrEqual(length)
    expect(read).toEqual(whole.slice(0, read.length))
  }
  const broken = Buffer.from(log)
  broken[whole[0]!.length + 30]! ^= 1
  expect(thrown(() => [...batchesOf(broken)])).toMatchObject({ code: 'BATCH_CORRUPT' })
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

  test('snappy that states a huge length allocates none of it', () => {
    // A raw block that says it holds 200 MiB, and an xerial block that does.
    const raw = Buffer.from([0x80, 0x80, 0x80, 0x64, 0, 0])
    const xerial = Buffer.from(batchFixture('java-snappy').wire.subarray(61, 77 + 4))
    xerial.writeInt32BE(raw.length, 16)
    for (const body of [raw, Buffer.concat([xerial, raw])]) {
      const batch = withBody('kafkajs-snappy', body)
      const before = process.memoryUsage.rss()
      expect(thrown(() => [...batch.records()])).toMatchObject({ code: 'BATCH_CORRUPT' })
      expect(process.memoryUsage.rss() - before).toBeLessThan(50 * 1024 * 1024)
    }
  })

  test('an lz4 frame of many short blocks is not taken for a large one', () => {
    // Blocks of one stored byte each, in a frame that allows 4 MiB per block: what a client that flushes often sends.
    const data = Buffer.from('many short blocks, '.repeat(10))
    const blocks = [...data].map(byte => Buffer.from([1, 0, 0, 0x80, byte]))
    // Version 1, independent blocks; 4 MiB; the header's checksum is its xxHash32.
    const header = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73])
    const batch = withBody('java-lz4', Buffer.concat([header, ...blocks, Buffer.alloc(4)]))
    // 190 bytes are no records, but they come out, so that it is the records that are refused.
    expect(thrown(() => [...batch.records(1024 * 1024)])).toMatchObject({
      message: expect.stringContaining('record 0')
    })
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

  test.each([27, 35, 43])('a 64-bit number at %d that no offset, time or producer id reaches', at => {
    const wire = Buffer.from(good.toWire())
    wire.writeBigInt64BE(2n ** 62n, at)
    expect(thrown(() => resigned(wire))).toMatchObject({ code: 'BATCH_CORRUPT' })
  })

  test.each([-2, 2])('a length that is off by %d / 2', change => {
    const wire = Buffer.from(good.toWire())
    wire[61]! += change // a zigzag varint of one byte
    expect(thrown(() => [...resigned(wire).records()])).toMatchObject({ code: 'BATCH_CORRUPT' })
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

describe('any records', () => {
  const bytes = fc.uint8Array({ maxLength: 64 }).map(array => Buffer.from(array))
  const nullable = fc.option(bytes)
  const header = fc.tuple(fc.string({ unit: 'grapheme', maxLength: 10 }), nullable)
  const timestamp = fc.oneof(fc.constant(-1), fc.integer({ min: 0, max: 2 ** 45 }))
  const shape = { step: fc.integer({ min: 1, max: 2 ** 20 }), timestamp, key: nullable, value: nullable, headers: fc.array(header, { maxLength: 4 }) } // biome-ignore format: one thing
  const records = fc
    .tuple(fc.integer({ min: 0, max: 2 ** 50 }), fc.array(fc.record(shape), { minLength: 1, maxLength: 20 }))
    .map(([base, list]) => {
      let offset = base
      return list.map(({ step, ...rest }): KafkaRecord => ({ offset: (offset += step), ...rest }))
    })
  const options: fc.Arbitrary<EncodeOptions> = fc.record({
    codec: fc.constantFrom(...codecs),
    producerId: fc.integer({ min: -1, max: 2 ** 50 }),
    producerEpoch: fc.integer({ min: -1, max: 32767 }),
    baseSequence: fc.integer({ min: -1, max: 0x7fffffff }),
    partitionLeaderEpoch: fc.integer({ min: -1, max: 0x7fffffff })
  })

  test('come back as they were', () => {
    fc.assert(
      fc.property(records, options, (records, options) => {
        const wire = encodeBatch(records, options).toWire()
        const { batch, bytesConsumed } = CanonicalBatch.fromWire(wire)
        expect(bytesConsumed).toBe(wire.length)
        expect(batch.header).toMatchObject({
          ...options,
          baseOffset: records[0]!.offset,
          lastOffset: records.at(-1)!.offset,
          baseTimestamp: records[0]!.timestamp,
          maxTimestamp: Math.max(...records.map(({ timestamp }) => timestamp)),
          recordCount: records.length
        })
        expect([...batch.records()]).toEqual(records)
      }),
      { numRuns: 300 }
    )
  })
})

test('no records make no batch', () => {
  expect(thrown(() => encodeBatch([]))).toMatchObject({ code: 'BATCH_CORRUPT' })
})

/** A header by kafka-dump-log's names for its fields. */
function dumped({ header }: CanonicalBatch): DumpedBatch {
  return {
    baseOffset: header.baseOffset,
    lastOffset: header.lastOffset,
    count: header.recordCount,
    baseSequence: header.baseSequence,
    producerId: header.producerId,
    producerEpoch: header.producerEpoch,
    partitionLeaderEpoch: header.partitionLeaderEpoch,
    isTransactional: header.isTransactional,
    isControl: header.isControl,
    timestampType: header.timestampType,
    maxTimestamp: header.maxTimestamp,
    size: header.sizeInBytes,
    compresscodec: header.codec,
    crc: header.crc
  }
}

function dumpedRecord({ offset, timestamp, key, value, headers }: KafkaRecord): DumpedRecord {
  const list = headers.map(([name, value]) => `${name}:${value ?? '<null>'}`).join()
  return [offset, timestamp, key?.toString() ?? null, value?.toString() ?? null, list]
}

/** The batch in `wire` with a length and a CRC that fit it: what is wrong inside is not found by these. */
function resigned(bytes: Buffer): CanonicalBatch {
  const wire = Buffer.from(bytes)
  wire.writeInt32BE(wire.length - 12, 8)
  wire.writeUInt32BE(crc32c(wire.subarray(21)), 17)
  return CanonicalBatch.fromWire(wire).batch
}

/** The header of a fixture before another body. */
function withBody(name: string, body: Buffer, count?: number): CanonicalBatch {
  const head = Buffer.from(batchFixture(name).wire.subarray(0, 61))
  if (count !== undefined) head.writeInt32BE(count, 57)
  return resigned(Buffer.concat([head, body]))
}
