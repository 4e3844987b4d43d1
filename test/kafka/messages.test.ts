// The message tables against frames that real clients and a real broker exchanged: every byte is understood.
import { describe, expect, test } from 'vitest'
import type { Api } from '../../src/kafka/api.ts'
import { requestBodyStart, requestFrame, responseBodyStart, responseFrame } from '../../src/kafka/headers.ts'
import * as messages from '../../src/kafka/messages.ts'
import { frameFixture, frameFixtures } from '../fixtures/load.ts'
import { thrown } from '../support/thrown.ts'

const fixtures = frameFixtures()
const apis: Api[] = Object.values(messages).filter(api => api !== messages.initProducerId)

test.each(apis)('$name is recorded in every version of its table', ({ name, versions: [min, max] }) => {
  const recorded = new Set(fixtures.filter(({ api }) => api.name === name).map(({ version }) => version))
  expect([...recorded].sort((a, b) => a - b)).toEqual(Array.from({ length: max - min + 1 }, (_, i) => min + i))
})

describe.each(fixtures)('$name', ({ api, version, side, frame }) => {
  const start = (side === 'request' ? requestBodyStart : responseBodyStart)(frame, api, version)
  const message = api[side]

  test('decodes, and encodes to the same bytes', () => {
    const value = message.decode(frame, version, start)
    const body = message.encode(value, version)
    expect(body).toEqual(frame.subarray(start))
    const correlationId = frame.readInt32BE(side === 'request' ? 8 : 4)
    const again =
      side === 'request'
        ? requestFrame(api, version, correlationId, frame.toString('utf8', 14, 14 + frame.readInt16BE(12)), body)
        : responseFrame(api, version, correlationId, body)
    expect(again).toEqual(frame)
  })

  test('is refused wherever it is cut', () => {
    for (let length = start; length < frame.length; length++) {
      const error = thrown(() => message.decode(frame.subarray(0, length), version, start))
      expect(error, `cut to ${length} bytes`).toMatchObject({ code: 'WIRE_CORRUPT' })
    }
  })
})

describe('hostile lengths', () => {
  test('a count beyond the bytes that are there is refused before anything is made', () => {
    const { frame, api, version } = frameFixture('millrace-Metadata-v8-response')
    const hostile = Buffer.from(frame)
    // Version 8 has a plain header and the throttle time before the count of brokers.
    expect(hostile.readInt32BE(12)).toBe(1)
    hostile.writeInt32BE(0x7fffffff, 12)
    expect(thrown(() => api.response.decode(hostile, version, 8))).toMatchObject({ code: 'WIRE_CORRUPT' })
  })

  test('any byte set to any value decodes or is a typed error', () => {
    for (const name of ['millrace-Metadata-v12-response', 'millrace-FindCoordinator-v4-response']) {
      const { frame, api, version } = frameFixture(name)
      for (let at = 8; at < frame.length; at++) {
        for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
          const changed = Buffer.from(frame)
          changed[at] = value
          const error = thrown(() => api.response.decode(changed, version, responseBodyStart(changed, api, version)))
          if (error !== undefined) expect(error, `${value} at ${at}`).toMatchObject({ code: 'WIRE_CORRUPT' })
        }
      }
    }
  })
})

test('tagged fields that the table does not know are kept', () => {
  const { frame, api, version } = frameFixture('java-ApiVersions-v4-response')
  const answer = api.response.decode(frame, version, 8)
  const unknownTags = [{ tag: 77, data: Buffer.from('new') }]
  const bytes = api.response.encode({ ...answer, unknownTags }, version)
  expect(api.response.decode(bytes, version).unknownTags).toEqual(unknownTags)
  expect(bytes.length).toBe(frame.length - 8 + 5)
})
