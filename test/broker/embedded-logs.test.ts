import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { EmbeddedLogs } from '../../src/broker/embedded/embedded-logs.ts'
import { MetaStore } from '../../src/broker/embedded/meta-store.ts'
import { CanonicalBatch } from '../../src/kafka/batch.ts'
import { KafkaError } from '../../src/kafka/kafka-errors.ts'
import { listFiles } from '../../src/wal/files.ts'
import { Wal } from '../../src/wal/wal.ts'
import { batchFixtures } from '../fixtures/load.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { appended, produced, sequenced, valuesOf, wholeLog } from './embedded-world.ts'

const GIBIBYTE = 1024 ** 3
const everything = { upTo: Number.MAX_SAFE_INTEGER, maxBytes: GIBIBYTE }
const offsets = (batches: readonly Buffer[]) => batches.map(batch => Number(batch.readBigInt64BE(0)))

async function opened(directory: string, maxBytes = GIBIBYTE) {
  const logs = await EmbeddedLogs.open({ directory, maxBytes })
  const topic = logs.find('orders') ?? logs.createTopic('orders', 2, {})
  return {
    logs,
    log: topic.partitions[0]!,
    other: topic.partitions[1]!,
    [Symbol.asyncDispose]: () => logs[Symbol.asyncDispose]()
  }
}

test('batches of real clients are read as they came but for base offset and leader epoch, from memory and from the disk', async () => {
  await using folder = await tempFolder('broker')
  const clients = batchFixtures().filter(({ name }) => !name.startsWith('broker-'))
  const expected: Buffer[] = []
  let next = 0
  for (const { wire, oracle } of clients) {
    const bytes = Buffer.from(wire)
    bytes.writeBigInt64BE(BigInt(next), 0)
    bytes.writeInt32BE(0, 12)
    expected.push(bytes)
    next += oracle.batch.count
  }
  {
    await using world = await opened(folder.path)
    const answers = await Promise.all(
      clients.map(({ wire }) => appended(world.log, CanonicalBatch.fromWire(wire).batch.withBaseOffset(0)))
    )
    expect(answers.map(({ baseOffset }) => baseOffset)).toEqual(offsets(expected))
    expect(await world.log.read(0, everything)).toEqual(expected)
    expect(world.log).toMatchObject({ startOffset: 0, highWatermark: next, lastStableOffset: next })
  }
  await using world = await opened(folder.path)
  expect(world.log).toMatchObject({ startOffset: 0, highWatermark: next })
  expect(await world.log.read(0, everything)).toEqual(expected)
  expect(await world.other.read(0, everything)).toEqual([])
})

test('a read begins with the batch that holds the offset and keeps to its bytes and its end', async () => {
  await using folder = await tempFolder('broker')
  const check = async ({ log }: { log: Awaited<ReturnType<typeof opened>>['log'] }) => {
    const size = (await log.read(0, everything))[0]!.length
    const read = async (offset: number, upTo: number, maxBytes: number) =>
      offsets(await log.read(offset, { upTo, maxBytes }))
    expect(await read(4, 100, GIBIBYTE)).toEqual([3, 6, 9])
    expect(await read(3, 7, GIBIBYTE)).toEqual([3, 6])
    expect(await read(3, 6, GIBIBYTE)).toEqual([3])
    expect(await read(2, 100, 2 * size)).toEqual([0, 3])
    expect(await read(2, 100, 2 * size - 1)).toEqual([0])
    expect(await read(2, 100, 0)).toEqual([0])
    expect(await read(12, 100, GIBIBYTE)).toEqual([])
  }
  {
    await using world = await opened(folder.path)
    for (let i = 0; i < 4; i++) await appended(world.log, produced(['a', 'b', 'c']))
    await check(world)
  }
  await using world = await opened(folder.path)
  await check(world)
})

test('readers see nothing that is not on the disk, and hear of it when it is', async () => {
  await using folder = await tempFolder('broker')
  await using world = await opened(folder.path)
  const { log } = world
  const { signal } = new AbortController()
  const heard = log.changed(0, signal)
  const answer = appended(log, produced(['a']))
  expect(log.highWatermark).toBe(0)
  expect(await log.read(0, everything)).toEqual([])
  await answer
  await heard
  expect(log.highWatermark).toBe(1)
  await log.changed(0, signal) // at once: there is more than that

  const waiting = new AbortController()
  const aborted = log.changed(1, waiting.signal)
  waiting.abort()
  await aborted
})

test('times are found, before and after a restart', async () => {
  await using folder = await tempFolder('broker')
  const check = async ({ log, other }: Awaited<ReturnType<typeof opened>>) => {
    expect(await log.offsetForTime(0)).toEqual({ offset: 0, timestamp: 5_000 })
    expect(await log.offsetForTime(5_001)).toEqual({ offset: 1, timestamp: 5_001 })
    expect(await log.offsetForTime(5_002)).toEqual({ offset: 4, timestamp: 9_000 })
    expect(await log.offsetForTime(9_001)).toBeNull()
    expect(await log.maxTimestamp()).toEqual({ offset: 4, timestamp: 9_000 })
    expect(await other.offsetForTime(0)).toBeNull()
    expect(await other.maxTimestamp()).toBeNull()
  }
  {
    await using world = await opened(folder.path)
    await appended(world.log, produced(['a', 'b'], { timestamp: 5_000 }))
    await appended(world.log, produced(['c', 'd'], { timestamp: 1_000 }))
    await appended(world.log, produced(['e'], { timestamp: 9_000 }))
    await appended(world.log, produced(['f'], { timestamp: 9_000 }))
    await check(world)
  }
  await using world = await opened(folder.path)
  await check(world)
})

test('a repeat is answered with the offset of the original, when that is on the disk, and also after a restart', async () => {
  await using folder = await tempFolder('broker')
  {
    await using world = await opened(folder.path)
    const { log } = world
    await appended(log, produced(['before']))
    const original = appended(log, sequenced(7, 0, ['a', 'b']))
    let isStored = false
    void original.then(() => (isStored = true))
    const repeat = appended(log, sequenced(7, 0, ['a', 'b']))
    // The time is the original's, as a broker tells it.
    expect(await repeat).toEqual({ baseOffset: 1, logAppendTimeMs: 1_001 })
    expect(isStored).toBe(true)
    expect(await original).toEqual({ baseOffset: 1, logAppendTimeMs: -1 })
    expect(log.highWatermark).toBe(3)
  }
  await using world = await opened(folder.path)
  expect(await appended(world.log, sequenced(7, 0, ['a', 'b']))).toEqual({ baseOffset: 1, logAppendTimeMs: 1_001 })
  expect(world.log.append(sequenced(7, 3, ['c']))).toMatchObject({ errorCode: KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER })
  expect(await appended(world.log, sequenced(7, 2, ['c']))).toMatchObject({ baseOffset: 3 })
})

test('topics, ids and producer ids outlive a restart', async () => {
  await using folder = await tempFolder('broker')
  const first = await opened(folder.path)
  const { clusterId } = first.logs
  const { topicId } = first.logs.find('orders')!
  const told = [first.logs.nextProducerId(), first.logs.nextProducerId()]
  const used = await first.logs.createOnFirstUse('payments')
  expect(used.partitions).toHaveLength(1)
  expect(await first.logs.createOnFirstUse('payments')).toBe(used)
  first.logs.addPartitions(first.logs.find('orders')!, 4)
  await first.logs[Symbol.asyncDispose]()

  await using again = await opened(folder.path)
  const { logs } = again
  expect(clusterId).toMatch(/^[\w-]{22}$/)
  expect(logs.clusterId).toBe(clusterId)
  expect((await logs.topics()).map(({ name, partitions }) => [name, partitions.length])).toEqual([
    ['orders', 4],
    ['payments', 1]
  ])
  expect(await logs.topicById(topicId)).toBe(await logs.topic('orders'))
  expect(told).not.toContain(logs.nextProducerId())
})

test('a second process, or a broker that is open already, is told that the folder is taken', async () => {
  await using folder = await tempFolder('broker')
  await using world = await opened(folder.path)
  await appended(world.log, produced(['a']))
  await expect(EmbeddedLogs.open({ directory: folder.path, maxBytes: GIBIBYTE })).rejects.toMatchObject({
    code: 'DATA_LOCKED'
  })
})

test('a deleted topic is gone for its readers, and one of the same name begins anew', async () => {
  await using folder = await tempFolder('broker')
  {
    await using world = await opened(folder.path)
    const { logs, log } = world
    await appended(log, sequenced(7, 0, ['a', 'b']))
    const heard = log.changed(2, new AbortController().signal)
    const underWay = appended(log, sequenced(7, 2, ['c']))
    logs.deleteTopic(logs.find('orders')!)
    await heard
    await underWay.catch(() => undefined)
    await expect(log.read(0, everything)).rejects.toMatchObject({ code: 'OBJECT_MISSING' })
    expect(logs.find('orders')).toBeUndefined()
    const anew = logs.createTopic('orders', 2, {}).partitions[0]!
    expect(anew).toMatchObject({ startOffset: 0, highWatermark: 0 })
    expect(anew.stream.topicId).not.toBe(log.stream.topicId)
    expect(await appended(anew, sequenced(7, 5, ['z']))).toMatchObject({ baseOffset: 0 })
  }
  await using world = await opened(folder.path)
  expect([...valuesOf(await wholeLog(world.log)).values()]).toEqual(['z'])
})

test('the files of a deleted topic are deleted', async () => {
  await using folder = await tempFolder('broker')
  await using world = await opened(folder.path, 16_000_000)
  const { logs, log } = world
  const files = () => listFiles(join(folder.path, 'wal'), 'wal').length
  while (files() < 3) await appended(log, produced(['x'.repeat(500_000)]))
  await log.read(0, { upTo: 1, maxBytes: 1 })
  logs.deleteTopic(logs.find('orders')!)
  await until(() => files() === 1, { what: 'the newest file alone is left' })
})

test('at its size limit the oldest is forgotten, appends go on, and a restart begins where it was left', async () => {
  await using folder = await tempFolder('broker')
  const maxBytes = 8_000_000
  const value = (i: number) => `${i} `.padEnd(100_000, 'x')
  let [start, end] = [0, 0]
  {
    await using world = await opened(folder.path, maxBytes)
    const { logs, log, other } = world
    await appended(other, sequenced(8, 0, ['early']))
    const starts = new Set<number>()
    for (; end < 250; end++) {
      await appended(log, sequenced(7, end, [value(end)]))
      starts.add(log.startOffset)
    }
    await until(() => logs.bytes < maxBytes, { what: 'what was forgotten is deleted' })
    start = log.startOffset
    expect(starts.size).toBeGreaterThan(5)
    expect(end - start).toBeGreaterThan(25) // more than a third of the limit is kept
    expect(other).toMatchObject({ startOffset: 1, highWatermark: 1 })
    await expect(log.read(start - 1, everything)).rejects.toMatchObject({ code: 'OBJECT_MISSING' })
    expect(offsets(await log.read(start, { upTo: end, maxBytes: 0 }))).toEqual([start])
    expect(valuesOf(await wholeLog(log))).toEqual(new Map(range(start, end).map(i => [i, value(i)])))
    expect(await log.offsetForTime(0)).toEqual({ offset: start, timestamp: 1_000 })
  }
  await using world = await opened(folder.path, maxBytes)
  expect(world.log).toMatchObject({ startOffset: start, highWatermark: end })
  expect(world.other).toMatchObject({ startOffset: 1, highWatermark: 1 })
  expect(valuesOf(await wholeLog(world.log))).toEqual(new Map(range(start, end).map(i => [i, value(i)])))
  expect(await appended(world.log, sequenced(7, end - 1, [value(end - 1)]))).toMatchObject({ baseOffset: end - 1 })
  expect(await appended(world.other, sequenced(8, 99, ['late']))).toMatchObject({ baseOffset: 1 })
})

test('what is more than the limit at once is refused, and taken when there is room', async () => {
  await using folder = await tempFolder('broker')
  await using world = await opened(folder.path, 4_000_000)
  const { log } = world
  const send = (sequence: number) => appended(log, sequenced(7, sequence, ['x'.repeat(100_000)]))
  const outcomes = await Promise.allSettled(range(0, 30).map(send))
  const taken = outcomes.filter(({ status }) => status === 'fulfilled').length
  expect(taken).toBe(9) // a quarter of the limit, with what frames take
  expect(outcomes[taken]).toMatchObject({ reason: { code: 'WAL_FULL', retriable: true } })
  // Those behind it do not follow what is there.
  expect(outcomes.slice(taken).every(({ status }) => status === 'rejected')).toBe(true)
  expect(log.highWatermark).toBe(taken)
  for (let sequence = taken; sequence < 60; sequence++)
    expect(await send(sequence)).toMatchObject({ baseOffset: sequence })
})

test('rows that a failed append left on the disk are no part of the log', async () => {
  await using folder = await tempFolder('broker')
  const before = await opened(folder.path)
  const { stream } = before.log
  await appended(before.log, sequenced(7, 0, ['a', 'b']))
  await before.logs[Symbol.asyncDispose]()
  {
    // As if the commits of two appends had failed, and yet been on the disk; another batch got the offsets of the first.
    await using wal = await Wal.open({ directory: join(folder.path, 'wal'), maxBytes: GIBIBYTE })
    const row = (batch: CanonicalBatch, baseOffset: number) => {
      const lastOffset = baseOffset + batch.header.lastOffset
      return { stream, baseOffset, lastOffset, recordCount: 1, flags: 0, chunks: [batch.toWire()] }
    }
    await wal.append([row(sequenced(9, 0, ['failed']), 2), row(sequenced(7, 2, ['d']), 3)])
    await wal.append([row(sequenced(8, 0, ['c']), 2)])
  }
  for (let run = 0; run < 2; run++) {
    await using world = await opened(folder.path)
    const { log } = world
    const expected = ['a', 'b', 'c', 'd'].slice(0, 3 + run)
    expect([...valuesOf(await wholeLog(log)).values()]).toEqual(expected)
    expect([...valuesOf(await wholeLog(log, 1)).values()]).toEqual(expected)
    // The very batch, at the very offset, that failed before: now it is part of the log, and so after the next restart.
    expect(await appended(log, sequenced(7, 2, ['d']))).toMatchObject({ baseOffset: 3 })
  }
})

test('what lies below a stored start is not read, nor what belongs to no topic', async () => {
  await using folder = await tempFolder('broker')
  const before = await opened(folder.path)
  for (const value of ['a', 'b', 'c']) await appended(before.log, produced([value]))
  await appended(before.other, produced(['d']))
  await before.logs[Symbol.asyncDispose]()
  {
    using meta = MetaStore.open(join(folder.path, 'meta.db'))
    meta.setLogStarts([
      { ...before.log.stream, offset: 2 },
      { ...before.other.stream, offset: 1 }
    ])
  }
  const again = await opened(folder.path)
  expect(again.log).toMatchObject({ startOffset: 2, highWatermark: 3 })
  expect(again.other).toMatchObject({ startOffset: 1, highWatermark: 1 })
  expect([...valuesOf(await wholeLog(again.log))]).toEqual([[2, 'c']])
  await again.logs[Symbol.asyncDispose]()

  await rm(join(folder.path, 'meta.db'))
  await using anew = await opened(folder.path)
  expect(anew.log).toMatchObject({ startOffset: 0, highWatermark: 0 })
  await until(() => listFiles(join(folder.path, 'wal'), 'wal').length === 1, { what: 'the old files are deleted' })
})

test('a batch that cannot be read any more is lost, the others are there, and its offsets are not given again', async () => {
  await using folder = await tempFolder('broker')
  {
    await using world = await opened(folder.path)
    for (const values of [['a'], ['lost here', 'c'], ['d'], ['e', 'lost there']])
      await appended(world.log, produced(values))
  }
  const path = join(folder.path, 'wal', '1.wal')
  const bytes = await readFile(path)
  for (const value of ['lost here', 'lost there']) bytes[bytes.lastIndexOf(value)]! ^= 4
  await writeFile(path, bytes)
  await using world = await opened(folder.path)
  const where = world.logs.recovery.damage.map(({ message }) => message.replace(/^.* it says/, 'it says'))
  expect(where).toEqual(['it says it is of orders-0, offset 1', 'it says it is of orders-0, offset 4'])
  expect(world.log).toMatchObject({ startOffset: 0, highWatermark: 6 })
  await appended(world.log, produced(['g']))
  for (const from of [0, 1, 4]) {
    const read = (await world.log.read(from, everything)).map(wire => CanonicalBatch.fromWire(wire).batch)
    const there = [...valuesOf(read)]
    expect(there).toEqual(
      [
        [0, 'a'],
        [3, 'd'],
        [6, 'g']
      ].filter(([offset]) => Number(offset) >= from)
    )
  }
})

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}
