// kafkajs, in this process.
import { randomUUID } from 'node:crypto'
import type { Consumer, KafkaMessage, Message } from 'kafkajs'
import { kafkaClient } from '../kafka-client.ts'
import { kafkajsCodecs } from '../kafkajs-codecs.ts'
import { withAdmin } from '../topics.ts'
import { until } from '../until.ts'
import type { Client, From, HeaderList, ReadRecord } from './client.ts'
import { groupTimes } from './client.ts'

/** Milliseconds: its own 5 seconds would pass at every goodbye, which waits for the fetches under way. */
const shortWait = 500

export const kafkajs: Client = {
  name: 'kafkajs',
  needs: [],
  can: { staticMember: false, maxTimestamp: false, makeTopicByReading: true, writeNullHeaders: false },

  async produce(bootstrap, topic, records, { acks, codec = 'none', idempotent = false }) {
    const producer = kafkaClient(bootstrap).producer({ idempotent, ...(idempotent && { maxInFlightRequests: 1 }) })
    const messages: Message[] = records.map(({ key, value, headers = [] }) => ({
      key,
      value,
      headers: byName(headers)
    }))
    try {
      await producer.connect()
      await producer.send({ topic, acks: acks === 'all' ? -1 : acks, compression: kafkajsCodecs[codec], messages })
    } finally {
      await producer.disconnect()
    }
  },

  async consume(bootstrap, topic, { from, count }) {
    const consumer = kafkaClient(bootstrap).consumer({ groupId: randomUUID(), maxWaitTimeInMs: shortWait })
    const records: ReadRecord[] = []
    const places = from === 'beginning' ? [] : await placesOf(bootstrap, topic, from)
    try {
      await consumer.connect()
      await consumer.subscribe({ topic, fromBeginning: true })
      // Where kafkajs commits, seeking is a commit: one that fails is forgotten, and all is read from the beginning.
      const autoCommit = places.length === 0
      const running = run(consumer, record => records.length < count && records.push(record), { autoCommit })
      // Now, so that nothing is fetched before.
      for (const place of places) consumer.seek({ topic, ...place })
      await running
      await until(() => records.length === count, { what: `kafkajs reads ${count} records`, timeout: 20_000 })
    } finally {
      await consumer.disconnect()
    }
    return records
  },

  async offsets(bootstrap, topic, at) {
    return await withAdmin(bootstrap, async admin => {
      if (at === 'max-timestamp') throw new Error('kafkajs does not ask for it')
      if (typeof at === 'number') {
        // Where no record is young enough, it gives the end.
        const found = await admin.fetchTopicOffsetsByTimestamp(topic, at)
        return new Map(found.map(({ partition, offset }) => [partition, Number(offset)]))
      }
      const found = await admin.fetchTopicOffsets(topic)
      return new Map(found.map(({ partition, low, high }) => [partition, Number(at === 'earliest' ? low : high)]))
    })
  },

  async join(bootstrap, { group, topic, clientId, fetchWait = shortWait }) {
    const consumer = kafkaClient(bootstrap, { clientId }).consumer({
      groupId: group,
      sessionTimeout: groupTimes.session,
      heartbeatInterval: groupTimes.heartbeat,
      maxWaitTimeInMs: fetchWait
    })
    const records: ReadRecord[] = []
    let assignments = 0
    consumer.on(consumer.events.GROUP_JOIN, () => void assignments++)
    const leave = async () => await consumer.disconnect()
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await run(consumer, record => records.push(record))
    return {
      records,
      get assignments() {
        return assignments
      },
      leave,
      [Symbol.asyncDispose]: leave
    }
  }
}

async function placesOf(bootstrap: string, topic: string, from: Exclude<From, 'beginning'>) {
  if ('offset' in from) return [{ partition: 0, offset: String(from.offset) }]
  return await withAdmin(bootstrap, admin => admin.fetchTopicOffsetsByTimestamp(topic, from.timestamp))
}

async function run(
  consumer: Consumer,
  take: (record: ReadRecord) => unknown,
  { autoCommit } = { autoCommit: true }
): Promise<void> {
  await consumer.run({
    autoCommit,
    eachMessage: async ({ partition, message }) => void take(recordOf(partition, message))
  })
}

function recordOf(partition: number, { offset, timestamp, key, value, headers = {} }: KafkaMessage): ReadRecord {
  const list = Object.entries(headers).flatMap(([name, values]) =>
    [values].flat().map((value): [string, string | null] => [name, text(value)])
  )
  return {
    partition,
    offset: Number(offset),
    timestamp: Number(timestamp),
    key: text(key),
    value: text(value),
    headers: list
  }
}

const text = (bytes: Buffer | string | null | undefined): string | null => bytes?.toString() ?? null

/** Headers of one name together. */
function byName(headers: HeaderList): Record<string, string[]> {
  const named = Map.groupBy(headers, ([name]) => name)
  return Object.fromEntries([...named].map(([name, pairs]) => [name, pairs.map(([, value]) => value ?? '')]))
}
