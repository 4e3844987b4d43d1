// Metadata, DescribeCluster and FindCoordinator: what recorded.test.ts does not have from a broker.
import { describe, expect, test } from 'vitest'
import { findCoordinatorHandler } from '../../src/broker/find-coordinator.ts'
import { describeCluster, findCoordinator, metadata } from '../../src/kafka/messages.ts'
import { MemoryStore, ORDERS_ID, ordersStore } from './memory-store.ts'
import { connect, start, startReader } from './start.ts'

const OTHER_ID = 'RbNZx4hCSUa1BnriIesOZQ'

describe('Metadata', () => {
  test('all topics: null, and in version 0 no names', async () => {
    const { store } = ordersStore()
    store.add('payments', OTHER_ID)
    const { address } = await startReader(store)
    const client = await connect(address)
    for (const [version, topics, count] of [
      [0, [], 2],
      [1, [], 0],
      [1, null, 2],
      [13, null, 2],
      [13, [], 0]
    ] as const) {
      const answer = await client.request(metadata, { topics: topics && [] }, { version })
      expect(answer.topics).toHaveLength(count)
    }
  })

  test('by id', async () => {
    const { address } = await startReader(ordersStore().store)
    const client = await connect(address)
    const topics = [
      { topicId: ORDERS_ID, name: null },
      { topicId: OTHER_ID, name: null }
    ]
    for (const version of [12, 13]) {
      expect((await client.request(metadata, { topics }, { version })).topics).toMatchObject([
        { errorCode: 0, name: 'orders', topicId: ORDERS_ID, partitions: [{ partitionIndex: 0, leaderId: 1 }] },
        { errorCode: 100, name: null, topicId: OTHER_ID, partitions: [] }
      ])
    }
    await expect(client.request(metadata, { topics }, { version: 11 })).rejects.toMatchObject({
      code: 'BROKER_UNREACHABLE'
    })
  })

  test('topics that are not there, and names that cannot be', async () => {
    const { address } = await startReader(ordersStore().store)
    const client = await connect(address)
    const names = ['none', '', '.', '..', 'a b', 'ü', 'a'.repeat(250), 'a'.repeat(249), 'orders']
    const answer = await client.request(metadata, { topics: names.map(name => ({ name })) })
    expect(answer.topics.map(({ name, errorCode }) => [name, errorCode])).toEqual(
      names.map((name, i) => [name, [3, 17, 17, 17, 17, 17, 17, 3, 0][i]])
    )
  })

  test('topics are made on first use where that is wanted on both sides', async () => {
    const store = new MemoryStore()
    const made: string[] = []
    const create = async (name: string) => {
      made.push(name)
      return name === 'refused' ? 29 : store.add(name, OTHER_ID)
    }
    const { address } = await startReader(store, { create })
    const client = await connect(address)
    const ask = async (name: string, version: number, allowAutoTopicCreation?: boolean) => {
      const body = { topics: [{ name }], ...(allowAutoTopicCreation === undefined ? {} : { allowAutoTopicCreation }) }
      const [topic] = (await client.request(metadata, body, { version })).topics
      return [topic!.errorCode, topic!.partitions.length]
    }
    expect(await ask('orders', 13, false)).toEqual([3, 0])
    expect(await ask('not/a/name', 13, true)).toEqual([17, 0])
    expect(made).toEqual([])
    expect(await ask('refused', 13, true)).toEqual([29, 0])
    expect(await ask('orders', 13, true)).toEqual([0, 1])
    expect(await ask('orders', 13, true)).toEqual([0, 1])
    // Before version 4 there was no choice.
    expect(await ask('older', 3)).toEqual([0, 1])
    expect(made).toEqual(['refused', 'orders', 'older'])
  })
})

test('DescribeCluster tells of brokers only', async () => {
  const { address } = await startReader(ordersStore().store)
  const client = await connect(address)
  const ask = (endpointType: number) =>
    client.request(describeCluster, { includeClusterAuthorizedOperations: false, endpointType })
  expect(await ask(1)).toMatchObject({ errorCode: 0, controllerId: 1, brokers: [{ brokerId: 1, ...address }] })
  expect(await ask(2)).toMatchObject({ errorCode: 114, brokers: [] })
  expect(await ask(3)).toMatchObject({ errorCode: 115, brokers: [] })
})

describe('FindCoordinator', () => {
  const ask = async (groups: boolean, keyType: number, version: number) => {
    const { address } = await start([findCoordinatorHandler({ groups })])
    const client = await connect(address)
    const answer = await client.request(
      findCoordinator,
      { key: 'a', keyType, coordinatorKeys: ['a', 'b'] },
      { version }
    )
    return { address, answers: version < 4 ? [answer] : answer.coordinators! }
  }

  test.each([
    [true, 1, 53, /Transactions/],
    [false, 1, 53, /Transactions/],
    [true, 2, 42, /Share groups/],
    [false, 0, 30, /--no-groups/]
  ])('groups %s, key type %i: error %i', async (groups, keyType, errorCode, message) => {
    for (const version of [1, 3, 4, 6]) {
      const { answers } = await ask(groups, keyType, version)
      const refused = { errorCode, errorMessage: expect.stringMatching(message), nodeId: -1, host: '', port: -1 }
      expect(answers).toMatchObject(
        version < 4
          ? [refused]
          : [
              { key: 'a', ...refused },
              { key: 'b', ...refused }
            ]
      )
    }
  })

  test('names this node for every group', async () => {
    for (const version of [0, 3, 4, 6]) {
      const { answers, address } = await ask(true, 0, version)
      const found = { errorCode: 0, nodeId: 1, ...address }
      expect(answers).toMatchObject(
        version < 4
          ? [found]
          : [
              { key: 'a', ...found },
              { key: 'b', ...found }
            ]
      )
    }
  })
})
