// A broker whose port on our side is taken: its clients have to wait, those of the others notice nothing.
import { once } from 'node:events'
import net from 'node:net'
import { expect, test } from 'vitest'
import type { Api, ResponseOf } from '../../../src/kafka/api.ts'
import { findCoordinator, metadata } from '../../../src/kafka/messages.ts'
import { answerTo, read, request } from './frames.ts'
import { startHarness } from './harness.ts'

const brokers = [1, 2].map(nodeId => ({ nodeId, host: '127.0.0.1', port: 9090 + nodeId, rack: null }))

test('is left out of answers until its port is free, and said to be so once', async () => {
  const harness = await startHarness()
  const other = net.createServer()
  other.listen(harness.port + 1, '127.0.0.1')
  await once(other, 'listening')
  const { client, broker } = await harness.connect()

  const ask = async <A extends Api>(api: A, version: number, question: Buffer, answer: ResponseOf<A>) => {
    client.send(question)
    broker.send(answerTo(api, await broker.next(), answer))
    return read(api, version, await client.next())
  }
  const named = async () => {
    const question = request(metadata, 12, 1, {
      topics: [],
      allowAutoTopicCreation: false,
      includeTopicAuthorizedOperations: false
    })
    const answer = { brokers, clusterId: 'c', controllerId: 1, topics: [] }
    return (await ask(metadata, 12, question, answer)).brokers.map(({ nodeId, port }) => [nodeId, port])
  }
  const first = [1, harness.port]
  expect(await named()).toEqual([first])
  expect(await named()).toEqual([first])
  const place = { errorCode: 0, errorMessage: null, nodeId: 2, host: '127.0.0.1', port: 9092 }
  const oneKey = request(findCoordinator, 3, 1, { key: 'g', keyType: 0 })
  expect(await ask(findCoordinator, 3, oneKey, place)).toMatchObject({ errorCode: 15, nodeId: -1 })
  const keys = request(findCoordinator, 4, 1, { keyType: 0, coordinatorKeys: ['a', 'b'] })
  const places = {
    coordinators: [
      { ...place, key: 'a' },
      { ...place, key: 'b', nodeId: 1 }
    ]
  }
  expect(await ask(findCoordinator, 4, keys, places)).toMatchObject({
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
