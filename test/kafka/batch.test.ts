// Record batches against what real clients sent, what a real broker wrote, and what Kafka's own kafka-dump-log says of both.
import { randomBytes } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { crc32c } from '@node-rs/crc32'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { batchesOf, CanonicalBatch, encodeBatch, transactionMarker } from '../../src/kafka/batch.ts'
import type { KafkaRecord } from '../../src/kafka/records.ts'
import { batchFixture, batchFixtures } from '../fixtures/load.ts'
import type { DumpedBatch, DumpedRecord } from '../fixtures/oracle.ts'
import { thrown } from '../support/thrown.ts'
import { anyOptions, anyRecords, codecs } from './batch-arbitraries.ts'

const fixtures = batchFixtures()

test('there are fixtures of every client with every codec, and of what a broker does to batches', () => {
  const byCodec = ['java', 'librdkafka', 'kafkajs'].flatMap(client => codecs.map(codec => `${client}-${codec}`))
  const special = [
    ...['java-idempotent', 'java-transactional', 'librdkafka-idempotent', 'librdkafka-transactional'],
    ...['librdkafka-edges', 'kafkajs-times', 'kafkajs-thousand', 'kafkajs-append-time'],
    ...['java', 'librdkafka'].flatMap(client => [`${client}-thousand-lz4`, `${client}-thousand-snappy`]),
    ...['transactional', 'commit', 'abort', 'append-time', 'compacted', 'empty', 'delete-horizon'].map(
      what => `broker-${what}`
    )
  ]
  expect(fixtures.map(({ name }) => name).sort()).toEqual([...byCodec, ...special].sort())
})

test('the fixtures are what their names say', () => {
  const header = (name: string) => CanonicalBatch.fromWire(batchFixture(name).wire).batch.header
  for (const one of fixtures.filter(({ name }) => name.includes('thousand')))
    expect(one.oracle.records.length).toBe(1000)
  const { recordCount, lastOffsetDelta } = header('broker-compacted')
  expect([recordCount, lastOffsetDelta]).toEqual([2, 3])
  expect(header('broker-empty')).toMatchObject({ recordCount: 0, sizeInBytes: 61 })
  expect(header('broker-delete-horizon').hasDeleteHorizon).toBe(true)
  expect(header('broker-append-time').timestampType).toBe('LogAppendTime')
  expect(header('broker-commit')).toMatchObject({ isControl: true, isTransactional: true })
  expect(header('java-idempotent')).toMatchObject({ baseSequence: 0, isTransactional: false })
  expect(header('java-idempotent').producerId).toBeGreaterThanOrEqual(0)
  for (const name of ['kafkajs-times', 'librdkafka-edges']) {
    const times = batchFixture(name).oracle.records.map(([, timestamp]) => timestamp)
    expect(times).not.toEqual(times.toSorted((a, b) => a - b))
    expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(2 ** 31)
  }
})

describe.each(fixtures)('$name', ({ name, wire, oracle }) => {
  const { batch } = CanonicalBatch.fromWire(wire)

  test('gives back the bytes that it took, and says how many', () => {
    const { batch, bytesConsumed } = CanonicalBatch.fromWire(Buffer.concat([wire, wire]))
    expect(bytesConsumed).toBe(wire.length)
    expect(batch.toWire()).toEqual(wire)
  })

  test('has the header that kafka-dump-log reads', () => {
    expect(dumped(batch)).toEqual(oracle.batch)
    const { batchLength, lastOffsetDelta, baseOffset, attributes } = batch.header
    expect(batchLength).toBe(wire.length - 12)
    expect(baseOffset + lastOffsetDelta).toBe(oracle.batch.lastOffset)
    expect(attributes).toBe(wire.readInt16BE(21))
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
      isTransactional: false,
      attributes: batch.header.attributes & ~0x10
    }
    expect(again).toEqual({ ...batch.header, ...fields, crc: crc32c(changed.toWire().subarray(21)) })
    expect(changed.toWire().subarray(61)).toEqual(wire.subarray(61))
  })

  const { codec, isTransactional } = batch.header
  // kafkajs takes the least timestamp for the base, the others and we the first one.
  if (codec === 'none' && !isTransactional && !name.startsWith('broker-') && name !== 'kafkajs-times') {
    test('is made again of its records, byte for byte', () => {
      expect(encodeBatch([...batch.records()], batch.header).toWire()).toEqual(wire)
    })
  }

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

test('becomes what the log of a LogAppendTime topic has of it', () => {
  const sent = CanonicalBatch.fromWire(batchFixture('kafkajs-append-time').wire).batch
  const { wire, oracle } = batchFixture('broker-append-time')
  const { maxTimestamp, partitionLeaderEpoch } = oracle.batch
  const logged = sent.withLogAppendTime(maxTimestamp).withLeaderEpoch(partitionLeaderEpoch)
  expect(logged.toWire()).toEqual(wire)
  expect([...logged.records()].map(({ timestamp }) => timestamp)).toEqual([maxTimestamp, maxTimestamp])
})

test('a compressed batch without records has no body', () => {
  const wire = Buffer.from(batchFixture('broker-empty').wire)
  wire[22]! |= 1
  wire.writeUInt32BE(crc32c(wire.subarray(21)), 17)
  expect([...CanonicalBatch.fromWire(wire).batch.records()]).toEqual([])
})

describe('lz4 has the settings of the Java client', () => {
  const bodyOf = (name: string) => batchFixture(name).wire.subarray(61)

  test.each(['java-lz4', 'java-thousand-lz4'])('as in %s', name => {
    const { batch } = CanonicalBatch.fromWire(batchFixture(name).wire)
    const ours = encodeBatch([...batch.records()], { codec: 'lz4' })
      .toWire()
      .subarray(61)
    expect(ours.subarray(0, 7)).toEqual(bodyOf(name).subarray(0, 7))
    expect(frameSizes(ours).length).toBe(frameSizes(bodyOf(name)).length)
  })

  test('what does not shrink is stored, in blocks of 64 KiB, without checksums', () => {
    const record = { offset: 0, timestamp: 0, key: null, value: randomBytes(150_000), headers: [] }
    const ours = encodeBatch([record], { codec: 'lz4' })
    const stored = 0x80000000
    // The record's own fields take eleven bytes.
    expect(frameSizes(ours.toWire().subarray(61))).toEqual([stored + 65536, stored + 65536, stored + 150_011 - 131_072])
    expect([...ours.records()]).toEqual([record])
  })

  /** The block sizes of a frame without checksums, up to its end mark, which must be its end. */
  function frameSizes(frame: Buffer): number[] {
    const sizes: number[] = []
    let at = 7
    for (; frame.readUInt32LE(at) !== 0; at += 4 + (sizes.at(-1)! & 0x7fffffff)) sizes.push(frame.readUInt32LE(at))
    expect(at + 4).toBe(frame.length)
    return sizes
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

describe('any records', () => {
  test('come back as they were', () => {
    fc.assert(
      fc.property(anyRecords, anyOptions, (records, options) => {
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
        const decoded = [...batch.records()]
        // Vitest takes long over large buffers: it is asked only for what differs.
        if (!isDeepStrictEqual(decoded, records)) expect(decoded).toEqual(records)
        expect(encodeBatch(decoded, options).toWire().equals(wire)).toBe(true)
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
    deleteHorizonMs: header.hasDeleteHorizon ? header.baseTimestamp : null,
    timestampType: header.timestampType,
    maxTimestamp: header.maxTimestamp,
    size: header.sizeInBytes,
    magic: header.magic,
    compresscodec: header.codec,
    crc: header.crc
  }
}

function dumpedRecord({ offset, timestamp, key, value, headers }: KafkaRecord): DumpedRecord {
  const list = headers.map(([name, value]) => `${name}:${value ?? '<null>'}`).join()
  return [offset, timestamp, key?.toString() ?? null, value?.toString() ?? null, list]
}
