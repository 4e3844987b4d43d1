// A client connection to a broker that answers as the test says.
import { expect, test } from 'vitest'
import { Connection } from '../../src/kafka/connection.ts'
import { responseFrame } from '../../src/kafka/headers.ts'
import { apiVersions, listOffsets, metadata } from '../../src/kafka/messages.ts'
import type { Answer } from './scripted-broker.ts'
import { recorded, serve, versionsAnswer } from './scripted-broker.ts'

test('learns versions, and speaks the highest that both do', async () => {
  const { address } = await serve(versionsAnswer)
  using connection = await Connection.open(address, 'test')
  expect([connection.version(metadata), connection.version(listOffsets)]).toEqual([13, 11])
})

test('falls back to version 0 where the broker knows no better', async () => {
  const asked: number[] = []
  const { address } = await serve(frame => {
    const version = frame.readInt16BE(6)
    asked.push(version)
    const error = { errorCode: version === 0 ? 0 : 35, apiKeys: [{ apiKey: 3, minVersion: 0, maxVersion: 5 }] }
    return responseFrame(apiVersions, 0, frame.readInt32BE(8), apiVersions.response.encode(error, 0))
  })
  using connection = await Connection.open(address, 'test')
  expect(asked).toEqual([3, 0])
  expect(connection.version(metadata)).toBe(5)
  expect(() => connection.version(listOffsets)).toThrow(expect.objectContaining({ code: 'BROKER_ERROR' }))
})

test.each([
  ['nothing after its header', 0],
  ['too little', 2],
  ['nonsense', 40]
])('an answer with %s is a typed error, and the connection is closed', async (_, length) => {
  const { address, closed } = await serve(frame =>
    responseFrame(apiVersions, 0, frame.readInt32BE(8), Buffer.alloc(length, 0x7f))
  )
  await expect(Connection.open(address, 'test')).rejects.toMatchObject({ code: 'WIRE_CORRUPT' })
  await closed
})

test.each<[string, Answer]>([
  [
    'closes',
    (_, socket) => {
      socket.end()
      return null
    }
  ],
  ['answers another request', frame => recorded('millrace-Metadata-v13-response', Buffer.from(frame).fill(9, 8, 12))],
  ['speaks something else', () => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')]
])('all that wait are refused when the broker %s', async (_, answer) => {
  const { address, closed } = await serve((frame, socket) =>
    frame.readInt16BE(4) === apiVersions.key ? versionsAnswer(frame) : answer(frame, socket)
  )
  using connection = await Connection.open(address, 'test')
  const requests = [1, 2].map(() => connection.request(metadata, { topics: null }))
  for (const result of await Promise.allSettled(requests)) {
    expect(result).toMatchObject({ status: 'rejected', reason: { code: 'BROKER_UNREACHABLE', retriable: true } })
  }
  await closed
  expect(connection.closed).toBe(true)
  await expect(connection.request(metadata, { topics: null })).rejects.toMatchObject({ code: 'BROKER_UNREACHABLE' })
})

test('an address that nobody listens on', async () => {
  await expect(Connection.open({ host: '127.0.0.1', port: 1 }, 'test')).rejects.toMatchObject({
    code: 'BROKER_UNREACHABLE',
    message: expect.stringContaining('127.0.0.1:1')
  })
})

test('a request that is not answered in time', async () => {
  const { address, closed } = await serve(frame =>
    frame.readInt16BE(4) === apiVersions.key ? versionsAnswer(frame) : null
  )
  using connection = await Connection.open(address, 'test')
  const request = connection.request(metadata, { topics: null }, { timeoutMs: 20 })
  await expect(request).rejects.toMatchObject({ message: expect.stringContaining('not answered in 20 ms') })
  await closed
})
