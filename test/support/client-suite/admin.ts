// Topics, settings and groups, as the admin clients of kafkajs and Confluent see them.
import { randomUUID } from 'node:crypto'
import type { Admin } from 'kafkajs'
import { ConfigResourceTypes } from 'kafkajs'
import { expect, test } from 'vitest'
import { confluentAdmin } from '../clients/confluent.ts'
import { kafkajs } from '../clients/kafkajs.ts'
import { kafkaClient } from '../kafka-client.ts'
import type { Need } from '../servers.ts'
import { describeWith } from '../servers.ts'
import { createTopic, withAdmin } from '../topics.ts'
import { until } from '../until.ts'
import { committed, haveRead, sendToEach, settled } from './observe.ts'

export function adminClientTests(bootstrap: () => string, needs: readonly Need[]): void {
  describeWith(needs, "kafkajs's admin client", () => {
    const admin = <T>(work: (admin: Admin) => Promise<T>) => withAdmin(bootstrap(), work)

    test('creates, describes, enlarges and deletes topics', async () => {
      const topic = `kafkajs-${randomUUID()}`
      const configEntries = [{ name: 'message.timestamp.type', value: 'LogAppendTime' }]
      await admin(async admin => {
        expect(await admin.createTopics({ topics: [{ topic, numPartitions: 2, configEntries }] })).toBe(true)
        expect(await admin.createTopics({ topics: [{ topic }] })).toBe(false)
        expect(await admin.listTopics()).toContain(topic)
        await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] })
        const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
        expect(topics[0]!.partitions.map(({ partitionId, leader, isr }) => [partitionId, leader, isr]).sort()).toEqual(
          [0, 1, 2].map(partition => [partition, 1, [1]])
        )
        const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic }]
        const described = await admin.describeConfigs({ resources, includeSynonyms: false })
        const settings = new Map(described.resources[0]!.configEntries.map(entry => [entry.configName, entry]))
        expect(settings.get('message.timestamp.type')).toMatchObject({ configValue: 'LogAppendTime', isDefault: false })
        expect(settings.get('cleanup.policy')).toMatchObject({ configValue: 'delete' })
        await admin.deleteTopics({ topics: [topic] })
        expect(await admin.listTopics()).not.toContain(topic)
      })
    })

    test('is refused what cannot be', async () => {
      const topic = await createTopic(bootstrap(), { partitions: 2 })
      await admin(async admin => {
        const create = (name: string, replicationFactor = 1, numPartitions = 1) =>
          admin.createTopics({ topics: [{ topic: name, replicationFactor, numPartitions }] })
        const reasons = (type: string) => ({ errors: [expect.objectContaining({ type })] })
        await expect(create('no/such name')).rejects.toMatchObject(reasons('INVALID_TOPIC_EXCEPTION'))
        await expect(create(randomUUID(), 3)).rejects.toMatchObject(reasons('INVALID_REPLICATION_FACTOR'))
        await expect(create(randomUUID(), 1, 0)).rejects.toMatchObject(reasons('INVALID_PARTITIONS'))
        const shrink = admin.createPartitions({ topicPartitions: [{ topic, count: 1 }] })
        await expect(shrink).rejects.toMatchObject({ type: 'INVALID_PARTITIONS' })
        const group = randomUUID()
        const refused = () =>
          admin.deleteGroups([group]).then(
            () => 0,
            error => error.groups[0].errorCode as number
          )
        // The first to ask for groups at all may be told that nobody coordinates them yet.
        await until(async () => (await refused()) !== 16, { what: 'the group has a coordinator' })
        expect(await refused()).toBe(69)
      })
    })

    test('lists, resets and deletes groups', async () => {
      const topic = await createTopic(bootstrap(), { partitions: 2 })
      const group = `kafkajs-${randomUUID()}`
      const sent = await sendToEach(bootstrap(), topic, 2, 'value')
      await using member = await kafkajs.join(bootstrap(), { group, topic, clientId: 'js' })
      await haveRead([member], sent)
      await admin(async admin => {
        const listed = await admin.listGroups()
        expect(listed.groups).toContainEqual({ groupId: group, protocolType: 'consumer' })
        await expect(admin.deleteGroups([group])).rejects.toMatchObject({
          groups: [expect.objectContaining({ errorCode: 68 })]
        })
        await member.leave()
        expect(await committed(bootstrap(), group, topic)).toEqual([5, 5])
        await admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 0, offset: '2' }] })
        expect(await committed(bootstrap(), group, topic)).toEqual([2, 5])
        await admin.resetOffsets({ groupId: group, topic, earliest: true })
        // kafkajs commits -2, which stands for the beginning where it resumes.
        expect(await committed(bootstrap(), group, topic)).toEqual([-2, -2])
        await admin.deleteGroups([group])
        expect((await admin.listGroups()).groups.map(({ groupId }) => groupId)).not.toContain(group)
      })
    })

    test('a topic is not made for a client that does not want that', async () => {
      const topic = `unknown-${randomUUID()}`
      // It would ask again and again.
      const client = kafkaClient(bootstrap(), { retry: { retries: 0 } })
      const unknown = { cause: { type: 'UNKNOWN_TOPIC_OR_PARTITION' } }
      const producer = client.producer({ allowAutoTopicCreation: false })
      await producer.connect()
      const sending = producer.send({ topic, messages: [{ value: 'to nowhere' }] })
      await expect(sending).rejects.toMatchObject(unknown)
      await producer.disconnect()
      const impatient = client.admin()
      await expect(impatient.deleteTopics({ topics: [topic] })).rejects.toMatchObject(unknown)
      await impatient.disconnect()
      expect(await admin(admin => admin.listTopics())).not.toContain(topic)
    })
  })

  describeWith([...needs, 'confluent'], "Confluent's admin client", () => {
    test('creates, describes and deletes a topic, and describes a group', async () => {
      const topic = `confluent-${randomUUID()}`
      const call = (name: string, args: object = {}) => confluentAdmin(bootstrap(), name, args)
      await call('create_topic', { topic, partitions: 2, settings: { 'message.timestamp.type': 'LogAppendTime' } })
      const group = `confluent-${randomUUID()}`
      await using member = await kafkajs.join(bootstrap(), { group, topic, clientId: 'js' })
      await settled(bootstrap(), group, { js: 2 })
      const [described] = await call('describe_topic', { topic })
      expect(described).toMatchObject({ name: topic, partitions: 2, topicId: expect.stringMatching(/^[\w+/-]{22}/) })
      const [groups] = await call('list_groups')
      expect(groups).toContain(group)
      const [seen] = await call('describe_group', { group })
      expect(seen).toEqual({ state: 'STABLE', protocol: 'RoundRobinAssigner', members: 1 })
      // A consumer that is there would ask for the topic again.
      await member.leave()
      await call('delete_topic', { topic })
      expect(await withAdmin(bootstrap(), admin => admin.listTopics())).not.toContain(topic)
    })
  })
}
