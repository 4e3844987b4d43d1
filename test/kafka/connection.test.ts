// A client connection to a broker that answers as the test says.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import net from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { Connection } from '../../src/kafka/connection.ts'
import { collectFrames, REQUEST_HEAD_BYTES } from '../../src/kafka/frames.ts'
import { responseFrame } from '../../src/kafka/headers.ts'
import { apiVersions, listOffsets, metadata } from '../../src/kafka/messages.ts'
import { frameFixture } from '../fixtures/load.ts'

type Answer = (frame: Buffer, socket: net.Socket) => Buffer | null

/** A server that answers each request frame; `closed` resolves when its first connection has ended. */
async function serve(answer: Answer) {
  const closed = Promise.withResolvers<void>()
  const server = net.createServer(socket => {
    const frames = collectFrames(frame => {
      const bytes = answer(frame, socket)
      if (bytes) socket.write(bytes)
    }, REQUEST_HEAD_BYTES)
    socket.on('data', data => frames.push(data as Buffer))
    socket.on('error', () => undefined)
    socket.on('close', () => closed.resolve())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return { address: { host: '127.0.0.1', port: (server.address() as AddressInfo).port }, closed: closed.promise }
}

/** What a real broker answered, under the request's correlation id. */
function recorded(name: string, frame: Buffer): Buffer {
  const answer = Buffer.from(frameFixture(name).frame)
  answer.writeInt32BE(frame.readInt32BE(8), 4)
  return answer
}

const versionsAnswer = (frame: Buffer) => recorded(`millrace-ApiVersions-v${frame.readInt16BE(6)}-response`, frame)

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
