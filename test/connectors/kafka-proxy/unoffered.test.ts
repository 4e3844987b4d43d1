// Brokers that clients are not led to: one whose port on our side is taken, one that says it is where we are, one that is new when
// we stop. Its clients have to wait, those of the others notice nothing.
import { once } from 'node:events'
import net from 'node:net'
import { expect, test } from 'vitest'
import { isListenedOn } from '../../../connectors/kafka-proxy/upstream.ts'
import type { Api, ResponseOf } from '../../../src/kafka/api.ts'
import { findCoordinator, metadata } from '../../../src/kafka/messages.ts'
import { answerTo, read, request } from './frames.ts'
import type { Harness } from './harness.ts'
import { End, startHarness } from './harness.ts'
import { answerAsk, ask } from './tls-clients.ts'

const brokers = [1, 2].map(nodeId => ({ nodeId, host: '127.0.0.1', port: 9090 + nodeId, rack: null }))
const askMetadata = request(metadata, 12, 1, {
  topics: [],
  allowAutoTopicCreation: false,
  includeTopicAuthorizedOperations: false
})

test('is left out of answers until its port is free, and said to be so once', async () => {
  const harness = await startHarness()
  const other = net.createServer()
  other.listen(harness.port + 1, '127.0.0.1')
  await once(other, 'listening')
  const { client, broker } = await harness.connect()

  const askBroker = async <A extends Api>(api: A, version: number, question: Buffer, answer: ResponseOf<A>) => {
    client.send(question)
    broker.send(answerTo(api, await broker.next(), answer))
    return read(api, version, await client.next())
  }
  const named = async () => {
    const answer = { brokers, clusterId: 'test-cluster', controllerId: 1, topics: [] }
    return (await askBroker(metadata, 12, askMetadata, answer)).brokers.map(({ nodeId, port }) => [nodeId, port])
  }
  const first = [1, harness.port]
  expect(await named()).toEqual([first])
  expect(await named()).toEqual([first])
  const place = { errorCode: 0, errorMessage: null, nodeId: 2, host: '127.0.0.1', port: 9092 }
  const oneKey = request(findCoordinator, 3, 1, { key: 'g', keyType: 0 })
  expect(await askBroker(findCoordinator, 3, oneKey, place)).toMatchObject({ errorCode: 15, nodeId: -1 })
  const keys = request(findCoordinator, 4, 1, { keyType: 0, coordinatorKeys: ['a', 'b'] })
  const places = {
    coordinators: [
      { ...place, key: 'a' },
      { ...place, key: 'b', nodeId: 1 }
    ]
  }
  expect(await askBroker(findCoordinator, 4, keys, places)).toMatchObject({
    coordinators: [
      { key: 'a', errorCode: 15, nodeId: -1 },
      { key: 'b', errorCode: 0, nodeId: 1, port: harness.port }
    ]
  })
  const said = harness.logs.filter(({ level }) => Number(level) >= 40)
  expect(said).toMatchObject([{ msg: 'a broker is not offered to clients', err: { code: 'LISTEN_FAILED' } }])

  other.close()
  await once(other, 'close')
  expect(await named()).toEqual([first, [2, harness.port + 1]])
})

test.each<[string, (harness: Harness) => number]>([
  ['the bootstrap listener', ({ bootstrapPort }) => bootstrapPort],
  ["another broker's port", ({ port }) => port],
  ['its port', ({ port }) => port + 1]
])('one that says it is at %s of ours leads nobody round', async (_, portOf) => {
  const harness = await startHarness()
  harness.named([2, { host: 'localhost', port: portOf(harness) }], 1)
  const client = new End(net.connect({ host: '127.0.0.1', port: harness.bootstrapPort }))
  client.send(ask(1))
  const broker = await harness.accepted()
  broker.send(answerAsk(await broker.next()))
  await client.next()
  expect(await harness.metric('millrace_proxy_connections')).toBe(1)
  const its = new End(net.connect({ host: '127.0.0.1', port: harness.port + 1 }))
  await its.end()
  const err = { code: 'BROKER_UNREACHABLE', hint: expect.stringContaining('advertised.listeners') }
  const said = harness.logs.filter(({ level }) => Number(level) >= 40)
  expect(said).toMatchObject([{ msg: 'no broker could be reached for a client', err, node: 2 }])
  expect(harness.waiting()).toBe(0)
})

test.each([
  ['localhost', '127.0.0.1', true],
  ['localhost', '0.0.0.0', true],
  ['127.0.0.1', 'localhost', true],
  ['192.0.2.1', '0.0.0.0', false],
  ['192.0.2.1', '127.0.0.1', false],
  ['nowhere.invalid', '127.0.0.1', false]
])('whether %s leads to who listens on %s: %s', async (host, listen, leads) => {
  expect(await isListenedOn(host, listen)).toBe(leads)
})

test('one that an answer names while the proxy stops gets no port any more', async () => {
  const harness = await startHarness()
  const { client, broker } = await harness.connect()
  client.send(askMetadata)
  const asked = await broker.next()
  const stopped = harness.proxy.stop()
  broker.send(answerTo(metadata, asked, { brokers, clusterId: 'test-cluster', controllerId: 1, topics: [] }))
  expect(read(metadata, 12, await client.next()).brokers.map(({ nodeId }) => nodeId)).toEqual([1])
  client.socket.end()
  await stopped
  await expect(once(net.connect({ host: '127.0.0.1', port: harness.port + 1 }), 'connect')).rejects.toThrow(
    'ECONNREFUSED'
  )
  expect(harness.logs.filter(({ level }) => Number(level) >= 40)).toEqual([])
})
