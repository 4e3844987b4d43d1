// The protocol server over real connections: order, what ends a connection, what is bounded, and how it stops.
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import type { Handler, RequestContext } from '../../src/broker/handler.ts'
import { handler } from '../../src/broker/handler.ts'
import { metadataHandler } from '../../src/broker/metadata.ts'
import { KafkaServer } from '../../src/broker/server.ts'
import { requestFrame } from '../../src/kafka/headers.ts'
import { apiVersions, initProducerId, metadata, produce } from '../../src/kafka/messages.ts'
import { frameFixture } from '../fixtures/load.ts'
import { until } from '../support/until.ts'
import { ordersStore } from './memory-store.ts'
import { connect, correlationIds, rawClient, recordedRequest, start, startReader } from './start.ts'

const produceRequest = (correlationId: number) => recordedRequest('java-Produce-v13-request', correlationId)
const metadataRequest = (correlationId: number) => recordedRequest('java-Metadata-v13-request', correlationId)

/** A handler that answers when the test says so. */
function held(api: typeof produce | typeof metadata, answer: object | null, options: { pipelined?: boolean } = {}) {
  const begun: { context: RequestContext; release: () => void }[] = []
  const handle = async (_: unknown, context: RequestContext): Promise<any> => {
    const { promise, resolve } = Promise.withResolvers<void>()
    begun.push({ context, release: resolve })
    await promise
    return answer
  }
  return { begun, handler: handler(api as any, handle, options) }
}

const heldProduce = () => held(produce, { responses: [] }, { pipelined: true })
const heldMetadata = () => held(metadata, { brokers: [], topics: [] })
const begunAre = (begun: readonly unknown[], count: number) =>
  until(() => begun.length === count, { what: `${count} begun`, interval: 5 })

/** A few round trips on another connection: time enough for whatever would happen at once. */
async function meanwhile(address: { host: string; port: number }): Promise<void> {
  const client = await connect(address)
  const about = { clientSoftwareName: 'test', clientSoftwareVersion: '0' }
  for (let i = 0; i < 20; i++) await client.request(apiVersions, about)
}

describe('order', () => {
  test('pipelined requests begin together, others wait; answers go out in the order of the requests', async () => {
    const first = heldProduce()
    const second = heldMetadata()
    const { address } = await start([first.handler, second.handler])
    const client = await rawClient(address)
    client.send(produceRequest(7), produceRequest(8), produceRequest(9), metadataRequest(10), produceRequest(11))
    await begunAre(first.begun, 3)
    for (const { release } of first.begun.slice(1)) release()
    await meanwhile(address)
    expect([client.frames.length, second.begun.length]).toEqual([0, 0])

    first.begun[0]!.release()
    expect(correlationIds(await client.received(3))).toEqual([7, 8, 9])
    await begunAre(second.begun, 1)
    await meanwhile(address)
    expect(first.begun).toHaveLength(3)

    second.begun[0]!.release()
    await begunAre(first.begun, 4)
    first.begun[3]!.release()
    expect(correlationIds(await client.received(2))).toEqual([10, 11])
  })

  test('requests that are not pipelined are answered one by one', async () => {
    const { begun, handler } = heldMetadata()
    const { address } = await start([handler])
    const client = await rawClient(address)
    client.send(metadataRequest(1), metadataRequest(2))
    await begunAre(begun, 1)
    await meanwhile(address)
    expect(begun).toHaveLength(1)
    begun[0]!.release()
    await begunAre(begun, 2)
    begun[1]!.release()
    expect(correlationIds(await client.received(2))).toEqual([1, 2])
  })

  test('no answer is sent where the handler gives none', async () => {
    const { address } = await start([
      handler(produce, async () => null, { pipelined: true }),
      handler(metadata, async () => ({ brokers: [], topics: [] }))
    ])
    const client = await rawClient(address)
    client.send(produceRequest(1), metadataRequest(2), produceRequest(3), metadataRequest(4))
    expect(correlationIds(await client.received(2))).toEqual([2, 4])
  })

  test('requests may come in any pieces', async () => {
    const { address } = await startReader(ordersStore().store)
    const client = await rawClient(address)
    for (const byte of Buffer.concat([metadataRequest(1), metadataRequest(2)])) client.socket.write(Buffer.of(byte))
    expect(correlationIds(await client.received(2))).toEqual([1, 2])
  })
})

describe('what a handler is told', () => {
  test('of the request and its client', async () => {
    const { begun, handler } = heldMetadata()
    const { address } = await start([handler])
    const client = await rawClient(address)
    client.send(metadataRequest(1))
    await begunAre(begun, 1)
    expect(begun[0]!.context).toMatchObject({
      version: 13,
      clientId: 'java',
      clientHost: '/127.0.0.1',
      advertised: address
    })
    begun[0]!.release()
  })

  test('a client that is gone aborts, and what it sent before is still done', async () => {
    const waiting = heldMetadata()
    const later = heldProduce()
    const { address, reported } = await start([waiting.handler, later.handler])
    const client = await rawClient(address)
    client.send(metadataRequest(1), produceRequest(2))
    await begunAre(waiting.begun, 1)
    const { signal } = waiting.begun[0]!.context
    expect(signal.aborted).toBe(false)
    client.socket.destroy()
    await until(() => signal.aborted, { what: 'the signal is aborted', interval: 5 })
    waiting.begun[0]!.release()
    await begunAre(later.begun, 1)
    later.begun[0]!.release()
    expect(reported).toEqual([])
  })
})

describe('what ends a connection', () => {
  const about = (key: number, version: number) => {
    const frame = metadataRequest(1)
    frame.writeInt16BE(key, 4)
    frame.writeInt16BE(version, 6)
    return frame
  }
  // Produce is offered from version 0 on, as brokers do, though none takes it below 3 (KAFKA-18659).
  const offeredFrom0: Handler = handler(produce, async () => ({ responses: [] }), { advertisedMin: 0 })

  test.each([
    ['an API that is not offered', () => about(22, 1)],
    ['an API that does not exist', () => about(999, 0)],
    ['a negative API', () => about(-1, 0)],
    ['a version that is too high', () => about(3, 14)],
    ['a negative version', () => about(3, -1)],
    ['a version below the lowest that is understood', () => about(0, 2)],
    ['a negative version of ApiVersions', () => about(18, -1)],
    ['a body that ends too early', () => requestFrame(metadata, 13, 1, 'test', Buffer.of(2))],
    ['an HTTP request', () => Buffer.from('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')],
    ['a TLS handshake', () => Buffer.from('16030100f8010000f403035f2c1e0a', 'hex')],
    ['a frame that is too large', () => Buffer.from('7fffffff000300000000000100', 'hex')],
    ['a frame with a negative size', () => Buffer.from('ffffffff000300000000000100', 'hex')]
  ])('%s', async (_, bytes) => {
    const { store } = ordersStore()
    const { address, reported } = await start([metadataHandler(store), offeredFrom0])
    const client = await rawClient(address)
    client.send(bytes())
    await client.closed()
    expect(client.frames).toEqual([])
    expect(reported).toEqual([
      {
        error: expect.objectContaining({ code: 'WIRE_CORRUPT' }),
        where: expect.stringMatching(/^client 127\.0\.0\.1:\d+$/)
      }
    ])
    const other = await connect(address)
    expect((await other.request(metadata, { topics: null })).topics).toHaveLength(1)
  })

  test('any bytes whatever leave the server standing', async () => {
    const { address } = await startReader(ordersStore().store)
    const header = fc
      .record({ size: fc.nat(200), key: fc.constantFrom(1, 2, 3, 10, 18, 60), version: fc.nat(18) })
      .map(({ size, key, version }) => Buffer.of(0, 0, 0, size, 0, key, 0, version))
    const bytes = fc.tuple(header, fc.uint8Array({ maxLength: 300 })).map(parts => Buffer.concat(parts))
    await fc.assert(
      fc.asyncProperty(bytes, async data => {
        const client = await rawClient(address)
        client.socket.end(data)
        await client.closed()
      }),
      { numRuns: 200 }
    )
    const other = await connect(address)
    expect((await other.request(metadata, { topics: null })).topics).toHaveLength(1)
  })

  test('a handler that throws ends its connection alone, and is reported', async () => {
    const fault = new Error('the disk is gone')
    const { store } = ordersStore()
    const throwing = handler(produce, async () => {
      throw fault
    })
    const { address, reported } = await start([throwing, metadataHandler(store)])
    const [client, other] = [await rawClient(address), await rawClient(address)]
    client.send(produceRequest(1), metadataRequest(2))
    await client.closed()
    expect(client.frames).toEqual([])
    expect(reported).toEqual([{ error: fault, where: expect.stringContaining('client 127.0.0.1:') }])
    other.send(metadataRequest(3))
    expect(correlationIds(await other.received(1))).toEqual([3])
  })

  test('a request above the limit that is set', async () => {
    const { address } = await start([offeredFrom0], { maxFrameBytes: 1000 })
    const client = await rawClient(address)
    client.send(Buffer.from('00000400000000070000000100', 'hex'))
    await client.closed()
  })
})

test('ApiVersions above the known versions is answered in version 0, and the client may try again (KIP-511)', async () => {
  const { address } = await startReader(ordersStore().store)
  const client = await rawClient(address)
  const tooHigh = recordedRequest('java-ApiVersions-v4-request', 1)
  tooHigh.writeInt16BE(99, 6)
  client.send(tooHigh)
  const [answer] = await client.received(1)
  expect(apiVersions.response.decode(answer!, 0, 8)).toEqual({
    errorCode: 35,
    apiKeys: [{ apiKey: 18, minVersion: 0, maxVersion: 4 }]
  })
  expect(answer).toHaveLength(8 + 2 + 4 + 6)
  client.send(recordedRequest('java-ApiVersions-v4-request', 2))
  const [again] = await client.received(1)
  expect(apiVersions.response.decode(again!, 4, 8)).toMatchObject({ errorCode: 0 })
})

describe('what is bounded', () => {
  const MIB = 1024 * 1024

  test('a client that does not read its answers gets no more of them made', async () => {
    let made = 0
    let received = 0
    let most = 0
    const large = handler(metadata, async () => {
      most = Math.max(most, ++made - received)
      return {
        brokers: [{ nodeId: 1, host: '', port: 1, rack: 'r'.repeat(30_000) }],
        clusterId: 'c'.repeat(30_000),
        topics
      }
    })
    const topics = Array.from({ length: 33 }, () => ({ errorCode: 0, name: 't'.repeat(30_000), partitions: [] }))
    const { address } = await start([large])
    const client = await rawClient(address)
    client.socket.pause()
    client.send(...Array.from({ length: 100 }, (_, i) => metadataRequest(i)))
    await until(() => made > 0, { what: 'the first answer is made' })
    await meanwhile(address)
    // Each answer has about a MiB: what the kernel's buffers of both sides take is all that may be made.
    expect(made).toBeLessThan(30)
    client.socket.resume()
    await until(
      () => {
        received += client.frames.splice(0).length
        return received === 100
      },
      { what: 'all answers', interval: 1 }
    )
    expect(most).toBeLessThan(60)
  })

  test('no more is read than the requests that may be pending', async () => {
    const { begun, handler } = heldProduce()
    const { address } = await start([handler])
    const client = await rawClient(address)
    client.send(...Array.from({ length: 1000 }, (_, i) => produceRequest(i)))
    await begunAre(begun, 64)
    await meanwhile(address)
    expect(begun).toHaveLength(64)
    for (let i = 0; i < 1000; i++) {
      await until(() => begun.length > i, { what: `request ${i}`, interval: 1 })
      begun[i]!.release()
    }
    expect(correlationIds(await client.received(1000))).toEqual(Array.from({ length: 1000 }, (_, i) => i))
  })

  test('nor than the bytes that may be; a request that is larger is taken alone', async () => {
    const { begun, handler } = heldProduce()
    const { address } = await start([handler])
    const client = await rawClient(address)
    const sent = () => client.socket.bytesWritten - client.socket.writableLength
    const large = (correlationId: number, bytes: number) => {
      const topicData = [{ name: 't', partitionData: [{ index: 0, records: Buffer.alloc(bytes) }] }]
      const body = produce.request.encode({ transactionalId: null, acks: 1, timeoutMs: 1, topicData }, 8)
      return requestFrame(produce, 8, correlationId, 'test', body)
    }
    const one = large(1, MIB)
    for (let i = 0; i < 100; i++) client.socket.write(one)
    client.socket.write(large(2, 70 * MIB))
    client.socket.write(large(3, 1))
    await begunAre(begun, 63)
    await meanwhile(address)
    expect(begun).toHaveLength(63)
    expect(sent()).toBeLessThan(80 * MIB)
    for (let i = 0; i < 102; i++) {
      await until(() => begun.length > i, { what: `request ${i}`, interval: 1 })
      begun[i]!.release()
    }
    expect(correlationIds(await client.received(102))).toEqual([...Array(100).fill(1), 2, 3])
  })
})

describe('the address that clients are told', () => {
  const told = async (address: { host: string; port: number }) => {
    const client = await connect(address)
    return (await client.request(metadata, { topics: [] })).brokers.map(({ host, port }) => ({ host, port }))
  }
  const { store } = ordersStore()

  test('is where the server listens', async () => {
    const { address } = await startReader(store)
    expect(await told(address)).toEqual([address])
  })

  test.each(['0.0.0.0', '::'])('on %s is the one that the client came by', async host => {
    const { server } = await startReader(store, { listen: { host, port: 0 } })
    const { port } = server.address
    expect(server.address.host).toBe(host)
    for (const host of ['127.0.0.1', '127.0.0.2']) {
      expect(await told({ host, port })).toEqual([{ host, port }])
    }
  })

  test('is the one that was set', async () => {
    const advertised = { host: 'kafka.example', port: 9092 }
    const { address } = await startReader(store, { listen: { host: '0.0.0.0', port: 0 }, advertised })
    expect(await told(address)).toEqual([advertised])
  })
})

test('a port that is taken is an error that names it', async () => {
  const { server } = await start([])
  const taken = start([], { listen: server.address, what: 'broker.listen' })
  await expect(taken).rejects.toMatchObject({
    code: 'LISTEN_FAILED',
    message: expect.stringMatching(
      new RegExp(`^broker\\.listen: .*127\\.0\\.0\\.1:${server.address.port}.*EADDRINUSE`)
    ),
    hint: 'Choose another port.'
  })
  await expect(start([], { listen: { host: '127.0.0.1', port: 70000 } })).rejects.toMatchObject({
    code: 'LISTEN_FAILED'
  })
})

describe('the end', () => {
  test('answers that are being made go out, and nothing more begins', async () => {
    const { begun, handler } = heldMetadata()
    const { server, address } = await start([handler])
    const [client, idle] = [await rawClient(address), await rawClient(address)]
    client.send(metadataRequest(1), metadataRequest(2))
    await begunAre(begun, 1)
    const stopped = server[Symbol.asyncDispose]()
    expect(begun[0]!.context.signal.aborted).toBe(true)
    await idle.closed()
    begun[0]!.release()
    await stopped
    await client.closed()
    expect(correlationIds(client.frames)).toEqual([1])
    expect(begun).toHaveLength(1)
    await expect(rawClient(address)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await server[Symbol.asyncDispose]()
  })

  test('is not held up by a handler that never answers', async () => {
    const { begun, handler } = heldMetadata()
    const { server, address, reported } = await start([handler])
    const client = await rawClient(address)
    client.send(metadataRequest(1))
    await begunAre(begun, 1)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const stopped = server[Symbol.asyncDispose]()
      vi.advanceTimersByTime(10_000)
      await stopped
    } finally {
      vi.useRealTimers()
    }
    await client.closed()
    begun[0]!.release()
    expect(reported).toEqual([])
  })
})

test('ApiVersions is added to what is offered', async () => {
  const server = await KafkaServer.listen({
    listen: { host: 'localhost', port: 0 },
    handlers: [
      handler(initProducerId, async () => ({ throttleTimeMs: 0, errorCode: 0, producerId: 1, producerEpoch: 0 }))
    ],
    what: 'listen',
    hint: '',
    onError: () => undefined
  })
  await using _ = server
  const client = await rawClient(server.address)
  client.send(Buffer.from(frameFixture('kafkajs-ApiVersions-v2-request').frame))
  const [answer] = await client.received(1)
  expect(apiVersions.response.decode(answer!, 2, 8)).toMatchObject({
    apiKeys: [
      { apiKey: 18, minVersion: 0, maxVersion: 4 },
      { apiKey: 22, minVersion: 0, maxVersion: 5 }
    ]
  })
})
