// @platformatic/kafka, run by programs.ts: `node platformatic-client.ts BOOTSTRAP PREFIX CASE,…`.
import { strict as assert } from 'node:assert'
import { randomUUID } from 'node:crypto'
import type { ConsumerGroupOptions, ProducerOptions } from '@platformatic/kafka'
import {
  Admin,
  ConfigResourceTypes,
  Consumer,
  FetchIsolationLevels,
  IncrementalAlterConfigOperationTypes,
  ProduceAcks,
  Producer,
  stringDeserializers,
  stringSerializers
} from '@platformatic/kafka'
import { until } from '../../until.ts'
import { codecs } from '../client.ts'
import { acksNames, bootstrap, deadline, failsWith, producedTo, testCase, topicOf, valuesOf } from './cases.ts'

type Settings = Partial<ProducerOptions<string, string, string, string>>

const base = { clientId: 'millrace-test', bootstrapBrokers: bootstrap.split(',') }
const acksOf = { 0: ProduceAcks.NO_RESPONSE, 1: ProduceAcks.LEADER, all: ProduceAcks.ALL }

for (const acks of acksNames) {
  for (const compression of codecs) {
    await testCase(`acks=${acks} ${compression}`, () =>
      withProducer({ compression }, async producer => {
        const batch = batchOf(producedTo(acks, compression), valuesOf(`acks=${acks}`, 3))
        await producer.send({ ...batch, acks: acksOf[acks] })
      })
    )
  }
}

await testCase('idempotent', () =>
  withProducer({ idempotent: true }, async producer => {
    await producer.send(batchOf('idempotent', valuesOf('value', 3)))
  })
)

await testCase('commit', async () => {
  await withProducer(transactionalOf('commit'), async producer => {
    const transaction = await producer.beginTransaction()
    await transaction.send(batchOf('commit', valuesOf('kept', 3)))
    await transaction.commit()
  })
  assert.deepEqual(await committed('commit', 3), valuesOf('kept', 3))
})

await testCase('abort', async () => {
  await withProducer(transactionalOf('abort'), async producer => {
    const lost = await producer.beginTransaction()
    await lost.send(batchOf('abort', valuesOf('lost', 3)))
    await lost.abort()
    const kept = await producer.beginTransaction()
    await kept.send(batchOf('abort', valuesOf('kept', 1)))
    await kept.commit()
  })
  assert.deepEqual(await committed('abort', 1), valuesOf('kept', 1))
})

await testCase('fencing', () =>
  withProducer(transactionalOf('fencing'), async zombie => {
    const lost = await zombie.beginTransaction()
    await lost.send(batchOf('fencing', valuesOf('lost', 1)))
    await withProducer(transactionalOf('fencing'), async successor => {
      const kept = await successor.beginTransaction()
      await kept.send(batchOf('fencing', valuesOf('kept', 1)))
      await kept.commit()
    })
    await failsWith(/PRODUCER_FENCED|INVALID_PRODUCER_EPOCH|newer producer|old epoch/i, lost.commit())
    assert.deepEqual(await committed('fencing', 1), valuesOf('kept', 1))
  })
)

await testCase('classic group', () => group('classic'))
await testCase('consumer group', () => group('consumer', { groupProtocol: 'consumer' }))

await testCase('topics', () =>
  withAdmin(async admin => {
    const topic = topicOf('admin')
    const create = { topics: [topic], partitions: 2, replicas: 1 }
    await admin.createTopics(create)
    const isListed = async () => (await admin.listTopics()).includes(topic)
    await until(isListed, { what: 'the broker shows the topic', timeout: deadline })
    const resource = { resourceType: ConfigResourceTypes.TOPIC, resourceName: topic }
    const change = { name: 'retention.ms', configOperation: IncrementalAlterConfigOperationTypes.SET, value: '1234567' }
    await admin.incrementalAlterConfigs({ resources: [{ ...resource, configs: [change] }] })
    const isShown = async () => {
      const [described] = await admin.describeConfigs({ resources: [resource] })
      return described!.configs.find(({ name }) => name === 'retention.ms')?.value === '1234567'
    }
    await until(isShown, { what: 'the broker shows what the controller was told', timeout: deadline })
    await failsWith(/TOPIC_ALREADY_EXISTS|already exists/i, admin.createTopics(create))
    await admin.deleteTopics({ topics: [topic] })
  })
)

// The group that `classic group` left behind.
await testCase('groups', () =>
  withAdmin(async admin => {
    const id = topicOf('classic')
    assert((await admin.listGroups()).has(id))
    assert.equal((await admin.describeGroups({ groups: [id] })).get(id)!.state, 'Empty')
    const [{ topics }] = (await admin.listConsumerGroupOffsets({ groups: [id] })) as [any]
    assert.equal(
      topics[0].partitions.reduce((sum: bigint, one: { committedOffset: bigint }) => sum + one.committedOffset, 0n),
      20n
    )
    await admin.deleteGroups({ groups: [id] })
  })
)

/** Without ids it would ask for those of producer 0, and be told that another one has fenced it. */
function transactionalOf(name: string): Settings {
  return { transactionalId: topicOf(name), idempotent: true, producerId: -1n, producerEpoch: -1 }
}

function batchOf(name: string, values: readonly string[]) {
  return { messages: values.map(value => ({ topic: topicOf(name), value, partition: 0 })) }
}

async function withProducer(
  settings: Settings,
  work: (producer: Producer<string, string, string, string>) => Promise<void>
): Promise<void> {
  const producer = new Producer({ ...base, serializers: stringSerializers, ...settings })
  try {
    await work(producer)
  } finally {
    await producer.close(true)
  }
}

async function withAdmin(work: (admin: Admin) => Promise<void>): Promise<void> {
  const admin = new Admin(base)
  try {
    await work(admin)
  } finally {
    await admin.close()
  }
}

/** Reads all, commits, leaves; a second member of the group begins where the first ended. */
async function group(name: string, protocol: ConsumerGroupOptions | object = {}): Promise<void> {
  for (const turn of ['first', 'second']) {
    await withProducer({}, async producer => {
      await producer.send(batchOf(name, valuesOf(turn, 10)))
    })
    assert.deepEqual((await read(name, 10, { groupId: topicOf(name), ...protocol })).sort(), valuesOf(turn, 10))
  }
}

async function committed(name: string, count: number): Promise<string[]> {
  return await read(name, count, { groupId: randomUUID() })
}

async function read(name: string, count: number, settings: { groupId: string }): Promise<string[]> {
  const values: string[] = []
  const consumer = new Consumer({ ...base, ...settings, deserializers: stringDeserializers, autocommit: false })
  try {
    const stream = await consumer.consume({
      topics: [topicOf(name)],
      mode: 'committed',
      fallbackMode: 'earliest',
      maxWaitTime: 500,
      isolationLevel: FetchIsolationLevels.READ_COMMITTED
    })
    for await (const message of stream) {
      values.push(message.value)
      await message.commit()
      if (values.length >= count) break
    }
    return values
  } finally {
    await consumer.close(true)
  }
}
