// Topics, settings and groups, as Kafka's own tools administer them.
import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { consumerGroups, java, kafkaConfigs } from '../clients/java.ts'
import { kafkaTopics } from '../kafka-tools.ts'
import type { Need } from '../servers.ts'
import { describeWith } from '../servers.ts'
import { createTopic } from '../topics.ts'
import { committed, haveRead, sendToEach, settled } from './observe.ts'

const topicIds = /TopicId: ([\w-]{22})\t/

export function toolTests(bootstrap: () => string, needs: readonly Need[]): void {
  describeWith([...needs, 'kafka-tools'], "Kafka's tools", () => {
    test('create, list, describe, enlarge and delete a topic', async () => {
      const topic = `tools-${randomUUID()}`
      const topics = (...args: string[]) => kafkaTopics(bootstrap(), args)
      await topics(
        '--create',
        '--topic',
        topic,
        '--partitions',
        '2',
        '--config',
        'message.timestamp.type=LogAppendTime'
      )
      expect((await topics('--list')).split('\n')).toContain(topic)
      await topics('--alter', '--topic', topic, '--partitions', '3')
      const described = await topics('--describe', '--topic', topic)
      expect(described).toMatch(
        /PartitionCount: 3\tReplicationFactor: 1\tConfigs: .*message.timestamp.type=LogAppendTime/
      )
      expect(described.match(/Partition: \d\tLeader: 1\tReplicas: 1\tIsr: 1\t/g)).toHaveLength(3)
      const [, id] = topicIds.exec(described)!

      const settings = await kafkaConfigs(bootstrap(), ['--describe', '--topic', topic])
      expect(settings).toMatch(/^ {2}message\.timestamp\.type=LogAppendTime sensitive=false/m)
      const all = await kafkaConfigs(bootstrap(), ['--describe', '--all', '--topic', topic])
      expect(all).toMatch(/^ {2}cleanup\.policy=delete /m)
      expect(all).toMatch(/^ {2}max\.message\.bytes=1048588 /m)

      const again = topics('--create', '--topic', topic)
      await expect(again).rejects.toThrow(/TopicExistsException/)
      await topics('--delete', '--topic', topic)
      expect((await topics('--list')).split('\n')).not.toContain(topic)
      await topics('--create', '--topic', topic)
      const [, later] = topicIds.exec(await topics('--describe', '--topic', topic))!
      expect(later).not.toBe(id)
    }, 60_000)

    test('list, describe, reset and delete a group', async () => {
      const topic = await createTopic(bootstrap(), { partitions: 2 })
      const group = `tools-${randomUUID()}`
      const groups = (...args: string[]) => consumerGroups(bootstrap(), args)
      const sent = await sendToEach(bootstrap(), topic, 2, 'value')
      await using member = await java.join(bootstrap(), { group, topic, clientId: 'tool' })
      await settled(bootstrap(), group, { tool: 2 })
      await haveRead([member], sent)
      expect((await groups('--list')).split('\n')).toContain(group)
      const members = await groups('--describe', '--group', group, '--members')
      expect(members).toMatch(new RegExp(`^${group} +tool-[\\w-]{36} +/127\\.0\\.0\\.1 +tool +2 *$`, 'm'))
      const state = await groups('--describe', '--group', group, '--state')
      expect(state).toMatch(new RegExp(`^${group} +[\\w.]+:\\d+ +\\(\\d+\\) +range +Stable +1$`, 'm'))
      const reset = ['--reset-offsets', '--group', group, '--topic', topic, '--to-earliest', '--execute']
      expect(await groups(...reset)).toMatch(/Error: Assignments can only be reset if the group .* is inactive/)
      await member.leave()

      const offsets = await groups('--describe', '--group', group, '--offsets')
      expect(offsets).toMatch(new RegExp(`^${group} +${topic} +0 +5 +5 +0 `, 'm'))
      await groups(...reset)
      expect(await committed(bootstrap(), group, topic)).toEqual([0, 0])
      await groups('--delete', '--group', group)
      expect((await groups('--list')).split('\n')).not.toContain(group)
    }, 60_000)
  })
}
