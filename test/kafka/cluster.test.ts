// The raw client of a cluster, where a broker's answer decides what may be believed.
import type { Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import type { Address } from '../../src/kafka/address.ts'
import { formatAddress } from '../../src/kafka/address.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { responseFrame } from '../../src/kafka/headers.ts'
import { KafkaError } from '../../src/kafka/kafka-errors.ts'
import { apiVersions, metadata } from '../../src/kafka/messages.ts'
import { PLAINTEXT } from '../../src/kafka/security.ts'
import { NO_TOPIC_ID } from '../../src/kafka/wire.ts'
import { serve, versionsAnswer } from './scripted-broker.ts'

/** A cluster of one broker that says this of every topic it is asked for. */
async function clusterThatSays(errorCode: number): Promise<Cluster> {
  const { address } = await serve(frame => {
    if (frame.readInt16BE(4) === apiVersions.key) return versionsAnswer(frame)
    const topics = [{ errorCode, name: 'orders', topicId: 'AAAAAAAAAAAAAAAAAAAAAA', partitions: [] }]
    const answer = { brokers: [{ nodeId: 1, rack: null, ...address }], clusterId: 'c', topics }
    return responseFrame(metadata, 13, frame.readInt32BE(8), metadata.response.encode(answer, 13))
  })
  return new Cluster([address])
}

test('a topic that does not exist is not among what is seen', async () => {
  using cluster = await clusterThatSays(KafkaError.UNKNOWN_TOPIC_OR_PARTITION)
  expect(await cluster.refresh(['orders'])).toEqual([])
})

test('a broker of before Kafka 2.8, which knows no topic ids, is refused where they are needed', async () => {
  const { address } = await serve(frame => {
    const correlationId = frame.readInt32BE(8)
    if (frame.readInt16BE(4) === apiVersions.key) {
      const answer = { errorCode: 0, apiKeys: [{ apiKey: metadata.key, minVersion: 0, maxVersion: 9 }] }
      return responseFrame(apiVersions, 3, correlationId, apiVersions.response.encode(answer, 3))
    }
    const topics = [{ errorCode: 0, name: 'orders', partitions: [] }]
    const answer = { brokers: [], clusterId: 'c', topics }
    return responseFrame(metadata, 9, correlationId, metadata.response.encode(answer, 9))
  })
  using archived = new Cluster([address], PLAINTEXT, { needsTopicIds: true })
  await expect(archived.clusterId()).rejects.toMatchObject({
    code: 'BROKER_ERROR',
    message: `${formatAddress(address)} knows no topic ids: it speaks Metadata up to version 9`,
    hint: expect.stringContaining('Kafka 2.8')
  })
  using target = new Cluster([address])
  expect(await target.refresh(['orders'])).toMatchObject([{ name: 'orders' }])
})

test('a topic to which the cluster gives no id yet is an error where ids are needed, unless it is one of several', async () => {
  const ids: Record<string, string> = { orders: NO_TOPIC_ID, bills: 'AAECAwQFBgcICQoLDA0ODw' }
  const { address } = await serve(frame => {
    if (frame.readInt16BE(4) === apiVersions.key) return versionsAnswer(frame)
    const topics = Object.entries(ids).map(([name, topicId]) => ({ errorCode: 0, name, topicId, partitions: [] }))
    const answer = { brokers: [{ nodeId: 1, rack: null, ...address }], clusterId: 'c', topics }
    return responseFrame(metadata, 13, frame.readInt32BE(8), metadata.response.encode(answer, 13))
  })
  using archived = new Cluster([address], PLAINTEXT, { needsTopicIds: true })
  const lacking = {
    code: 'BROKER_ERROR',
    message: 'topic orders has no id, by which it would be archived',
    hint: expect.stringMatching(/Kafka 2\.8.*inter\.broker\.protocol\.version/)
  }
  for (const asked of [['orders', 'bills'], null]) {
    expect(await archived.refresh(asked)).toMatchObject([{ name: 'bills', topicId: ids['bills'] }])
  }
  await expect(archived.topic('orders')).rejects.toMatchObject(lacking)
  ids['orders'] = 'EBESExQVFhcYGRobHB0eHw'
  expect(await archived.topic('orders')).toMatchObject({ topicId: ids['orders'] })
  ids['orders'] = NO_TOPIC_ID // a broker that lags behind: what was known of it is not believed any more
  expect(await archived.refresh(null)).toMatchObject([{ name: 'bills' }])
  await expect(archived.topic('orders')).rejects.toMatchObject(lacking)
  using target = new Cluster([address])
  expect(await target.refresh(null)).toMatchObject([{ name: 'orders' }, { name: 'bills' }])
})

test('a topic that one of the brokers knows is known, by its id', async () => {
  const brokers: { nodeId: number; rack: null; host: string; port: number }[] = []
  const topicId = 'AAAAAAAAAAAAAAAAAAAAAg'
  const answering = async (errorCode: number) => {
    const { address } = await serve(frame => {
      if (frame.readInt16BE(4) === apiVersions.key) return versionsAnswer(frame)
      const topics = [{ errorCode, name: 'orders', topicId, partitions: [] }]
      const answer = { brokers, clusterId: 'c', topics }
      return responseFrame(metadata, 13, frame.readInt32BE(8), metadata.response.encode(answer, 13))
    })
    brokers.push({ nodeId: brokers.length, rack: null, ...address })
    return address
  }
  const lagging = await answering(KafkaError.UNKNOWN_TOPIC_OR_PARTITION)
  brokers.push({ nodeId: 99, rack: null, host: '127.0.0.1', port: 1 }) // nobody is there
  using cluster = new Cluster([lagging])
  expect(await cluster.refresh(['orders'])).toEqual([])
  // One of two may lag behind, and the other not be there to tell.
  await expect(cluster.knows({ topic: 'orders', topicId })).rejects.toMatchObject({ code: 'BROKER_UNREACHABLE' })
  await answering(KafkaError.UNKNOWN_TOPIC_OR_PARTITION)
  await cluster.refresh([])
  expect(await cluster.knows({ topic: 'orders', topicId })).toBe(false)
  await answering(KafkaError.NONE)
  await cluster.refresh([])
  expect(await cluster.knows({ topic: 'orders', topicId })).toBe(true)
  expect(await cluster.knows({ topic: 'orders', topicId: 'AAAAAAAAAAAAAAAAAAAABg' })).toBe(false)
})

test('an address that leads to another cluster from some time on is not believed; the others are asked', async () => {
  const clusters = ['first', 'first']
  const at = async (place: number) => {
    const { address } = await serve(frame => {
      if (frame.readInt16BE(4) === apiVersions.key) return versionsAnswer(frame)
      const answer = { brokers: [], clusterId: clusters[place]!, topics: [] }
      return responseFrame(metadata, 13, frame.readInt32BE(8), metadata.response.encode(answer, 13))
    })
    return address
  }
  const [one, other] = [await at(0), await at(1)]
  using cluster = new Cluster([one, other])
  expect(await cluster.clusterId()).toBe('first')
  clusters[0] = 'second'
  expect(await cluster.refresh(['orders'])).toEqual([])
  clusters[1] = 'second'
  await expect(cluster.refresh(['orders'])).rejects.toMatchObject({
    code: 'BROKER_ERROR',
    message: `${formatAddress(one)} is of the cluster second, not of first`,
    retriable: true
  })
})

test('a topic that may not be described is no topic that is gone: the error names the right that is lacking', async () => {
  using cluster = await clusterThatSays(KafkaError.TOPIC_AUTHORIZATION_FAILED)
  await expect(cluster.refresh(['orders'])).rejects.toMatchObject({
    code: 'BROKER_ERROR',
    message: 'topic orders: TOPIC_AUTHORIZATION_FAILED',
    hint: expect.stringContaining('Describe')
  })
})

/** How often a broker answered beside this one, which is named first, until the cluster had been asked three times. */
async function answeredBeside(first: Address): Promise<number> {
  let answered = 0
  const well = await serve(frame => {
    if (frame.readInt16BE(4) === apiVersions.key) return versionsAnswer(frame)
    answered += 1
    const answer = { brokers: [], clusterId: 'c', topics: [] }
    return responseFrame(metadata, 13, frame.readInt32BE(8), metadata.response.encode(answer, 13))
  })
  const cluster = new Cluster([first, well.address])
  onTestFinished(() => cluster[Symbol.dispose]())
  for (let i = 0; i < 3; i++) expect(await cluster.refresh(null)).toEqual([])
  return answered
}

test('one that is silent is waited for no longer than others take, and is asked last from then on', async () => {
  const waiting: Socket[] = []
  const mute = await serve((_frame, socket) => {
    waiting.push(socket)
    return null
  })
  const answered = await answeredBeside(mute.address)
  expect(answered).toBe(3)
  expect(waiting.map(({ readyState }) => readyState)).toEqual(['open']) // asked once, and not given up yet
})

test('a broker that does not answer is asked last from then on', async () => {
  let refused = 0
  const mute = await serve((frame, socket) => {
    if (frame.readInt16BE(4) === apiVersions.key) return versionsAnswer(frame)
    refused += 1
    socket.destroy()
    return null
  })
  const answered = await answeredBeside(mute.address)
  expect({ refused, answered }).toEqual({ refused: 1, answered: 3 })

  using alone = new Cluster([mute.address])
  await expect(alone.refresh(null)).rejects.toMatchObject({ code: 'BROKER_UNREACHABLE' })
  await expect(alone.refresh(null)).rejects.toMatchObject({ code: 'BROKER_UNREACHABLE' })
  expect(refused).toBe(3)
})
