// Topics of a test's own, and their brokers' side: made, deleted, written and read without Millrace.
import { randomUUID } from 'node:crypto'
import type kafkajs from 'kafkajs'
import { kafkaClient } from './kafka-client.ts'
import { until } from './until.ts'

export interface TopicOptions {
  partitions?: number
  settings?: Record<string, string>
  /** A name of its own unless told. */
  name?: string
}

/** Makes a topic and gives its name; every broker knows it then. Throws where there is one of this name. */
export async function createTopic(bootstrap: string, options: TopicOptions = {}): Promise<string> {
  const { partitions = 1, settings = {}, name = `topic-${randomUUID()}` } = options
  const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }))
  await withAdmin(bootstrap, async admin => {
    const topics = [{ topic: name, numPartitions: partitions, configEntries }]
    if (!(await admin.createTopics({ waitForLeaders: false, topics })))
      throw new Error(`there is a topic ${name} already`)
    // kafkajs's own waiting ends with an error where it asks a broker that has not heard of the topic yet.
    await until(() => hasLeaders(admin, name), { what: `leaders of ${name}` })
  })
  return name
}

/** Deletes a topic; the broker that is asked knows of none by its name then, so that it is a new one which it knows next. */
export async function deleteTopic(bootstrap: string, topic: string): Promise<void> {
  await withAdmin(bootstrap, async admin => {
    await admin.deleteTopics({ topics: [topic] })
    const isKnown = async () => (await admin.listTopics()).includes(topic)
    await until(async () => !(await isKnown()), { what: `${topic} is gone`, timeout: 20_000 })
  })
}

async function hasLeaders(admin: kafkajs.Admin, topic: string): Promise<boolean> {
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
  return topics[0]!.partitions.every(({ leader }) => leader >= 0)
}

/** Runs `work` with an admin client that is closed afterwards. */
export async function withAdmin<T>(bootstrap: string, work: (admin: kafkajs.Admin) => Promise<T>): Promise<T> {
  const admin = kafkaClient(bootstrap).admin()
  try {
    await admin.connect()
    return await work(admin)
  } finally {
    await admin.disconnect()
  }
}

/** Deletes what a topic's first partition holds below an offset, as kafka-delete-records does. */
export async function deleteRecordsBelow(bootstrap: string, topic: string, offset: number): Promise<void> {
  await withAdmin(bootstrap, async admin => {
    await admin.fetchTopicMetadata({ topics: [topic] })
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(offset) }] })
  })
}

/** Sends each message list as a batch of its own, with acks=all unless told; kafkajs alone decides the rest. */
export async function send(
  bootstrap: string,
  topic: string,
  batches: readonly kafkajs.Message[][],
  { partition = 0, acks = -1 } = {}
): Promise<void> {
  const producer = kafkaClient(bootstrap).producer({ createPartitioner: () => () => partition })
  try {
    await producer.connect()
    for (const messages of batches) await producer.send({ topic, acks, messages })
  } finally {
    await producer.disconnect()
  }
}

/** What was acknowledged, by `partition@offset`. */
export type Acknowledged = Map<string, string>

/** Sends one record after the other through `bootstrap`, whatever fails on the way, and notes where each was acknowledged. */
export async function produceUntil(
  stop: AbortSignal,
  {
    bootstrap,
    topic,
    name,
    idempotent = false
  }: { bootstrap: string; topic: string; name: string; idempotent?: boolean },
  acknowledged: Acknowledged
): Promise<void> {
  const client = kafkaClient(bootstrap, { retry: { retries: 50, initialRetryTime: 50, maxRetryTime: 500 } })
  const producer = client.producer({ idempotent, ...(idempotent && { maxInFlightRequests: 1 }) })
  await producer.connect()
  for (let i = 0; !stop.aborted; i++) {
    const value = `load ${name} ${i}`
    const [sent] = await producer.send({ topic, acks: -1, messages: [{ key: String(i), value }] }).catch(() => [])
    if (sent?.baseOffset !== undefined) acknowledged.set(`${sent.partition}@${sent.baseOffset}`, value)
  }
  await producer.disconnect()
}
