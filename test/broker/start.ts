// Servers and clients for the protocol server's tests; both are gone when the test ends.
import { once } from 'node:events'
import net from 'node:net'
import { onTestFinished } from 'vitest'
import { fetchHandler } from '../../src/broker/fetch.ts'
import { findCoordinatorHandler } from '../../src/broker/find-coordinator.ts'
import type { Handler } from '../../src/broker/handler.ts'
import { listOffsetsHandler } from '../../src/broker/list-offsets.ts'
import type { LogStore } from '../../src/broker/log-store.ts'
import type { MetadataOptions } from '../../src/broker/metadata.ts'
import { describeClusterHandler, metadataHandler } from '../../src/broker/metadata.ts'
import type { ServerOptions } from '../../src/broker/server.ts'
import { KafkaServer } from '../../src/broker/server.ts'
import type { Address } from '../../src/kafka/address.ts'
import { Connection } from '../../src/kafka/connection.ts'
import { collectFrames, RESPONSE_HEAD_BYTES } from '../../src/kafka/frames.ts'
import { frameFixture } from '../fixtures/load.ts'
import { until } from '../support/until.ts'

/** A server with these handlers, and what it reported. */
export async function start(handlers: readonly Handler[], options: Partial<ServerOptions> = {}) {
  const reported: { error: unknown; where: string }[] = []
  const server = await KafkaServer.listen({
    listen: { host: '127.0.0.1', port: 0 },
    handlers,
    what: 'listen',
    hint: 'Choose another port.',
    onError: (error, where) => reported.push({ error, where }),
    ...options
  })
  onTestFinished(() => server[Symbol.asyncDispose]())
  return { server, reported, address: { host: '127.0.0.1', port: server.address.port } }
}

/** A server over a store, with all that it takes to read from it. */
export async function startReader(store: LogStore, options: Partial<ServerOptions> & MetadataOptions = {}) {
  const faults: { error: unknown; where: string }[] = []
  const onError = (error: unknown, where: string) => void faults.push({ error, where })
  const handlers = [
    metadataHandler(store, { create: options.create }),
    describeClusterHandler(store),
    findCoordinatorHandler({ groups: true }),
    listOffsetsHandler(store, { onError }),
    fetchHandler(store, { onError })
  ]
  return { ...(await start(handlers, options)), faults }
}

export async function connect(address: Address): Promise<Connection> {
  const connection = await Connection.open(address, 'test')
  onTestFinished(() => connection[Symbol.dispose]())
  return connection
}

/** A socket, the whole frames that it received, and whether it was closed. */
export async function rawClient({ host, port }: Address) {
  const socket = net.connect({ host, port })
  const frames: Buffer[] = []
  const state = { closed: false }
  const collected = collectFrames(frame => frames.push(frame), RESPONSE_HEAD_BYTES)
  socket.on('data', data => void collected.push(data as Buffer))
  socket.on('error', () => undefined)
  socket.on('close', () => {
    state.closed = true
  })
  await once(socket, 'connect')
  onTestFinished(() => void socket.destroy())
  return {
    socket,
    frames,
    send: (...requests: Buffer[]) => void socket.write(Buffer.concat(requests)),
    /** The next so many answers, in their order. */
    received: async (count: number) => {
      await until(() => frames.length >= count, { what: `${count} answers`, interval: 5 })
      return frames.splice(0, count)
    },
    closed: () => until(() => state.closed, { what: 'the server closes the connection', interval: 5 })
  }
}

/** A request as a real client sent it, under another correlation id. */
export function recordedRequest(name: string, correlationId: number): Buffer {
  const frame = Buffer.from(frameFixture(name).frame)
  frame.writeInt32BE(correlationId, 8)
  return frame
}

export const correlationIds = (frames: readonly Buffer[]) => frames.map(frame => frame.readInt32BE(4))
