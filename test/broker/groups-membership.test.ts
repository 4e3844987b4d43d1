// Members of a group, rule by rule: who gets in, what each is told, and what silence leads to.
import { describe, expect, test, vi } from 'vitest'
import { KafkaError, kafkaErrorName } from '../../src/kafka/kafka-errors.ts'
import {
  describeGroups,
  heartbeat,
  joinGroup,
  leaveGroup,
  listGroups,
  syncGroup
} from '../../src/kafka/messages-groups.ts'
import type { GroupWorld } from './group-world.ts'
import { Consumer, gather, groupWorld, INITIAL, pass, placesOf, settle } from './group-world.ts'

async function stateOf(world: GroupWorld, group = 'g'): Promise<string> {
  return (await world.call(describeGroups, { groups: [group] })).groups[0]!.groupState
}

/** Whether a promise has settled by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const waiting = Symbol()
  return (await Promise.race([promise, pass(0).then(() => waiting)])) !== waiting
}

const code = (answer: { errorCode: number }) => kafkaErrorName(answer.errorCode)

describe('JoinGroup', () => {
  test.each([0, 1, 2, 3])('version %i gives a generation at once', async joinVersion => {
    const world = await groupWorld()
    const consumer = new Consumer(world, { joinVersion })
    const answer = consumer.ask()
    await pass(INITIAL)
    expect(await answer).toMatchObject({ errorCode: 0, generationId: 1, protocolName: 'range' })
    expect((await answer)!.memberId).toMatch(/^app-[0-9a-f-]{36}$/)
  })

  test.each([4, 5, 6, 7, 8, 9])('version %i gives an id first, which has to be used in time', async joinVersion => {
    const world = await groupWorld()
    const consumer = new Consumer(world, { joinVersion })
    const refused = (await consumer.ask())!
    expect([code(refused), await stateOf(world)]).toEqual(['MEMBER_ID_REQUIRED', 'Empty'])

    consumer.memberId = refused.memberId
    const answer = consumer.ask()
    await pass(INITIAL)
    expect(await answer).toMatchObject({ errorCode: 0, generationId: 1, memberId: refused.memberId })

    const late = new Consumer(world, { joinVersion, sessionMs: 6000 })
    late.memberId = (await late.ask())!.memberId
    await pass(6000)
    expect(code((await late.ask())!)).toBe('UNKNOWN_MEMBER_ID')
  })

  test.each([
    ['a session that is too short', { sessionMs: 5999 }, '', 'INVALID_SESSION_TIMEOUT'],
    ['a session that is too long', { sessionMs: 1_800_001 }, '', 'INVALID_SESSION_TIMEOUT'],
    ['no group', { group: '' }, '', 'INVALID_GROUP_ID'],
    ['an id that nobody gave', {}, 'mine', 'UNKNOWN_MEMBER_ID'],
    ['an id in a group that is not there', { group: 'none' }, 'mine', 'UNKNOWN_MEMBER_ID'],
    ['no protocol type', { group: 'new', type: '' }, '', 'INCONSISTENT_GROUP_PROTOCOL'],
    ['no protocols', { group: 'new', protocols: {} }, '', 'INCONSISTENT_GROUP_PROTOCOL'],
    ['another protocol type', { type: 'connect' }, '', 'INCONSISTENT_GROUP_PROTOCOL'],
    ['no protocol in common', { protocols: { sticky: '' } }, '', 'INCONSISTENT_GROUP_PROTOCOL'],
    ['a static member that is not there', { instanceId: 'i' }, 'mine', 'UNKNOWN_MEMBER_ID']
  ])('refuses %s', async (_, options, memberId, expected) => {
    const world = await groupWorld()
    await settle(new Consumer(world))
    for (const joinVersion of [6, 9]) {
      const consumer = new Consumer(world, { ...options, joinVersion })
      consumer.memberId = memberId
      const answer = (await consumer.ask())!
      expect(code(answer)).toBe(expected)
      expect(answer.protocolName).toBe(joinVersion < 7 ? '' : null)
    }
  })

  test('the sessions that are just allowed are allowed', async () => {
    const world = await groupWorld()
    for (const sessionMs of [6000, 1_800_000]) {
      expect(code((await new Consumer(world, { sessionMs }).ask())!)).toBe('MEMBER_ID_REQUIRED')
    }
  })

  test('the leader learns of all members and their metadata, the others of the leader', async () => {
    const world = await groupWorld()
    const a = new Consumer(world, { protocols: { range: 'of a', sticky: 'x' } })
    const b = new Consumer(world, { protocols: { range: 'of b' }, instanceId: 'static-b' })
    const [leader, other] = await gather(a, b)
    expect(leader!.members).toHaveLength(2)
    expect(leader!.members).toContainEqual({
      memberId: a.memberId,
      groupInstanceId: null,
      metadata: Buffer.from('of a')
    })
    expect(leader!.members).toContainEqual({
      memberId: b.memberId,
      groupInstanceId: 'static-b',
      metadata: Buffer.from('of b')
    })
    expect(other).toMatchObject({
      leader: a.memberId,
      members: [],
      protocolType: 'consumer',
      protocolName: 'range'
    })
    expect(b.memberId).toMatch(/^static-b-/)
  })

  test('the protocol with the most votes wins, among those that all know', async () => {
    const world = await groupWorld()
    const lists = [
      ['only-mine', 'sticky', 'range', 'robin'],
      ['range', 'robin', 'sticky'],
      ['range', 'sticky', 'robin'],
      ['robin', 'range', 'sticky']
    ]
    const consumers = lists.map(
      names => new Consumer(world, { protocols: Object.fromEntries(names.map(name => [name, ''])) })
    )
    expect((await gather(...consumers)).map(({ protocolName }) => protocolName)).toEqual(Array(4).fill('range'))
  })

  test('a first rebalance waits a little for more members, and a little longer when one came', async () => {
    const world = await groupWorld()
    const [a, b, c] = [new Consumer(world), new Consumer(world), new Consumer(world)]
    const joins = [a.join()]
    await pass(150)
    joins.push(b.join())
    await pass(100)
    joins.push(c.join())
    expect(await isSettled(Promise.race(joins))).toBe(false)
    await pass(INITIAL * 2)
    expect((await Promise.all(joins)).map(({ generationId }) => generationId)).toEqual([1, 1, 1])
  })

  test('a first rebalance takes no longer than its members allow', async () => {
    const world = await groupWorld()
    const first = new Consumer(world, { rebalanceMs: 300 }).join()
    await pass(190)
    const second = new Consumer(world, { rebalanceMs: 300 }).join()
    await pass(109)
    expect(await isSettled(first)).toBe(false)
    await pass(1)
    expect([(await first).generationId, (await second).generationId]).toEqual([1, 1])
  })

  test('who joins later brings all into the next generation', async () => {
    const world = await groupWorld()
    const [a, b] = [new Consumer(world), new Consumer(world)]
    await settle(a)
    const joined = b.join()
    await pass(0)
    expect([await stateOf(world), kafkaErrorName(await a.heartbeat())]).toEqual([
      'PreparingRebalance',
      'REBALANCE_IN_PROGRESS'
    ])
    expect(await isSettled(joined)).toBe(false)
    expect(await a.join()).toMatchObject({ errorCode: 0, generationId: 2 })
    expect(await joined).toMatchObject({ errorCode: 0, generationId: 2 })
  })

  test('who does not join again in time is out', async () => {
    const world = await groupWorld()
    const [a, b] = [
      new Consumer(world, { sessionMs: 30_000, rebalanceMs: 5000 }),
      new Consumer(world, { rebalanceMs: 5000 })
    ]
    await settle(a)
    const joined = b.join()
    await pass(4999)
    expect(await isSettled(joined)).toBe(false)
    await pass(1)
    const answer = await joined
    expect(answer).toMatchObject({ generationId: 2, leader: b.memberId })
    expect(answer.members).toHaveLength(1)
    expect(kafkaErrorName(await a.heartbeat())).toBe('UNKNOWN_MEMBER_ID')
  })

  test('joining again changes nothing for a follower, and is a new generation for a leader', async () => {
    const world = await groupWorld()
    const [a, b] = [new Consumer(world), new Consumer(world)]
    await settle(a, b)
    expect(await b.join()).toMatchObject({ generationId: 1, leader: a.memberId, members: [] })
    expect(await stateOf(world)).toBe('Stable')
    const again = a.join()
    expect(await stateOf(world)).toBe('PreparingRebalance')
    await b.join()
    expect(await again).toMatchObject({ generationId: 2, leader: a.memberId })
  })

  test('new metadata of a follower are a new generation', async () => {
    const world = await groupWorld()
    const [a, b] = [new Consumer(world), new Consumer(world)]
    await settle(a, b)
    b.protocols = { range: 'other topics' }
    const joined = b.join()
    const { members } = await a.join()
    expect(members.map(({ metadata }) => metadata.toString())).toEqual(['topics', 'other topics'])
    expect((await joined).generationId).toBe(2)
  })

  test('an answer that was lost is given again', async () => {
    const world = await groupWorld()
    const [a, b] = [new Consumer(world), new Consumer(world)]
    const [first] = await gather(a, b)
    expect(await a.join()).toEqual(first)
    expect(await stateOf(world)).toBe('CompletingRebalance')
  })

  test('a join that is repeated takes the place of the one that waits', async () => {
    const world = await groupWorld()
    const [a, b] = [new Consumer(world), new Consumer(world)]
    await settle(a)
    const lost = b.join()
    await pass(0)
    const kept = b.ask()
    expect(code(await lost)).toBe('UNKNOWN_MEMBER_ID')
    await a.join()
    expect(await kept).toMatchObject({ errorCode: 0, generationId: 2 })
  })

  test('an id that was handed out holds a rebalance up until it is used or its time is over', async () => {
    const world = await groupWorld()
    const a = new Consumer(world)
    await settle(a)
    await new Consumer(world, { sessionMs: 6000 }).ask()
    const again = a.join()
    await pass(5999)
    expect(await isSettled(again)).toBe(false)
    await pass(1)
    expect((await again).generationId).toBe(2)
  })
})

describe('SyncGroup', () => {
  test('all get what the leader assigns, and nothing where it forgot them', async () => {
    const world = await groupWorld()
    const [a, b, c] = [new Consumer(world), new Consumer(world), new Consumer(world)]
    await gather(a, b, c)
    const following = [b.sync(), c.sync()]
    expect(await isSettled(Promise.race(following))).toBe(false)
    const own = await a.sync({ [a.memberId]: 'for a', [b.memberId]: 'for b' })
    const answers = [own, ...(await Promise.all(following))]
    expect(answers.map(({ assignment }) => assignment.toString())).toEqual(['for a', 'for b', ''])
    expect(own).toMatchObject({ errorCode: 0, protocolType: 'consumer', protocolName: 'range' })
    expect((await b.sync()).assignment.toString()).toBe('for b') // once more, since the group is stable
  })

  test('refuses what does not fit', async () => {
    const world = await groupWorld()
    const a = new Consumer(world, { instanceId: 'i' })
    await settle(a)
    const right = { ...a.identity, protocolType: 'consumer', protocolName: 'range', assignments: [] }
    const cases = [
      [{}, 'NONE'],
      [{ groupId: '' }, 'INVALID_GROUP_ID'],
      [{ groupId: 'none' }, 'UNKNOWN_MEMBER_ID'],
      [{ memberId: 'x', groupInstanceId: null }, 'UNKNOWN_MEMBER_ID'],
      [{ groupInstanceId: 'j' }, 'UNKNOWN_MEMBER_ID'],
      [{ memberId: 'x' }, 'FENCED_INSTANCE_ID'],
      [{ generationId: 2 }, 'ILLEGAL_GENERATION'],
      [{ protocolType: 'connect' }, 'INCONSISTENT_GROUP_PROTOCOL'],
      [{ protocolName: 'sticky' }, 'INCONSISTENT_GROUP_PROTOCOL'],
      [{ protocolType: null }, 'INCONSISTENT_GROUP_PROTOCOL']
    ] as const
    for (const [change, expected] of cases) {
      expect(code(await world.call(syncGroup, { ...right, ...change })), JSON.stringify(change)).toBe(expected)
    }
    for (const version of [0, 1, 2, 3, 4]) expect(code(await world.call(syncGroup, right, { version }))).toBe('NONE')
  })

  test('a rebalance sends those away who wait for their assignment', async () => {
    const world = await groupWorld()
    const [a, b] = [new Consumer(world), new Consumer(world)]
    await gather(a, b)
    const waiting = b.sync()
    const joined = new Consumer(world).join()
    expect(code(await waiting)).toBe('REBALANCE_IN_PROGRESS')
    expect(code(await a.sync())).toBe('REBALANCE_IN_PROGRESS')
    await Promise.all([a.join(), b.join()])
    expect((await joined).generationId).toBe(2)
  })

  test('who never asks for its assignment is out, and the others begin again', async () => {
    const world = await groupWorld()
    const lazy = new Consumer(world, { sessionMs: 60_000, rebalanceMs: 5000 })
    const [a, b] = [new Consumer(world, { rebalanceMs: 5000 }), lazy]
    await gather(a, b)
    await a.sync()
    await pass(4700)
    expect(await stateOf(world)).toBe('Stable')
    await pass(300)
    expect(await stateOf(world)).toBe('PreparingRebalance')
    expect((await a.join()).members).toHaveLength(1)
    expect(kafkaErrorName(await b.heartbeat())).toBe('UNKNOWN_MEMBER_ID')
  })
})

describe('sessions', () => {
  test('heartbeats are answered by state, and refused for others', async () => {
    const world = await groupWorld()
    const a = new Consumer(world, { instanceId: 'i' })
    const ask = async (change: object) => code(await world.call(heartbeat, { ...a.identity, ...change }))
    await gather(a)
    expect(await ask({})).toBe('NONE') // while the assignment is being made
    await a.sync()
    expect(await ask({})).toBe('NONE')
    expect(await ask({ generationId: 0 })).toBe('ILLEGAL_GENERATION')
    expect(await ask({ memberId: 'x' })).toBe('FENCED_INSTANCE_ID')
    expect(await ask({ memberId: 'x', groupInstanceId: null })).toBe('UNKNOWN_MEMBER_ID')
    expect(await ask({ groupId: 'none' })).toBe('UNKNOWN_MEMBER_ID')
    expect(await ask({ groupId: '' })).toBe('INVALID_GROUP_ID')
    for (const version of [0, 1, 2]) {
      expect(code(await world.call(heartbeat, a.identity, { version }))).toBe('NONE')
    }
  })

  test('who is silent is out, which is a new generation for the others', async () => {
    const world = await groupWorld()
    const a = new Consumer(world, { rebalanceMs: 15_000, sessionMs: 10_000 })
    const b = new Consumer(world, { rebalanceMs: 15_000, sessionMs: 6000 })
    await settle(a, b)
    for (let i = 0; i < 4; i++) {
      await pass(5000)
      expect([await a.heartbeat(), await b.heartbeat()]).toEqual([0, 0])
    }
    await pass(5999)
    expect(await a.heartbeat()).toBe(KafkaError.NONE)
    await pass(1)
    expect(await a.heartbeat()).toBe(KafkaError.REBALANCE_IN_PROGRESS)
    expect((await a.join()).members.map(({ memberId }) => memberId)).toEqual([a.memberId])
    expect(await b.heartbeat()).toBe(KafkaError.UNKNOWN_MEMBER_ID)
  })

  test('the last one who is silent leaves an empty group', async () => {
    const world = await groupWorld()
    const a = new Consumer(world)
    await settle(a)
    await pass(10_000)
    expect(await stateOf(world)).toBe('Empty')
    const b = new Consumer(world)
    const joined = b.join()
    await pass(INITIAL)
    expect((await joined).generationId).toBe(3) // the empty one counts
  })

  test('waiting for the others is not silence', async () => {
    const world = await groupWorld()
    const [a, b] = [new Consumer(world, { sessionMs: 60_000 }), new Consumer(world, { sessionMs: 6000 })]
    await settle(a, b)
    const joining = b.ask()
    b.protocols = { range: 'changed' }
    const waiting = b.ask()
    await joining
    await pass(20_000)
    const rejoined = a.join()
    expect((await waiting)!.errorCode).toBe(KafkaError.NONE)
    await rejoined
    b.generation = 2

    const assigned = b.sync()
    await pass(20_000)
    await a.sync(placesOf([a, b]))
    expect((await assigned).assignment.toString()).toBe('place 1')
    await pass(5999)
    expect(await stateOf(world)).toBe('Stable')
    await pass(1)
    expect(await stateOf(world)).toBe('PreparingRebalance') // its session began with the answer
  })

  test('a new member waits five minutes at most', async () => {
    const world = await groupWorld()
    const a = new Consumer(world, { sessionMs: 1_800_000, rebalanceMs: 1_800_000 })
    await settle(a)
    const joined = new Consumer(world).join()
    await pass(299_999)
    expect(await isSettled(joined)).toBe(false)
    await pass(1)
    expect(code(await joined)).toBe('UNKNOWN_MEMBER_ID')
  })

  test('a client that is gone gets no answer, and stays a member until its session ends', async () => {
    const world = await groupWorld()
    const gone = new AbortController()
    const a = new Consumer(world, { joinVersion: 3, signal: gone.signal, sessionMs: 6000 })
    const b = new Consumer(world)
    const answer = a.ask()
    const joined = b.join()
    gone.abort()
    expect(await answer).toBeNull()
    expect(await new Consumer(world, { group: 'h', joinVersion: 3, signal: gone.signal }).ask()).toBeNull()
    await pass(INITIAL)
    expect((await joined).errorCode).toBe(KafkaError.NONE)
    const members = async () => (await world.call(describeGroups, { groups: ['g'] })).groups[0]!.members.length
    expect(await members()).toBe(2)
    await b.heartbeat()
    await pass(6000)
    expect(await members()).toBe(1)
  })

  test('a server that stops leaves nobody waiting, and no timer', async () => {
    const world = await groupWorld()
    const [a, b] = [new Consumer(world), new Consumer(world)]
    await settle(a)
    const joined = b.join()
    await pass(0)
    world.stop()
    expect(code(await joined)).toBe('COORDINATOR_NOT_AVAILABLE')
    expect(vi.getTimerCount()).toBe(0)
  })

  test('a group that nobody needs any more is forgotten', async () => {
    const world = await groupWorld()
    const [a, b] = [new Consumer(world, { group: 'read' }), new Consumer(world, { group: 'looked' })]
    await settle(a)
    await settle(b)
    await a.commit(5)
    await Promise.all([a.leave(), b.leave()])
    const groups = async () =>
      (await world.call(listGroups, { statesFilter: [], typesFilter: [] })).groups.map(
        ({ groupId, protocolType }) => `${groupId} ${protocolType}`
      )
    expect(await groups()).toEqual(['read consumer', 'looked consumer'])
    await pass(600_000)
    expect(await groups()).toEqual(['read consumer'])
  })
})

describe('LeaveGroup', () => {
  test('is a new generation for the others, and the next of them leads', async () => {
    const world = await groupWorld()
    const [a, b] = [new Consumer(world), new Consumer(world)]
    await settle(a, b)
    expect(await a.leave()).toBe(KafkaError.NONE)
    expect(await b.heartbeat()).toBe(KafkaError.REBALANCE_IN_PROGRESS)
    expect(await b.join()).toMatchObject({ generationId: 2, leader: b.memberId })
    expect(await b.leave()).toBe(KafkaError.NONE)
    expect(await stateOf(world)).toBe('Empty')
  })

  test('of several at once each has its own answer', async () => {
    const world = await groupWorld()
    const [a, b, c] = [
      new Consumer(world),
      new Consumer(world, { instanceId: 'b' }),
      new Consumer(world, { instanceId: 'c' })
    ]
    await settle(a, b, c)
    const pending = (await new Consumer(world).ask())!.memberId
    const answer = await world.call(leaveGroup, {
      groupId: 'g',
      members: [
        { memberId: a.memberId, groupInstanceId: null },
        { memberId: '', groupInstanceId: 'b' }, // as an administrator does
        { memberId: 'another', groupInstanceId: 'c' },
        { memberId: '', groupInstanceId: 'd' },
        { memberId: '', groupInstanceId: null },
        { memberId: 'unknown', groupInstanceId: null },
        { memberId: pending, groupInstanceId: null }
      ]
    })
    expect(answer.errorCode).toBe(KafkaError.NONE)
    expect(answer.members!.map(code)).toEqual([
      'NONE',
      'NONE',
      'FENCED_INSTANCE_ID',
      'UNKNOWN_MEMBER_ID',
      'UNKNOWN_MEMBER_ID',
      'UNKNOWN_MEMBER_ID',
      'NONE'
    ])
    expect((await c.join()).members.map(({ memberId }) => memberId)).toEqual([c.memberId])
  })

  test.each([0, 1, 2])('version %i is of one member', async version => {
    const world = await groupWorld()
    const a = new Consumer(world)
    await settle(a)
    const leave = async (groupId: string, memberId: string) =>
      code(await world.call(leaveGroup, { groupId, memberId }, { version }))
    expect(await leave('g', 'x')).toBe('UNKNOWN_MEMBER_ID')
    expect(await leave('none', 'x')).toBe('UNKNOWN_MEMBER_ID')
    expect(await leave('', 'x')).toBe('INVALID_GROUP_ID')
    expect(await leave('g', a.memberId)).toBe('NONE')
  })

  test('a member that waits and leaves is answered', async () => {
    const world = await groupWorld()
    const [a, b] = [new Consumer(world), new Consumer(world)]
    await settle(a)
    const joined = b.join()
    await pass(0)
    expect(await b.leave()).toBe(KafkaError.NONE)
    expect(code(await joined)).toBe('UNKNOWN_MEMBER_ID')
  })
})

describe('a static member', () => {
  test('comes back without a rebalance, takes up its assignment, and fences its former self', async () => {
    const world = await groupWorld()
    const [a, b] = [new Consumer(world), new Consumer(world, { instanceId: 'b' })]
    await settle(a, b)
    const back = new Consumer(world, { instanceId: 'b' })
    expect(await back.join()).toMatchObject({ generationId: 1, leader: a.memberId, members: [], skipAssignment: false })
    expect(back.memberId).not.toBe(b.memberId)
    expect(await stateOf(world)).toBe('Stable')
    expect((await back.sync()).assignment.toString()).toBe('place 1')
    expect(await b.heartbeat()).toBe(KafkaError.FENCED_INSTANCE_ID)
    expect(code((await b.ask())!)).toBe('FENCED_INSTANCE_ID')
    expect(await b.leave()).toBe(KafkaError.FENCED_INSTANCE_ID)
    expect(await b.commit(1)).toBe(KafkaError.FENCED_INSTANCE_ID)
  })

  test('that leads is told so if it can skip the assignment, else it is told of its former self', async () => {
    const world = await groupWorld()
    const [a, b] = [new Consumer(world, { instanceId: 'a' }), new Consumer(world)]
    await settle(a, b)
    const back = new Consumer(world, { instanceId: 'a' })
    const answer = await back.join()
    expect(answer).toMatchObject({ leader: back.memberId, skipAssignment: true })
    expect(answer.members).toHaveLength(2)

    const older = new Consumer(world, { instanceId: 'a', joinVersion: 8 })
    expect(await older.join()).toMatchObject({ leader: back.memberId, members: [] })
    expect((await older.sync()).assignment.toString()).toBe('place 0')
  })

  test('whose protocols change the vote starts a rebalance', async () => {
    const world = await groupWorld()
    const a = new Consumer(world, { instanceId: 'a', protocols: { range: '', sticky: '' } })
    await settle(a)
    const back = new Consumer(world, { instanceId: 'a', protocols: { sticky: '', range: '' } })
    expect(await back.join()).toMatchObject({ generationId: 2, protocolName: 'sticky' })
  })

  test('that comes back while assignments are made starts a rebalance', async () => {
    const world = await groupWorld()
    const [a, b] = [new Consumer(world), new Consumer(world, { instanceId: 'b' })]
    await gather(a, b)
    const waiting = b.sync()
    const back = new Consumer(world, { instanceId: 'b' }).join()
    expect(code(await waiting)).toBe('FENCED_INSTANCE_ID')
    expect((await a.join()).generationId).toBe(2)
    expect((await back).generationId).toBe(2)
  })

  test('that comes back before it had its assignment is not waited for twice', async () => {
    const world = await groupWorld()
    const [a, b] = [
      new Consumer(world, { rebalanceMs: 5000 }),
      new Consumer(world, { instanceId: 'b', rebalanceMs: 5000 })
    ]
    await gather(a, b)
    await a.sync(placesOf([a, b]))
    const back = new Consumer(world, { instanceId: 'b', rebalanceMs: 5000 })
    await back.join()
    expect((await back.sync()).assignment.toString()).toBe('place 1')
    await pass(5000)
    expect([await stateOf(world), await back.heartbeat()]).toEqual(['Stable', KafkaError.NONE])
  })

  test('that does not join again leads no more', async () => {
    const world = await groupWorld()
    const a = new Consumer(world, { instanceId: 'a', sessionMs: 30_000, rebalanceMs: 5000 })
    const [b, c] = [new Consumer(world, { rebalanceMs: 5000 }), new Consumer(world, { rebalanceMs: 5000 })]
    await settle(a, b)
    const joined = c.join()
    await pass(0)
    await Promise.all([b.join(), pass(5000)])
    expect(await joined).toMatchObject({ generationId: 2, leader: b.memberId })
  })

  test('is waited for while nobody else joins', async () => {
    const world = await groupWorld()
    const a = new Consumer(world, { instanceId: 'a', sessionMs: 30_000, rebalanceMs: 5000 })
    const b = new Consumer(world, { instanceId: 'b', sessionMs: 6000, rebalanceMs: 5000 })
    await settle(a, b)
    await pass(6000) // b is out
    await pass(10_000)
    expect([await stateOf(world), await a.heartbeat()]).toEqual([
      'PreparingRebalance',
      KafkaError.REBALANCE_IN_PROGRESS
    ])
    expect(await a.join()).toMatchObject({ generationId: 2, leader: a.memberId })
  })

  test('that does not join again stays until its session ends', async () => {
    const world = await groupWorld()
    const a = new Consumer(world, { rebalanceMs: 5000 })
    const b = new Consumer(world, { instanceId: 'b', sessionMs: 30_000, rebalanceMs: 5000 })
    await settle(a, b)
    const rejoined = a.join()
    await pass(5000)
    expect((await rejoined).members).toHaveLength(2)
    expect(await stateOf(world)).toBe('CompletingRebalance')
  })
})

test('JoinGroup is answered in every version', async () => {
  const world = await groupWorld()
  for (let version = joinGroup.versions[0]; version <= joinGroup.versions[1]; version++) {
    const consumer = new Consumer(world, { group: `g${version}`, joinVersion: version })
    const joined = consumer.join()
    await pass(INITIAL)
    expect(await joined).toMatchObject({ errorCode: 0, generationId: 1, leader: consumer.memberId })
  }
})
