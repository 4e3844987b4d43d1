// The scan of Produce requests against the message table, over every way in which a network may cut them.
import { describe, expect, test } from 'vitest'
import { encodeBatch } from '../../src/kafka/batch.ts'
import { requestBodyStart, requestFrame } from '../../src/kafka/headers.ts'
import { produce } from '../../src/kafka/messages.ts'
import type { ProduceRequest } from '../../src/kafka/produce-request.ts'
import { scanProduceRequest } from '../../src/kafka/produce-request.ts'
import { frameFixtures } from '../fixtures/load.ts'
import { thrown } from '../support/thrown.ts'

const recorded = frameFixtures().filter(({ api, side }) => api === produce && side === 'request')

const batch = (value: string) =>
  encodeBatch([{ offset: 0, timestamp: 1, key: null, value: Buffer.from(value), headers: [] }]).toWire()
const topicIds = ['AAECAwQFBgcICQoLDA0ODw', 'EBESExQVFhcYGRobHB0eHw']
const everyVersion = Array.from({ length: 11 }, (_, i) => 3 + i)

/** A request for two topics and three partitions, one of them without records. */
function request(version: number, header: { transactionalId?: string | null; acks?: number; timeoutMs?: number } = {}) {
  const { transactionalId = null, acks = -1, timeoutMs = 30_000 } = header
  const topicData = [
    {
      name: 'orders',
      topicId: topicIds[0]!,
      partitionData: [0, 7].map(index => ({ index, records: batch(`v${index}`) }))
    },
    { name: 'empty', topicId: topicIds[1]!, partitionData: [{ index: 1, records: null }] }
  ]
  const body = produce.request.encode({ transactionalId, acks, timeoutMs, topicData }, version)
  return requestFrame(produce, version, 5, 'some client', body)
}

/** What the table says that the scan should find. */
function expected(frame: Buffer, version: number) {
  const body = produce.request.decode(frame, version, requestBodyStart(frame, produce, version))
  const partitions = body.topicData.flatMap(({ name = null, topicId = null, partitionData }) =>
    partitionData.map(({ index, records }) => ({ topic: name, topicId, partition: index, records }))
  )
  const batches = partitions.filter(({ records }) => records !== null)
  return { acks: body.acks, timeoutMs: body.timeoutMs, batches, unbatched: partitions.length - batches.length }
}

/** The scan's answer in the same form; its batches' fields are read where the record batch format has them. */
function flat({ acks, timeoutMs, batches, unbatched }: ProduceRequest) {
  return {
    acks,
    timeoutMs,
    batches: batches.map(({ topic, topicId, partition, chunks, recordCount, lastOffsetDelta }) => {
      const records = Buffer.concat(chunks)
      expect([recordCount, lastOffsetDelta]).toEqual([records.readInt32BE(57), records.readInt32BE(23)])
      return { topic, topicId, partition, records }
    }),
    unbatched
  }
}

const pieces = (frame: Buffer, size: number) =>
  Array.from({ length: Math.ceil(frame.length / size) }, (_, i) => frame.subarray(i * size, (i + 1) * size))

describe.each([
  ...recorded,
  ...everyVersion.map(version => ({ name: `version ${version}`, version, frame: request(version) }))
])('$name', ({ frame, version }) => {
  const wanted = expected(frame, version)

  test('is read in one piece and in pieces of any size', () => {
    expect(flat(scanProduceRequest([frame], version))).toEqual(wanted)
    for (const size of [1, 2, 3, 7, 61, 64]) {
      expect(flat(scanProduceRequest(pieces(frame, size), version)), `pieces of ${size}`).toEqual(wanted)
    }
  })

  test('is read wherever it is cut, also with empty pieces', () => {
    for (let cut = 0; cut <= frame.length; cut++) {
      const chunks = [frame.subarray(0, cut), Buffer.alloc(0), frame.subarray(cut)]
      expect(flat(scanProduceRequest(chunks, version)), `cut at ${cut}`).toEqual(wanted)
    }
  })

  test('is copied nowhere', () => {
    for (const { chunks } of scanProduceRequest([frame], version).batches) {
      for (const chunk of chunks) expect(chunk.buffer).toBe(frame.buffer)
    }
  })

  test('is refused wherever it ends too early', () => {
    // In flexible versions the last bytes are counts of tagged fields, the very last one of the request itself, which is not read.
    const unread = version >= produce.flexible ? 1 : 0
    for (let length = 0; length < frame.length - unread; length++) {
      const error = thrown(() => scanProduceRequest([frame.subarray(0, length)], version))
      expect(error, `cut to ${length} bytes`).toMatchObject({ code: 'WIRE_CORRUPT' })
    }
  })
})

describe.each(everyVersion)('version %d', version => {
  test.each([
    { transactionalId: null, acks: 0, timeoutMs: 0 },
    { transactionalId: null, acks: 1, timeoutMs: 1 },
    { transactionalId: null, acks: 0, timeoutMs: 0x7fffffff },
    { transactionalId: 't', acks: -1, timeoutMs: 12_345 },
    { transactionalId: 'replay-1', acks: 0, timeoutMs: 0x01020304 },
    // As long as the compact length takes two bytes.
    { transactionalId: 'x'.repeat(200), acks: 1, timeoutMs: 0x00ff00ff }
  ])('acks $acks after transactional id $transactionalId', header => {
    const { acks, timeoutMs } = header
    expect(scanProduceRequest([request(version, header)], version)).toMatchObject({ acks, timeoutMs })
  })
})

describe('what is more or less than one batch of format 2', () => {
  const scan = (records: Buffer) => {
    const topicData = [{ name: 'orders', partitionData: [{ index: 0, records }] }]
    const body = produce.request.encode({ transactionalId: null, acks: 1, timeoutMs: 1, topicData }, 7)
    return scanProduceRequest([requestFrame(produce, 7, 1, 'c', body)], 7)
  }
  const one = batch('v')

  test('half a batch, an old format, a size without a header, nothing', () => {
    const [old, tiny] = [Buffer.from(one), Buffer.from(one)]
    old[16] = 1
    tiny.writeInt32BE(10, 8)
    expect(scan(one)).toMatchObject({ batches: [{ recordCount: 1, lastOffsetDelta: 0 }], unbatched: 0 })
    for (const records of [one.subarray(0, -1), old, tiny, one.subarray(0, 60), Buffer.alloc(0)]) {
      expect(scan(records)).toMatchObject({ batches: [], unbatched: 1 })
    }
  })

  test('what follows a batch is left out: brokers cut it off, or refuse it where it is another batch', () => {
    for (const tail of [Buffer.from([1]), Buffer.alloc(61), one]) {
      const { batches, unbatched } = scan(Buffer.concat([one, tail]))
      expect([batches.map(({ chunks }) => Buffer.concat(chunks)), unbatched]).toEqual([[one], 0])
    }
  })

  test('a count of topics or a length far beyond the request', () => {
    const frame = request(7)
    // Header 12, client id 13, transactional id 2, acks 2, timeout 4: the count of topics; then the name (8), the count of
    // partitions, the index: the records' length.
    for (const [at, was] of [
      [33, 2],
      [53, batch('v0').length]
    ] as const) {
      const hostile = Buffer.from(frame)
      expect(hostile.readInt32BE(at)).toBe(was)
      hostile.writeInt32BE(0x7fffffff, at)
      expect(thrown(() => scanProduceRequest([hostile], 7))).toMatchObject({ code: 'WIRE_CORRUPT' })
    }
  })
})
