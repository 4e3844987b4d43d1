// ListOffsets over a store of recorded batches. recorded.test.ts has what brokers answered.
import { expect, test } from 'vitest'
import { listOffsets } from '../../src/kafka/messages.ts'
import { batchFixture } from '../fixtures/load.ts'
import { MemoryLog, MemoryStore, ORDERS_ID } from './memory-store.ts'
import { connect, startReader } from './start.ts'

const FIXTURE = 'kafkajs-times'
const records = batchFixture(FIXTURE).oracle.records

async function asker() {
  const store = new MemoryStore()
  const log = new MemoryLog().append(FIXTURE, 'broker-transactional')
  store.add('orders', ORDERS_ID, [log, new MemoryLog()])
  const { address, faults } = await startReader(store)
  const client = await connect(address)
  const ask = async (
    timestamp: number,
    { version = 11, partitionIndex = 0, isolationLevel = 0, name = 'orders' } = {}
  ) => {
    const topics = [{ name, partitions: [{ partitionIndex, timestamp }] }]
    const answer = await client.request(listOffsets, { isolationLevel, topics }, { version })
    const { errorCode, offset, timestamp: found, leaderEpoch } = answer.topics[0]!.partitions[0]!
    return [errorCode, offset, found, leaderEpoch]
  }
  return { log, ask, faults }
}

test('the ends of a log', async () => {
  const { log, ask } = await asker()
  log.startOffset = 2
  const end = log.highWatermark
  expect(await ask(-1)).toEqual([0, end, -1, 0])
  expect(await ask(-2)).toEqual([0, 2, -1, 0])
  expect(await ask(-4)).toEqual([0, 2, -1, 0])
  expect(await ask(-5)).toEqual([0, -1, -1, -1])
  expect(await ask(-6)).toEqual([0, -1, -1, -1])
  log.lastStableOffset = end - 1
  expect(await ask(-1)).toEqual([0, end, -1, 0])
  expect(await ask(-1, { isolationLevel: 1 })).toEqual([0, end - 1, -1, 0])
  expect(await ask(-1, { partitionIndex: 1 })).toEqual([0, 0, -1, 0])
})

test('the first record that is as young as asked', async () => {
  const { log, ask } = await asker()
  // The oracle's records are kafka-dump-log's: their times and offsets.
  for (const [, timestamp] of records) {
    const [offset, found] = records.find(([, time]) => time >= timestamp)!
    expect(await ask(timestamp)).toEqual([0, offset, found, 0])
  }
  expect(await ask(0)).toEqual([0, 0, records[0]![1], 0])
  expect(await ask(9_000_000_000_000)).toEqual([0, -1, -1, -1])
  expect(await ask(0, { partitionIndex: 1 })).toEqual([0, -1, -1, -1])
  // What a client cannot read is not found for it.
  log.lastStableOffset = 0
  expect(await ask(0, { isolationLevel: 1 })).toEqual([0, -1, -1, -1])
})

test('the youngest record', async () => {
  const { log, ask } = await asker()
  const { batch } = batchFixture('broker-transactional').oracle
  expect(await ask(-3)).toEqual([0, records.length, batch.maxTimestamp, 0])
  expect(await ask(-3, { partitionIndex: 1 })).toEqual([0, -1, -1, -1])
  log.lastStableOffset = records.length
  expect(await ask(-3, { isolationLevel: 1 })).toEqual([0, -1, -1, -1])
})

test.each([
  [-3, 7],
  [-4, 8],
  [-5, 9],
  [-6, 11],
  [-7, 12]
])('%i is understood from version %i on', async (timestamp, since) => {
  const { ask } = await asker()
  const errors = []
  for (let version = 1; version <= 11; version++) errors.push((await ask(timestamp, { version }))[0])
  expect(errors).toEqual(Array.from({ length: 11 }, (_, i) => (i + 1 < since ? 35 : 0)))
})

test('what is not there, and what cannot be read', async () => {
  const { log, ask, faults } = await asker()
  expect(await ask(-1, { name: 'none' })).toEqual([3, -1, -1, -1])
  expect(await ask(-1, { partitionIndex: 2 })).toEqual([3, -1, -1, -1])
  log.fault = new Error('the disk is gone')
  expect(await ask(5)).toEqual([56, -1, -1, -1])
  expect(faults).toEqual([{ error: log.fault, where: 'ListOffsets of orders-0' }])
})
