// Committed offsets as clients see them, and what tools ask of groups.
import { describe, expect, test } from 'vitest'
import { Sink } from '../../src/kafka/cursor.ts'
import { KafkaError, kafkaErrorName } from '../../src/kafka/kafka-errors.ts'
import {
  deleteGroups,
  describeGroups,
  listGroups,
  offsetCommit,
  offsetDelete,
  offsetFetch
} from '../../src/kafka/messages-groups.ts'
import { array, int16, string } from '../../src/kafka/wire.ts'
import type { GroupWorld } from './group-world.ts'
import { Consumer, commitOf, committed, gather, groupWorld, pass, settle } from './group-world.ts'
import { MemoryLog, ORDERS_ID } from './memory-store.ts'

const OTHER_ID = 'AAAAAAAAAAAAAAAAAAAAAQ'
const versions = ([min, max]: readonly [number, number]) => Array.from({ length: max - min + 1 }, (_, i) => min + i)

/** Commits without being a member, as tools do. */
async function commit(world: GroupWorld, groupId: string, topics = [commitOf(0, 42, 'note')], version = 10) {
  const request = { groupId, memberId: '', generationIdOrMemberEpoch: -1, topics }
  const answer = await world.call(offsetCommit, request, { version })
  return answer.topics.flatMap(({ partitions }) => partitions.map(({ errorCode }) => kafkaErrorName(errorCode)))
}

describe('OffsetCommit and OffsetFetch', () => {
  test.each(versions(offsetCommit.versions))('a commit of version %i is stored', async version => {
    const world = await groupWorld()
    expect(await commit(world, 'g', [commitOf(1, 42, 'note')], version)).toEqual(['NONE'])
    const { groups } = await world.call(offsetFetch, { groups: [{ groupId: 'g', topics: null }] })
    expect(groups).toEqual([
      {
        groupId: 'g',
        errorCode: 0,
        topics: [
          {
            topicId: ORDERS_ID,
            partitions: [
              {
                partitionIndex: 1,
                committedOffset: 42,
                committedLeaderEpoch: version < 6 ? -1 : 3,
                metadata: 'note',
                errorCode: 0
              }
            ]
          }
        ]
      }
    ])
  })

  test.each(versions(offsetFetch.versions))('version %i fetches what is there, and -1 for the rest', async version => {
    const world = await groupWorld()
    await commit(world, 'g')
    const topics = [{ name: 'orders', topicId: ORDERS_ID, partitionIndexes: [0, 1] }]
    const request = version < 8 ? { groupId: 'g', topics } : { groups: [{ groupId: 'g', topics }] }
    const answer = await world.call(offsetFetch, { ...request, requireStable: true }, { version })
    const fetched = version < 8 ? answer.topics! : answer.groups![0]!.topics
    const epoch = (known: number) => (version < 5 ? {} : { committedLeaderEpoch: known })
    expect(fetched).toEqual([
      {
        ...(version < 10 ? { name: 'orders' } : { topicId: ORDERS_ID }),
        partitions: [
          { partitionIndex: 0, committedOffset: 42, ...epoch(3), metadata: 'note', errorCode: 0 },
          { partitionIndex: 1, committedOffset: -1, ...epoch(-1), metadata: '', errorCode: 0 }
        ]
      }
    ])
  })

  test.each([2, 5, 7])('all topics of a group, version %i', async version => {
    const world = await groupWorld()
    await commit(world, 'g', [commitOf(2, 5), commitOf(0, 3)])
    const { topics, errorCode } = await world.call(offsetFetch, { groupId: 'g', topics: null }, { version })
    expect([errorCode, topics!.length]).toEqual([0, 1])
    expect(topics![0]!.partitions.map(p => [p.partitionIndex, p.committedOffset])).toEqual([
      [0, 3],
      [2, 5]
    ])
    const none = await world.call(offsetFetch, { groupId: 'none', topics: null }, { version })
    expect(none).toMatchObject({ errorCode: 0, topics: [] })
  })

  test('of several groups, each with its own', async () => {
    const world = await groupWorld()
    await commit(world, 'a', [commitOf(0, 1)])
    await commit(world, 'b', [commitOf(0, 2)])
    const topics = [
      { topicId: ORDERS_ID, partitionIndexes: [0] },
      { topicId: OTHER_ID, partitionIndexes: [0] }
    ]
    const { groups } = await world.call(offsetFetch, {
      groups: ['b', 'a', 'none'].map(groupId => ({ groupId, topics }))
    })
    expect(groups!.map(({ groupId }) => groupId)).toEqual(['b', 'a', 'none'])
    const fetched = groups!.map(({ topics }) => topics.map(({ partitions }) => partitions[0]!))
    expect(fetched.map(([orders]) => orders!.committedOffset)).toEqual([2, 1, -1])
    expect(fetched.map(([, other]) => other!.errorCode)).toEqual(Array(3).fill(KafkaError.UNKNOWN_TOPIC_ID))
  })

  test('what is not there cannot be committed, nor metadata that are too long; the rest is', async () => {
    const world = await groupWorld()
    const long = 'é'.repeat(4096)
    const named = [
      { ...commitOf(0, 1), name: 'none' },
      commitOf(3, 1),
      commitOf(-1, 1),
      commitOf(1, 1, `${long}.`),
      commitOf(2, 9, long)
    ]
    expect(await commit(world, 'g', named, 9)).toEqual([
      'UNKNOWN_TOPIC_OR_PARTITION',
      'UNKNOWN_TOPIC_OR_PARTITION',
      'UNKNOWN_TOPIC_OR_PARTITION',
      'OFFSET_METADATA_TOO_LARGE',
      'NONE'
    ])
    expect(await committed(world, 'g')).toEqual([-1, -1, 9])
    const byId = [{ ...commitOf(0, 1), topicId: OTHER_ID }, commitOf(3, 1)]
    expect(await commit(world, 'g', byId)).toEqual(['UNKNOWN_TOPIC_ID', 'UNKNOWN_TOPIC_OR_PARTITION'])
  })

  test('members commit in their generation only, and nobody else while they are there', async () => {
    const world = await groupWorld()
    const a = new Consumer(world, { instanceId: 'i' })
    await gather(a)
    expect(kafkaErrorName(await a.commit(1))).toBe('REBALANCE_IN_PROGRESS') // while the assignment is being made
    await a.sync()
    expect(kafkaErrorName(await a.commit(7))).toBe('NONE')
    expect(kafkaErrorName(await a.commit(8, { generation: 2 }))).toBe('ILLEGAL_GENERATION')
    expect(kafkaErrorName(await a.commit(8, { generation: -1 }))).toBe('ILLEGAL_GENERATION')
    expect(await commit(world, 'g')).toEqual(['UNKNOWN_MEMBER_ID'])
    const other = new Consumer(world)
    other.memberId = 'x'
    expect(kafkaErrorName(await other.commit(8, { generation: 1 }))).toBe('UNKNOWN_MEMBER_ID')
    expect(await committed(world, 'g')).toEqual([7, -1, -1])

    const joined = new Consumer(world).join()
    await pass(0)
    expect(kafkaErrorName(await a.commit(9))).toBe('NONE') // before it joins again
    await a.join()
    await joined
    expect(await committed(world, 'g')).toEqual([9, -1, -1])
  })

  test('a commit is a sign of life', async () => {
    const world = await groupWorld()
    const a = new Consumer(world, { sessionMs: 6000 })
    await settle(a)
    for (let offset = 0; offset < 4; offset++) {
      await pass(5000)
      expect(await a.commit(offset)).toBe(KafkaError.NONE)
    }
  })

  test('after a restart offsets are there, and former members are told to join again', async () => {
    const world = await groupWorld()
    const [a, b] = [new Consumer(world), new Consumer(world, { group: 'h' })]
    await settle(a)
    await settle(b)
    await a.commit(7)
    world.restart()
    for (const consumer of [a, b]) {
      expect(kafkaErrorName(await consumer.commit(8))).toBe('UNKNOWN_MEMBER_ID')
      expect(kafkaErrorName(await consumer.heartbeat())).toBe('UNKNOWN_MEMBER_ID')
    }
    expect(await committed(world, 'g')).toEqual([7, -1, -1])
    const { groups } = await world.call(listGroups, { statesFilter: [], typesFilter: [] })
    expect(groups).toEqual([{ groupId: 'g', protocolType: '', groupState: 'Empty', groupType: 'classic' }])
    await settle(new Consumer(world))

    world.restart('another')
    expect(await committed(world, 'g')).toEqual([-1, -1, -1])
  })

  test('offsets of a topic that was deleted are not those of a new one of its name', async () => {
    const world = await groupWorld()
    await commit(world, 'g')
    const fetchAll = async () => (await world.call(offsetFetch, { groupId: 'g', topics: null }, { version: 7 })).topics
    const fetchNamed = async () => {
      const topics = [{ name: 'orders', partitionIndexes: [0] }]
      const answer = await world.call(offsetFetch, { groupId: 'g', topics }, { version: 7 })
      return answer.topics![0]!.partitions.map(({ committedOffset, errorCode }) => [committedOffset, errorCode])
    }
    expect([(await fetchAll())!.length, await fetchNamed()]).toEqual([1, [[42, 0]]])
    world.store.remove('orders')
    expect([await fetchAll(), await fetchNamed()]).toEqual([[], [[-1, 0]]])
    world.store.add('orders', OTHER_ID, [new MemoryLog()])
    expect([await fetchAll(), await fetchNamed()]).toEqual([[], [[-1, 0]]])
  })
})

describe('OffsetDelete', () => {
  /** The metadata that a consumer of these topics joins with. */
  const subscription = (...topics: string[]) => {
    const sink = new Sink()
    int16.write(sink, 3, { version: 0, flexible: false })
    array(string).write(sink, topics, { version: 0, flexible: false })
    return sink.finish().toString('latin1')
  }
  const remove = async (world: GroupWorld, groupId = 'g') => {
    const topics = [{ name: 'orders', partitions: [{ partitionIndex: 0 }, { partitionIndex: 3 }] }]
    const { errorCode, topics: answers } = await world.call(offsetDelete, { groupId, topics })
    return [errorCode, ...answers.flatMap(({ partitions }) => partitions.map(p => p.errorCode))].map(kafkaErrorName)
  }

  test('deletes what nobody reads', async () => {
    const world = await groupWorld()
    await commit(world, 'g', [commitOf(0, 1), commitOf(1, 2)])
    expect(await remove(world)).toEqual(['NONE', 'NONE', 'UNKNOWN_TOPIC_OR_PARTITION'])
    expect(await committed(world, 'g')).toEqual([-1, 2, -1])
    expect(await remove(world, 'none')).toEqual(['GROUP_ID_NOT_FOUND'])
  })

  test.each([
    ['these topics', subscription('payments', 'orders'), 'GROUP_SUBSCRIBED_TO_TOPIC'],
    ['other topics', subscription('payments'), 'NONE'],
    ['nobody can tell what', 'x', 'GROUP_SUBSCRIBED_TO_TOPIC']
  ])('while members read %s', async (_, metadata, expected) => {
    const world = await groupWorld()
    const a = new Consumer(world, { protocols: { range: metadata } })
    await settle(a)
    await a.commit(5)
    expect(await remove(world)).toEqual(['NONE', expected, 'UNKNOWN_TOPIC_OR_PARTITION'])
    expect((await committed(world, 'g'))[0]).toBe(expected === 'NONE' ? -1 : 5)
  })

  test('is refused while members of another kind are there', async () => {
    const world = await groupWorld()
    await settle(new Consumer(world, { type: 'connect' }))
    expect(await remove(world)).toEqual(['NON_EMPTY_GROUP'])
  })
})

describe('what tools ask', () => {
  const describeGroup = async (world: GroupWorld, group = 'g', version = 6) =>
    (await world.call(describeGroups, { groups: [group] }, { version })).groups[0]!

  test('DescribeGroups shows members, and what they agreed on once it is settled', async () => {
    const world = await groupWorld()
    const a = new Consumer(world, { instanceId: 'i' })
    await gather(a)
    const member = {
      memberId: a.memberId,
      groupInstanceId: 'i',
      clientId: 'app',
      clientHost: '/10.0.0.7',
      memberMetadata: Buffer.alloc(0),
      memberAssignment: Buffer.alloc(0)
    }
    const group = { errorCode: 0, groupId: 'g', protocolType: 'consumer', authorizedOperations: -2147483648 }
    expect(await describeGroup(world)).toEqual({
      ...group,
      errorMessage: null,
      groupState: 'CompletingRebalance',
      protocolData: '',
      members: [member]
    })
    await a.sync({ [a.memberId]: 'mine' })
    const settled = { ...member, memberMetadata: Buffer.from('topics'), memberAssignment: Buffer.from('mine') }
    for (const version of versions(describeGroups.versions)) {
      expect(await describeGroup(world, 'g', version)).toMatchObject({
        errorCode: 0,
        groupState: 'Stable',
        protocolType: 'consumer',
        protocolData: 'range',
        members: [version < 4 ? { memberAssignment: settled.memberAssignment } : settled]
      })
    }
  })

  test('DescribeGroups of a group that is not there', async () => {
    const world = await groupWorld()
    const dead = { groupState: 'Dead', members: [], errorCode: 0 }
    expect(await describeGroup(world, 'none', 5)).toMatchObject(dead)
    const errorCode = KafkaError.GROUP_ID_NOT_FOUND
    expect(await describeGroup(world, 'none')).toMatchObject({
      ...dead,
      errorCode,
      errorMessage: 'Group none not found.'
    })
  })

  test('ListGroups, by state and by type', async () => {
    const world = await groupWorld()
    await settle(new Consumer(world, { group: 'stable' }))
    await commit(world, 'offsets')
    const list = async (statesFilter: string[], typesFilter: string[]) =>
      (await world.call(listGroups, { statesFilter, typesFilter })).groups.map(({ groupId }) => groupId)
    expect(await list([], [])).toEqual(['stable', 'offsets'])
    expect(await list(['empty'], [])).toEqual(['offsets'])
    expect(await list(['Stable', 'Dead'], ['Classic'])).toEqual(['stable'])
    expect(await list([], ['classic', 'consumer'])).toEqual(['stable', 'offsets'])
    expect(await list([], ['consumer'])).toEqual([])
    for (const version of versions(listGroups.versions)) {
      const { groups } = await world.call(listGroups, { statesFilter: [], typesFilter: [] }, { version })
      expect(groups.map(({ groupId, protocolType }) => [groupId, protocolType])).toEqual([
        ['stable', 'consumer'],
        ['offsets', '']
      ])
    }
  })

  test.each(versions(deleteGroups.versions))('DeleteGroups takes the offsets too, version %i', async version => {
    const world = await groupWorld()
    const a = new Consumer(world, { group: 'stable' })
    await settle(a)
    await a.commit(4)
    await commit(world, 'offsets')
    const remove = async (...groupsNames: string[]) =>
      (await world.call(deleteGroups, { groupsNames }, { version })).results.map(({ groupId, errorCode }) => [
        groupId,
        kafkaErrorName(errorCode)
      ])
    expect(await remove('stable', 'offsets', 'none')).toEqual([
      ['stable', 'NON_EMPTY_GROUP'],
      ['offsets', 'NONE'],
      ['none', 'GROUP_ID_NOT_FOUND']
    ])
    expect([await committed(world, 'offsets'), await committed(world, 'stable')]).toEqual([
      [-1, -1, -1],
      [4, -1, -1]
    ])
    await a.leave()
    expect(await remove('stable', 'offsets')).toEqual([
      ['stable', 'NONE'],
      ['offsets', 'GROUP_ID_NOT_FOUND']
    ])
    world.restart()
    expect((await world.call(listGroups, { statesFilter: [], typesFilter: [] })).groups).toEqual([])
  })
})
