// kafkajs, run by programs.ts: `node kafkajs-client.ts BOOTSTRAP PREFIX CASE,…`.
import { strict as assert } from 'node:assert'
import { randomUUID } from 'node:crypto'
import type { Consumer, Producer, ProducerConfig, Transaction } from 'kafkajs'
import kafkajs from 'kafkajs'
import { kafkaClient } from '../../kafka-client.ts'
import { kafkajsCodecs } from '../../kafkajs-codecs.ts'
import { withAdmin } from '../../topics.ts'
import { until } from '../../until.ts'
import type { Codec } from '../client.ts'
import { codecs } from '../client.ts'
import { acksNames, bootstrap, deadline, failsWith, producedTo, testCase, topicOf, valuesOf } from './cases.ts'

const kafka = kafkaClient(bootstrap)
const transactionalOf = (name: string) => ({ transactionalId: topicOf(name), idempotent: true, maxInFlightRequests: 1 })

for (const acks of acksNames) {
  for (const codec of codecs) {
    const how = { acks: acks === 'all' ? -1 : Number(acks), codec }
    await testCase(`acks=${acks} ${codec}`, () =>
      withProducer({}, producer => send(producer, producedTo(acks, codec), valuesOf(`acks=${acks}`, 3), how))
    )
  }
}

await testCase('idempotent', () =>
  withProducer({ idempotent: true, maxInFlightRequests: 1 }, producer =>
    send(producer, 'idempotent', valuesOf('value', 3))
  )
)

await testCase('commit', async () => {
  await withProducer(transactionalOf('commit'), async producer => {
    const transaction = await producer.transaction()
    await send(transaction, 'commit', valuesOf('kept', 3))
    await transaction.commit()
  })
  assert.deepEqual(await committed('commit', 3), valuesOf('kept', 3))
})

await testCase('abort', async () => {
  await withProducer(transactionalOf('abort'), async producer => {
    const lost = await producer.transaction()
    await send(lost, 'abort', valuesOf('lost', 3))
    await lost.abort()
    const kept = await producer.transaction()
    await send(kept, 'abort', valuesOf('kept', 1))
    await kept.commit()
  })
  assert.deepEqual(await committed('abort', 1), valuesOf('kept', 1))
})

await testCase('fencing', () =>
  withProducer(transactionalOf('fencing'), async zombie => {
    const lost = await zombie.transaction()
    await send(lost, 'fencing', valuesOf('lost', 1))
    await withProducer(transactionalOf('fencing'), async successor => {
      const kept = await successor.transaction()
      await send(kept, 'fencing', valuesOf('kept', 1))
      await kept.commit()
    })
    await failsWith(/newer producer|old epoch|fenced/i, lost.commit())
    assert.deepEqual(await committed('fencing', 1), valuesOf('kept', 1))
  })
)

// Reads all, commits, leaves; a second member of the group begins where the first ended.
await testCase('classic group', async () => {
  for (const turn of ['first', 'second']) {
    await withProducer({}, producer => send(producer, 'classic', valuesOf(turn, 10)))
    const consumer = kafka.consumer({ groupId: topicOf('classic'), maxWaitTimeInMs: 500 })
    assert.deepEqual((await read(consumer, 'classic', 10)).sort(), valuesOf(turn, 10))
  }
})

await testCase('topics', () =>
  withAdmin(bootstrap, async admin => {
    const topic = topicOf('admin')
    const create = { topics: [{ topic, numPartitions: 2 }] }
    assert.equal(await admin.createTopics(create), true)
    const isThere = async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0]!.partitions.length === 2
    await until(isThere, { what: 'the broker shows the topic', timeout: deadline })
    const resource = { type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }
    const configEntries = [{ name: 'retention.ms', value: '1234567' }]
    await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries }] })
    const isShown = async () => {
      const { resources } = await admin.describeConfigs({ resources: [resource], includeSynonyms: false })
      return resources[0]!.configEntries.find(one => one.configName === 'retention.ms')?.configValue === '1234567'
    }
    await until(isShown, { what: 'the broker shows what the controller was told', timeout: deadline })
    assert.equal(await admin.createTopics(create), false)
    await admin.deleteTopics({ topics: [topic] })
  })
)

// The group that `classic group` left behind.
await testCase('groups', () =>
  withAdmin(bootstrap, async admin => {
    const groupId = topicOf('classic')
    assert((await admin.listGroups()).groups.some(group => group.groupId === groupId))
    assert.equal((await admin.describeGroups([groupId])).groups[0]!.state, 'Empty')
    const [{ partitions }] = (await admin.fetchOffsets({ groupId, topics: [groupId] })) as [any]
    assert.equal(
      partitions.reduce((sum: number, { offset }: { offset: string }) => sum + Number(offset), 0),
      20
    )
    await admin.deleteGroups([groupId])
  })
)

async function withProducer(config: ProducerConfig, work: (producer: Producer) => Promise<void>): Promise<void> {
  const producer = kafka.producer(config)
  try {
    await producer.connect()
    await work(producer)
  } finally {
    await producer.disconnect()
  }
}

async function send(
  to: Producer | Transaction,
  name: string,
  values: readonly string[],
  { acks = -1, codec = 'none' }: { acks?: number; codec?: Codec } = {}
): Promise<void> {
  const messages = values.map(value => ({ value }))
  await to.send({ topic: topicOf(name), acks, compression: kafkajsCodecs[codec], messages })
}

async function committed(name: string, count: number): Promise<string[]> {
  return await read(kafka.consumer({ groupId: randomUUID(), maxWaitTimeInMs: 500 }), name, count)
}

async function read(consumer: Consumer, name: string, count: number): Promise<string[]> {
  const values: string[] = []
  try {
    await consumer.connect()
    await consumer.subscribe({ topic: topicOf(name), fromBeginning: true })
    await consumer.run({ eachMessage: async ({ message }) => void values.push(String(message.value)) })
    await until(() => values.length >= count, { what: `${count} records are read`, timeout: deadline })
    return values
  } finally {
    await consumer.disconnect()
  }
}
