// Which topics are captured, and what is known of their names and ids.
import { describe, expect, test } from 'vitest'
import { isCaptured, TopicIds } from '../../../connectors/kafka-proxy/topics.ts'
import type { Cluster, TopicMetadata } from '../../../src/kafka/cluster.ts'
import { LeaderEpochs } from '../../../src/kafka/leader-epochs.ts'
import { NO_TOPIC_ID } from '../../../src/kafka/wire.ts'

const all = { topics: [], regex: /.*/, exclude: [] }

test.each([
  ['any topic', 'orders', all, true],
  ['an internal topic', '__consumer_offsets', all, false],
  ['an internal topic by name', '__consumer_offsets', { ...all, topics: ['__consumer_offsets'] }, true],
  ['a topic with one leading underscore', '_schemas', all, true],
  ['a named topic', 'orders', { ...all, topics: ['orders', 'bills'] }, true],
  ['one that is not named', 'other', { ...all, topics: ['orders', 'bills'] }, false],
  ['a name beside a pattern that does not match it', 'orders', { ...all, topics: ['orders'], regex: /^x/ }, true],
  ['a match', 'orders-eu', { ...all, regex: /^orders-/ }, true],
  ['no match', 'orders', { ...all, regex: /^orders-/ }, false],
  ['an excluded match', 'orders-eu', { ...all, regex: /^orders-/, exclude: ['orders-eu'] }, false],
  ['an excluded name', 'orders', { ...all, topics: ['orders'], exclude: ['orders'] }, false],
  ['what is too long for a name', 'a'.repeat(250), all, false],
  ['what no topic is called', 'a b', all, false]
])('%s', (_, topic, selection, expected) => {
  expect(isCaptured(topic, selection)).toBe(expected)
})

/** A cluster of these topics, with the lists that it was asked for. */
function clusterOf(topics: Record<string, string>) {
  const asked: (readonly string[] | null)[] = []
  const refresh: Cluster['refresh'] = async names => {
    asked.push(names)
    return Object.entries(topics)
      .filter(([name]) => names === null || names.includes(name))
      .map(([name, topicId]): TopicMetadata => ({ name, topicId, isInternal: false, leaders: new Map() }))
  }
  return { asked, cluster: { refresh, epochs: new LeaderEpochs() } as unknown as Cluster, topics }
}

const seen = (name: string | null, topicId?: string, errorCode = 0) => ({
  name,
  errorCode,
  partitions: [],
  ...(topicId && { topicId })
})

describe('ids', () => {
  test('come from metadata that passes by, without a question', async () => {
    const { cluster, asked } = clusterOf({})
    const ids = new TopicIds(cluster)
    await ids.learn([seen('orders', 'A'), seen('gone', 'B', 3), seen(null, 'C')])
    expect(await ids.idOf('orders', 7)).toBe('A')
    expect(await ids.nameOf('A')).toBe('orders')
    expect(['A', 'B', 'C'].map(id => ids.knownName(id))).toEqual(['orders', undefined, undefined])
    expect(asked).toEqual([])
  })

  test('are asked for once when they are new', async () => {
    const { cluster, asked } = clusterOf({ orders: 'A', bills: 'B' })
    const ids = new TopicIds(cluster)
    expect([await ids.idOf('orders', 7), await ids.idOf('orders', 7)]).toEqual(['A', 'A'])
    expect(asked).toEqual([['orders']])
    expect([await ids.nameOf('B'), await ids.nameOf('A')]).toEqual(['bills', 'orders'])
    expect(asked).toEqual([['orders'], null])
  })

  test('of a topic that was made anew follow it, and the old id keeps its name', async () => {
    const ids = new TopicIds(clusterOf({}).cluster)
    await ids.learn([seen('orders', 'A')])
    await ids.learn([seen('orders', 'B')])
    expect(await ids.idOf('orders', 7)).toBe('B')
    expect([await ids.nameOf('A'), await ids.nameOf('B')]).toEqual(['orders', 'orders'])
  })

  test.each([
    ['a client has seen metadata without ids', (ids: TopicIds) => ids.learn([seen('orders')]), 7],
    ['a client has heard that it is gone', (ids: TopicIds) => ids.learn([seen('orders', undefined, 3)]), 7],
    ['a client has seen metadata with an id of zeros', (ids: TopicIds) => ids.learn([seen('orders', NO_TOPIC_ID)]), 7],
    ['a batch begins the log', () => {}, 0]
  ])('of a topic are asked for again when %s', async (_, happens, offset) => {
    const { cluster, topics } = clusterOf({ orders: 'A' })
    const ids = new TopicIds(cluster)
    expect(await ids.idOf('orders', 7)).toBe('A')
    topics['orders'] = 'B'
    expect(await ids.idOf('orders', 7)).toBe('A')
    await happens(ids)
    expect(await ids.idOf('orders', offset)).toBe('B')
  })

  test('are asked for at once when metadata passes by without them, and so is the leader epoch', async () => {
    const { cluster, asked } = clusterOf({ orders: 'A' })
    const ids = new TopicIds(cluster)
    await ids.learn([seen('orders'), seen('gone', undefined, 3)])
    expect(asked).toEqual([['orders']])
    expect(await ids.idOf('orders', 7)).toBe('A')
    expect(asked).toHaveLength(1)
  })

  test('of many requests at once are asked for together, of those that are newer than the question once more', async () => {
    const { cluster, asked, topics } = clusterOf({ orders: 'A' })
    const ids = new TopicIds(cluster)
    const names = ['A', 'A', 'B', 'B', 'B'].map(id => ids.nameOf(id))
    topics['bills'] = 'B' // the question for A has been answered without it
    expect(await Promise.all(names)).toEqual(['orders', 'orders', 'bills', 'bills', 'bills'])
    expect(asked).toEqual([null, null])
  })

  test('are asked for again by who only heard that an older question failed', async () => {
    const { cluster } = clusterOf({ orders: 'A' })
    const { refresh } = cluster
    cluster.refresh = () => Promise.reject(new Error('not reached'))
    const ids = new TopicIds(cluster)
    const [first, second] = [ids.nameOf('A'), ids.nameOf('A')]
    cluster.refresh = refresh
    await expect(first).rejects.toThrow('not reached')
    expect(await second).toBe('orders')
  })

  test('of zeros are none: several topics may have them', async () => {
    const { cluster, asked } = clusterOf({})
    const ids = new TopicIds(cluster)
    await ids.learn([seen('orders', NO_TOPIC_ID), seen('bills', NO_TOPIC_ID)])
    expect(asked).toEqual([['orders', 'bills']])
    expect(ids.knownName(NO_TOPIC_ID)).toBeUndefined()
    await expect(ids.idOf('orders', 7)).rejects.toThrow('does not know topic orders')
  })

  test('that nobody knows are an error, and are asked for again', async () => {
    const { cluster, topics } = clusterOf({})
    const ids = new TopicIds(cluster)
    await expect(ids.idOf('new', 7)).rejects.toThrow('does not know topic new')
    await expect(ids.nameOf('N')).rejects.toThrow('does not know topic N')
    topics['new'] = 'N'
    expect(await ids.idOf('new', 7)).toBe('N')
  })
})
