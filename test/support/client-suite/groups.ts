// Consuming in a group: sharing, leaving, resuming, static members, and clients of several kinds in one group.
import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Client } from '../clients/client.ts'
import { confluent } from '../clients/confluent.ts'
import { java } from '../clients/java.ts'
import { kcat } from '../clients/kcat.ts'
import type { Need } from '../servers.ts'
import { describeWith } from '../servers.ts'
import { createTopic } from '../topics.ts'
import { until } from '../until.ts'
import { committed, groupView, haveRead, sendToEach, settled } from './observe.ts'

export function groupTests(client: Client, bootstrap: () => string): void {
  test('two members share four partitions, the one that stays takes all, and a later one resumes where they ended', async () => {
    const topic = await createTopic(bootstrap(), { partitions: 4 })
    const group = `group-${randomUUID()}`
    const join = (clientId: string) => client.join(bootstrap(), { group, topic, clientId })
    const sent = await sendToEach(bootstrap(), topic, 4, 'before anyone')
    await using a = await join('a')
    await settled(bootstrap(), group, { a: 4 })
    await haveRead([a], sent)

    await using b = await join('b')
    const shared = await settled(bootstrap(), group, { a: 2, b: 2 })
    const partitions = Object.values(shared.members).flatMap(member => member.partitions)
    expect(partitions.sort()).toEqual([0, 1, 2, 3])
    sent.push(...(await sendToEach(bootstrap(), topic, 4, 'to both')))
    await haveRead([a, b], sent)
    expect(new Set(b.records.map(({ partition }) => partition))).toEqual(new Set(shared.members['b']!.partitions))

    await a.leave()
    await settled(bootstrap(), group, { b: 4 })
    sent.push(...(await sendToEach(bootstrap(), topic, 4, 'to the one that stays')))
    await haveRead([a, b], sent)
    await b.leave()
    await settled(bootstrap(), group, {})
    expect(await committed(bootstrap(), group, topic)).toEqual([15, 15, 15, 15])

    const later = await sendToEach(bootstrap(), topic, 4, 'to nobody')
    await using c = await join('c')
    await haveRead([c], later)
    await c.leave()
    expect(await committed(bootstrap(), group, topic)).toEqual([20, 20, 20, 20])
  }, 90_000)

  test('a waiting consumer gets a record at once', async () => {
    const topic = await createTopic(bootstrap())
    const fetchWait = 4_000
    const options = { group: `group-${randomUUID()}`, topic, clientId: 'waiting', fetchWait }
    const sent = await sendToEach(bootstrap(), topic, 1, 'first', 1)
    await using member = await client.join(bootstrap(), options)
    await haveRead([member], sent)
    for (let i = 0; i < 3; i++) {
      sent.push(...(await sendToEach(bootstrap(), topic, 1, `later ${i}`, 1)))
      const acknowledged = performance.now()
      await haveRead([member], sent)
      expect(performance.now() - acknowledged).toBeLessThan(fetchWait / 2)
    }
    await member.leave()
  })

  if (!client.can.staticMember) return
  test('a static member that comes back has its partitions again, and nobody else is disturbed', async () => {
    const topic = await createTopic(bootstrap(), { partitions: 4 })
    const group = `group-${randomUUID()}`
    const join = (name: string) => client.join(bootstrap(), { group, topic, clientId: name, instanceId: name })
    await using stays = await join('stays')
    await settled(bootstrap(), group, { stays: 4 })
    await using leaves = await join('leaves')
    const before = await settled(bootstrap(), group, { stays: 2, leaves: 2 })
    // The broker's view is settled before the member has told of its second assignment.
    await until(() => (stays.assignments ?? 2) >= 2, { what: 'the member that stays shares its partitions' })
    const assignments = stays.assignments
    await leaves.leave()
    expect(await groupView(bootstrap(), group)).toEqual(before)

    await using back = await join('leaves')
    const isBack = async () => {
      const view = await groupView(bootstrap(), group)
      return view.members['leaves']!.memberId !== before.members['leaves']!.memberId && view
    }
    const after = await until(isBack, { what: 'the static member has a new id', timeout: 20_000 })
    expect(after.state).toBe('Stable')
    expect(after.members['leaves']!.partitions).toEqual(before.members['leaves']!.partitions)
    expect(after.members['stays']).toEqual(before.members['stays'])
    const sent = await sendToEach(bootstrap(), topic, 4, 'to both')
    await haveRead([stays, back], sent)
    expect(new Set(back.records.map(({ partition }) => partition))).toEqual(
      new Set(after.members['leaves']!.partitions)
    )
    expect(stays.assignments).toBe(assignments)
  }, 90_000)
}

/** kafkajs is not among them: its assigner has a name that no other client knows. */
export function sharedGroupTests(bootstrap: () => string, needs: readonly Need[]): void {
  const members = [java, kcat, confluent]
  describeWith([...needs, ...members.flatMap(client => client.needs)], 'clients of several kinds', () => {
    test('share one group', async () => {
      const topic = await createTopic(bootstrap(), { partitions: 6 })
      const options = { group: `group-${randomUUID()}`, topic }
      const sent = await sendToEach(bootstrap(), topic, 6, 'before anyone')
      await using a = await java.join(bootstrap(), { ...options, clientId: 'java' })
      await using b = await kcat.join(bootstrap(), { ...options, clientId: 'kcat' })
      await using c = await confluent.join(bootstrap(), { ...options, clientId: 'confluent' })
      await settled(bootstrap(), options.group, { java: 2, kcat: 2, confluent: 2 })
      const later = await sendToEach(bootstrap(), topic, 6, 'to all')
      const readLater = () => [a, b, c].flatMap(({ records }) => records).filter(({ value }) => later.includes(value!))
      await until(() => readLater().length === later.length, { what: 'the three read what came later' })
      for (const member of [b, a]) await member.leave()
      await settled(bootstrap(), options.group, { confluent: 6 })
      await c.leave()
      expect(await committed(bootstrap(), options.group, topic)).toEqual(Array(6).fill(10))
      // The first rebalances may come before a commit, so nothing is said of duplicates, but nothing is missed.
      const seen = new Set([a, b, c].flatMap(({ records }) => records.map(({ value }) => value)))
      expect([...sent, ...later].filter(value => !seen.has(value))).toEqual([])
    }, 90_000)
  })
}
