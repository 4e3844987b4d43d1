// The scan of Produce answers against the message table.
import { describe, expect, test } from 'vitest'
import { responseBodyStart, responseFrame } from '../../src/kafka/headers.ts'
import { produce } from '../../src/kafka/messages.ts'
import { scanProduceAnswer } from '../../src/kafka/produce-answer.ts'
import { frameFixtures } from '../fixtures/load.ts'
import { thrown } from '../support/thrown.ts'

const recorded = frameFixtures().filter(({ api, side }) => api === produce && side === 'response')

const everyVersion = Array.from({ length: 11 }, (_, i) => 3 + i)

/** An answer with all that a version can tell: an error with its records, a time of appending, and where the leader is. */
function answer(version: number, { namesBrokers } = { namesBrokers: true }): Buffer {
  const partitionResponses = [
    { index: 0, errorCode: 0, baseOffset: 2 ** 40 + 5, logAppendTimeMs: 1_700_000_000_000 },
    {
      index: 70_000,
      errorCode: 87,
      baseOffset: -1,
      recordErrors: [
        { batchIndex: 3, batchIndexErrorMessage: 'no key' },
        { batchIndex: 4, batchIndexErrorMessage: null }
      ],
      errorMessage: 'x'.repeat(300)
    },
    { index: 2, errorCode: 6, baseOffset: -1, currentLeader: { leaderId: 7, leaderEpoch: 3 } },
    { index: 3, errorCode: 20, baseOffset: 0 }
  ]
  const responses = [
    { name: 'orders', topicId: 'AAECAwQFBgcICQoLDA0ODw', partitionResponses },
    { name: 'bills', topicId: 'EBESExQVFhcYGRobHB0eHw', partitionResponses: [] }
  ]
  const nodeEndpoints = [{ nodeId: 7, host: 'seven', port: 9092, rack: null }]
  const body = { responses, ...(namesBrokers && { nodeEndpoints }) }
  return responseFrame(produce, version, 5, produce.response.encode(body, version))
}

/** What the table says that the scan should find: what was appended, and where. */
function expected(frame: Buffer, version: number) {
  const body = produce.response.decode(frame, version, responseBodyStart(frame, produce, version))
  const responses = body.responses.map(({ name, topicId, partitionResponses }) => ({
    ...(version < 13 ? { name } : { topicId }),
    partitionResponses: partitionResponses
      .filter(({ baseOffset }) => baseOffset >= 0)
      .map(({ index, errorCode, baseOffset, logAppendTimeMs }) => ({ index, errorCode, baseOffset, logAppendTimeMs }))
  }))
  return {
    responses: responses.filter(({ partitionResponses }) => partitionResponses.length > 0),
    namesBrokers: (body.nodeEndpoints ?? []).length > 0
  }
}

describe.each([
  ...recorded,
  ...everyVersion.map(version => ({ name: `version ${version}`, version, frame: answer(version) }))
])('$name', ({ frame, version }) => {
  test('is read as the table reads it', () => {
    expect(scanProduceAnswer(frame, version)).toEqual(expected(frame, version))
  })

  test('is refused wherever it is cut short', () => {
    for (let length = 8; length < frame.length; length++) {
      const error = thrown(() => scanProduceAnswer(frame.subarray(0, length), version))
      expect(error, `${length} of ${frame.length} bytes`).toMatchObject({ code: 'WIRE_CORRUPT' })
    }
  })
})

test('addresses are told from version 10 on, and only where there are some', () => {
  const telling = (namesBrokers: boolean) =>
    everyVersion.filter(version => scanProduceAnswer(answer(version, { namesBrokers }), version).namesBrokers)
  expect(telling(true)).toEqual([10, 11, 12, 13])
  expect(telling(false)).toEqual([])
})

test.each([8, 9])('an answer without topics is none, in version %d', version => {
  const frame = responseFrame(
    produce,
    version,
    5,
    Buffer.concat([Buffer.alloc(4, version < 9 ? 0xff : 0), Buffer.alloc(8)])
  )
  expect(thrown(() => scanProduceAnswer(frame, version))).toMatchObject({ code: 'WIRE_CORRUPT' })
})

test('a repeated batch may have any timestamp of its producer for its time of appending, nanoseconds too', () => {
  const nanoseconds = 1_764_000_000_123_456_789n
  const repeated = answer(9)
  const told = Buffer.alloc(8)
  told.writeBigInt64BE(1_700_000_000_000n)
  const place = repeated.indexOf(told)
  repeated.writeBigInt64BE(nanoseconds, place)
  const [topic] = scanProduceAnswer(repeated, 9).responses
  expect(topic!.partitionResponses[0]!.logAppendTimeMs).toBe(Number(nanoseconds))

  // An answer that has to be changed tells it as well as a number can.
  const body = responseBodyStart(repeated, produce, 9)
  const again = produce.response.encode(produce.response.decode(repeated, 9, body), 9)
  expect(again.readBigInt64BE(place - body)).toBe(BigInt(Number(nanoseconds)))
})
