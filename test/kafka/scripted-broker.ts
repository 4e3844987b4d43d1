// A server that answers each request frame as a test says.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import net from 'node:net'
import { onTestFinished } from 'vitest'
import { collectFrames, REQUEST_HEAD_BYTES } from '../../src/kafka/frames.ts'
import { frameFixture } from '../fixtures/load.ts'

export type Answer = (frame: Buffer, socket: net.Socket) => Buffer | null

/** A server that answers each request frame; `closed` resolves when its first connection has ended. */
export async function serve(answer: Answer) {
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
export function recorded(name: string, frame: Buffer): Buffer {
  const answer = Buffer.from(frameFixture(name).frame)
  answer.writeInt32BE(frame.readInt32BE(8), 4)
  return answer
}

/** What a real broker answered to the first question of every client. */
export const versionsAnswer = (frame: Buffer) =>
  recorded(`millrace-ApiVersions-v${frame.readInt16BE(6)}-response`, frame)
