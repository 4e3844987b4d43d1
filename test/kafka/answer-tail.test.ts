// The walk through Fetch and share group answers of a real broker, in every cut: it ends where the message table's tail
// begins, and looks at no record.
import { describe, expect, test } from 'vitest'
import { AnswerScanner, hasEndpointsAtEnd, writeTail } from '../../src/kafka/answer-tail.ts'
import type { Api, RequestOf, ResponseOf } from '../../src/kafka/api.ts'
import { responseBodyStart, responseFrame } from '../../src/kafka/headers.ts'
import { fetch, shareAcknowledge, shareFetch } from '../../src/kafka/messages.ts'
import { frameFixtures } from '../fixtures/load.ts'
import { thrown } from '../support/thrown.ts'

const recorded = frameFixtures().filter(
  ({ api, version, side }) => side === 'response' && hasEndpointsAtEnd(api.key, version)
)
const topicId = 'AAECAwQFBgcICQoLDA0ODw'
const currentLeader = { leaderId: 2, leaderEpoch: 7, unknownTags: [{ tag: 3, data: Buffer.alloc(200, 1) }] }
const nodeEndpoints = [1, 2].map(nodeId => ({ nodeId, host: `broker-${nodeId}.internal`, port: 9092, rack: 'r' }))
/** Bytes that look like anything. */
const records = Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * 7) % 256))
const unknownTags = [{ tag: 9, data: Buffer.from('unknown') }]
const acquiredRecords = [1, 2].map(firstOffset => ({ firstOffset, lastOffset: 9, deliveryCount: 1, unknownTags }))

/** All that answers can have, several times: more than the recorded ones do. */
const fullFetch: ResponseOf<typeof fetch> = {
  throttleTimeMs: 5,
  responses: [1, 2, 3].map(() => ({
    topicId,
    partitions: [null, records, Buffer.alloc(0)].map((bytes, partitionIndex) => ({
      partitionIndex,
      errorCode: 6,
      highWatermark: 1,
      currentLeader,
      divergingEpoch: { epoch: 1, endOffset: 2 },
      abortedTransactions:
        bytes === null ? null : [1, 2].map(producerId => ({ producerId, firstOffset: 0, unknownTags })),
      records: bytes,
      unknownTags
    })),
    unknownTags
  })),
  nodeEndpoints,
  unknownTags
}
const fullShareFetch: ResponseOf<typeof shareFetch> = {
  throttleTimeMs: 5,
  errorCode: 0,
  errorMessage: 'none at all',
  acquisitionLockTimeoutMs: 30_000,
  responses: [1, 2].map(() => ({
    topicId,
    partitions: [records, Buffer.alloc(0)].map((bytes, partitionIndex) => ({
      ...{ partitionIndex, errorCode: 6, errorMessage: 'not the leader', acknowledgeErrorCode: 6 },
      ...{ acknowledgeErrorMessage: null, currentLeader, records: bytes, acquiredRecords, unknownTags }
    })),
    unknownTags
  })),
  nodeEndpoints,
  unknownTags
}
const fullShareAcknowledge: ResponseOf<typeof shareAcknowledge> = {
  throttleTimeMs: 5,
  errorCode: 0,
  errorMessage: null,
  acquisitionLockTimeoutMs: 30_000,
  responses: [1, 2].map(() => ({
    topicId,
    partitions: [0, 1].map(partitionIndex => ({
      ...{ partitionIndex, errorCode: 6, errorMessage: 'not the leader', currentLeader, unknownTags }
    }))
  })),
  nodeEndpoints,
  unknownTags
}
const made = [
  ...[16, 17, 18].map(version => ({ api: fetch as Api, version, body: fullFetch as RequestOf<Api> })),
  ...[1, 2].map(version => ({ api: shareFetch as Api, version, body: fullShareFetch as RequestOf<Api> })),
  ...[1, 2].map(version => ({ api: shareAcknowledge as Api, version, body: fullShareAcknowledge as RequestOf<Api> }))
].map(({ api, version, body }) => ({
  name: `a full ${api.name} ${version}`,
  api,
  version,
  frame: responseFrame(api, version, 4, api.response.encode(body, version))
}))

test('recorded are answers with and without brokers, of each version', () => {
  const names = recorded.map(({ name }) => name)
  for (const what of ['Fetch-v16', 'Fetch-v17', 'Fetch-v18', 'ShareFetch-v1', 'ShareFetch-v2']) {
    for (const client of ['millrace', 'elsewhere']) expect(names).toContain(`${client}-${what}-response`)
  }
  for (const version of [1, 2]) expect(names).toContain(`elsewhere-ShareAcknowledge-v${version}-response`)
})

describe.each([...recorded, ...made])('$name', ({ api, version, frame }) => {
  const { nodeEndpoints, unknownTags } = api.response.decode(
    frame,
    version,
    responseBodyStart(frame, api, version)
  ) as ResponseOf<typeof fetch>
  const wanted = { ...(nodeEndpoints ? { nodeEndpoints } : {}), ...(unknownTags ? { unknownTags } : {}) }

  const scan = (pieces: readonly Buffer[]) => {
    const scanner = new AnswerScanner(api.key, version)
    const passed = Buffer.concat(pieces.map(piece => scanner.push(piece)))
    return { passed, ...scanner.finish() }
  }

  test('ends where the table says, in one piece and in pieces of any size', () => {
    for (const size of [frame.length, 1, 2, 3, 7, 61]) {
      const pieces = Array.from({ length: Math.ceil(frame.length / size) }, (_, i) =>
        frame.subarray(i * size, (i + 1) * size)
      )
      const { passed, bytes, tail } = scan(pieces)
      expect(tail, `pieces of ${size}`).toEqual(wanted)
      expect(Buffer.concat([passed, bytes]).equals(frame)).toBe(true)
      expect(writeTail(api.key, version, tail)).toEqual(bytes)
    }
  })

  test('ends there wherever the frame is cut, also with empty pieces', () => {
    for (let cut = 0; cut <= frame.length; cut++) {
      const { tail, passed, bytes } = scan([frame.subarray(0, cut), Buffer.alloc(0), frame.subarray(cut)])
      expect(tail, `cut at ${cut}`).toEqual(wanted)
      expect(passed.length + bytes.length).toBe(frame.length)
    }
  })

  test('passes at once, and copies nothing of it', () => {
    const scanner = new AnswerScanner(api.key, version)
    const length = frame.length - writeTail(api.key, version, wanted).length
    for (let at = 0; at < length; at++) {
      const passed = scanner.push(frame.subarray(at, at + 1))
      expect(passed.length, `byte ${at}`).toBe(1)
      expect(passed.buffer).toBe(frame.buffer)
    }
    expect(scanner.push(frame.subarray(length))).toHaveLength(0)
  })

  test('is refused wherever it ends too early', () => {
    for (let length = 8; length < frame.length; length++) {
      expect(
        thrown(() => scan([frame.subarray(0, length)])),
        `cut to ${length} bytes`
      ).toMatchObject({ code: 'WIRE_CORRUPT' })
    }
  })

  test('is refused when more follows', () => {
    expect(thrown(() => scan([frame, Buffer.alloc(1)]))).toMatchObject({ code: 'WIRE_CORRUPT' })
  })

  test('any byte set to any value is walked through or is a typed error', () => {
    for (let at = 8; at < frame.length; at++) {
      for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
        const changed = Buffer.from(frame)
        changed[at] = value
        const error = thrown(() => scan([changed]))
        if (error !== undefined) expect(error, `${value} at ${at}`).toMatchObject({ code: 'WIRE_CORRUPT' })
      }
    }
  })
})

test.each([
  [1, 15, false],
  [1, 16, true],
  [1, 18, true],
  [78, 1, true],
  [79, 2, true],
  [0, 13, false],
  [3, 13, false]
])('api %d version %d names brokers at its end: %s', (key, version, expected) => {
  expect(hasEndpointsAtEnd(key, version)).toBe(expected)
})
