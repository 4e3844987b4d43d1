// A batch that we encode is taken by a real broker, and read by Kafka's own consumer, with every codec.
import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { parseAddress } from '../../src/kafka/address.ts'
import { batchesOf, encodeBatch } from '../../src/kafka/batch.ts'
import { Cluster, EARLIEST, LATEST } from '../../src/kafka/cluster.ts'
import type { CodecName } from '../../src/kafka/compression.ts'
import { Codec } from '../../src/kafka/compression.ts'
import type { KafkaRecord } from '../../src/kafka/records.ts'
import { consoleConsume } from '../support/kafka-tools.ts'
import { describeWith, useKafka } from '../support/servers.ts'

/** Enough for several blocks of lz4 and snappy, whose matches reach back over the blocks' bounds. */
const records: KafkaRecord[] = Array.from({ length: 1500 }, (_, i) => ({
  offset: i,
  timestamp: 1_764_072_000_000 + i,
  key: i % 3 === 0 ? null : Buffer.from(`key-${i}`),
  value: i % 7 === 0 ? null : Buffer.from(`${i} and the words that repeat. `.repeat(8)),
  headers: i % 2 === 0 ? [] : ([['trace', Buffer.from(`${i}`)], ['trace', null]] as const) // biome-ignore format: one line
}))

const lines = records.map(({ key, value, headers }) => {
  const list = headers.map(([name, text]) => `${name}:${text ?? '<null>'}`).join()
  return [list || 'NO_HEADERS', key ?? '<null>', value ?? '<null>'].join('\t')
})

describeWith(['kafka', 'kafka-tools'], 'a batch of ours', () => {
  test.each(Object.keys(Codec) as CodecName[])('with %s is appended as it is and read by Kafka', async codec => {
    const { bootstrap, client } = useKafka()
    const topic = `batch-${codec}-${randomUUID()}`
    const admin = client().admin()
    await admin.connect()
    await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: 1 }] })
    await admin.disconnect()
    using cluster = new Cluster(bootstrap.split(',').map(parseAddress))
    const at = { topic, partition: 0 }
    const batch = encodeBatch(records, { codec })
    expect(await cluster.produceBatch(at, batch.toWire())).toBe(0)
    expect(await cluster.produceBatch(at, batch.toWire())).toBe(records.length)
    expect(await cluster.listOffset(at, EARLIEST)).toBe(0)
    expect(await cluster.listOffset(at, LATEST)).toBe(2 * records.length)

    const properties = ['print.headers=true', 'print.key=true', 'null.literal=<null>']
    const args = properties.flatMap(one => ['--formatter-property', one])
    const read = await consoleConsume({ bootstrap, topic, args, count: 2 * records.length })
    expect(read).toEqual([...lines, ...lines])

    const fetched = await cluster.fetchLog(at, 0)
    expect(fetched).toMatchObject({ highWatermark: 2 * records.length, logStartOffset: 0 })
    const logged = [...batchesOf(fetched.records)]
    expect(logged.map(one => one.withLeaderEpoch(-1).toWire())).toEqual([
      batch.toWire(),
      batch.withBaseOffset(records.length).toWire()
    ])
  })
})
