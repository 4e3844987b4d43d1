// Fetch over a store of recorded batches: limits, waiting, isolation, errors. recorded.test.ts has what brokers answered.
import { expect, test, vi } from 'vitest'
import { MillraceError } from '../../src/errors.ts'
import type { RequestOf } from '../../src/kafka/api.ts'
import { requestFrame } from '../../src/kafka/headers.ts'
import { fetch } from '../../src/kafka/messages.ts'
import { until } from '../support/until.ts'
import { MemoryLog, MemoryStore, ORDERS_ID, ordersStore } from './memory-store.ts'
import { connect, rawClient, startReader } from './start.ts'

type FetchRequest = RequestOf<typeof fetch>
type Asked = Partial<FetchRequest['topics'][number]['partitions'][number]>

const OTHER_ID = 'RbNZx4hCSUa1BnriIesOZQ'
const HOUR_MS = 3_600_000

/** A request for partitions of `orders`, by its id. */
function ask(partitions: readonly Asked[], options: Partial<FetchRequest> = {}): FetchRequest {
  const full = partitions.map((asked, partition) => ({
    partition,
    fetchOffset: 0,
    partitionMaxBytes: 1 << 20,
    ...asked
  }))
  return {
    maxWaitMs: 0,
    minBytes: 1,
    maxBytes: 1 << 26,
    topics: [{ topicId: ORDERS_ID, partitions: full }],
    ...options
  }
}

/** `orders` with several partitions. */
async function partitioned(...logs: MemoryLog[]) {
  const store = new MemoryStore()
  store.add('orders', ORDERS_ID, logs)
  const { address, faults } = await startReader(store)
  const client = await connect(address)
  const request = async (body: FetchRequest) => (await client.request(fetch, body)).responses[0]!.partitions
  return { store, address, faults, client, request }
}

const size = (log: MemoryLog, from?: number, to?: number) => log.bytes(from, to).length
const waits = (log: MemoryLog) => until(() => log.waiting === 1, { what: 'a fetch waits', interval: 5 })

test.each([4, 7, 11, 12, 13, 18])(
  'version %i gives the batches from the one on that holds the offset',
  async version => {
    const { store, log } = ordersStore()
    const { address } = await startReader(store)
    const client = await connect(address)
    for (const [fetchOffset, from] of [
      [0, 0],
      [4, 0],
      [5, 1],
      [14, 2],
      [15, 3]
    ] as const) {
      const partitions = [{ partition: 0, fetchOffset, partitionMaxBytes: 1 << 20 }]
      const topics = [{ topic: 'orders', topicId: ORDERS_ID, partitions }]
      const answer = await client.request(fetch, { maxWaitMs: 0, minBytes: 1, topics }, { version })
      expect(answer.responses).toMatchObject([
        { partitions: [{ errorCode: 0, highWatermark: 15, lastStableOffset: 15, records: log.bytes(from) }] }
      ])
    }
  }
)

test('limits hold, but the first partition with records always gives a batch (KIP-74)', async () => {
  const [empty, first, second] = [new MemoryLog(), new MemoryLog(), new MemoryLog()]
  first.append('java-none', 'java-none')
  second.append('kafkajs-none', 'kafkajs-none')
  const { request } = await partitioned(empty, first, second)
  const given = async (body: FetchRequest) => (await request(body)).map(({ records }) => records!.length)
  const all = [{}, {}, {}]
  const within = (partitionMaxBytes: number) => [{}, { partitionMaxBytes }, { partitionMaxBytes }]

  expect(await given(ask(all))).toEqual([0, size(first), size(second)])
  expect(await given(ask(within(1)))).toEqual([0, size(first, 0, 1), 0])
  expect(await given(ask(within(size(second, 0, 1))))).toEqual([0, size(first, 0, 1), size(second, 0, 1)])
  expect(await given(ask(all, { maxBytes: 1 }))).toEqual([0, size(first, 0, 1), 0])
  expect(await given(ask(all, { maxBytes: 0 }))).toEqual([0, size(first, 0, 1), 0])
  expect(await given(ask(all, { maxBytes: size(first) + size(second, 0, 1) }))).toEqual([
    0,
    size(first),
    size(second, 0, 1)
  ])
  expect(await given(ask(all, { maxBytes: size(first) }))).toEqual([0, size(first), 0])
})

test('large batches arrive as they are', async () => {
  const log = new MemoryLog().append(...Array<string>(50).fill('kafkajs-thousand'))
  const { request } = await partitioned(log)
  const [answer] = await request(ask([{ partitionMaxBytes: 1 << 30 }]))
  expect(log.bytes().length).toBeGreaterThan(100_000)
  expect(answer!.records!.equals(log.bytes())).toBe(true)
})

test('waits until there are records in any partition', async () => {
  const logs = [new MemoryLog(), new MemoryLog()]
  const { request } = await partitioned(...logs)
  const asked = request(ask([{}, {}], { maxWaitMs: HOUR_MS }))
  await waits(logs[0]!)
  await waits(logs[1]!)
  logs[1]!.append('java-none')
  expect(await asked).toMatchObject([
    { errorCode: 0, highWatermark: 0, records: Buffer.alloc(0) },
    { errorCode: 0, highWatermark: 5, records: logs[1]!.bytes() }
  ])
  await until(() => logs[0]!.waiting === 0, { what: 'nothing waits any more' })
})

test('waits until there are as many bytes as asked for', async () => {
  const log = new MemoryLog().append('java-none')
  const { request } = await partitioned(log)
  const asked = request(ask([{}], { maxWaitMs: HOUR_MS, minBytes: size(log) + 1 }))
  await waits(log)
  log.append('kafkajs-none')
  expect((await asked)[0]!.records).toEqual(log.bytes())
})

test('waits no longer than asked for', async () => {
  const log = new MemoryLog().append('java-none')
  const { request } = await partitioned(log)
  const began = performance.now()
  const [answer] = await request(ask([{}], { maxWaitMs: 100, minBytes: 1 << 20 }))
  expect(performance.now() - began).toBeGreaterThanOrEqual(99)
  expect(answer!.records).toEqual(log.bytes())
})

test('what is appended to one partition while another is read is not slept over', async () => {
  const [first, second] = [new MemoryLog(), new MemoryLog().append('java-none')]
  const { request } = await partitioned(first, second)
  vi.spyOn(second, 'read').mockImplementationOnce(async () => {
    first.append('java-none')
    return []
  })
  const [answer] = await request(ask([{}, {}], { maxWaitMs: HOUR_MS }))
  expect(answer!.records).toEqual(first.bytes())
})

test('a client that is gone waits no more, nor does one whose server stops', async () => {
  const { store, log } = ordersStore()
  const { server, address } = await startReader(store)
  const request = () => ask([{ fetchOffset: 15 }], { maxWaitMs: HOUR_MS })
  const client = await connect(address)
  const refused = expect(client.request(fetch, request())).rejects.toMatchObject({ code: 'BROKER_UNREACHABLE' })
  await waits(log)
  client[Symbol.dispose]()
  await refused
  await until(() => log.waiting === 0, { what: 'nothing waits any more' })

  const other = (await connect(address)).request(fetch, request())
  await waits(log)
  await server[Symbol.asyncDispose]()
  expect(await other).toMatchObject({ responses: [] })
  expect(log.waiting).toBe(0)
})

test('clients that ask for committed records get them, and the list of what was aborted', async () => {
  const log = new MemoryLog().append('broker-transactional', 'broker-abort', 'broker-transactional')
  log.aborted.push({ producerId: 1, firstOffset: 0 }, { producerId: 7, firstOffset: 40 })
  log.lastStableOffset = 2
  const { request } = await partitioned(log)
  const [committed] = await request(ask([{}], { isolationLevel: 1 }))
  expect(committed).toMatchObject({
    highWatermark: 3,
    lastStableOffset: 2,
    abortedTransactions: [{ producerId: 1, firstOffset: 0 }],
    records: log.bytes(0, 2)
  })
  const [all] = await request(ask([{}]))
  expect(all).toMatchObject({ lastStableOffset: 2, abortedTransactions: null, records: log.bytes() })
  const [beyond] = await request(ask([{ fetchOffset: 2 }], { isolationLevel: 1 }))
  expect(beyond).toMatchObject({ errorCode: 0, abortedTransactions: [], records: Buffer.alloc(0) })
})

test('errors are answered at once, beside what can be given', async () => {
  const [log, other] = [new MemoryLog().append('java-none', 'java-none'), new MemoryLog()]
  log.startOffset = 5
  const { client } = await partitioned(log, other)
  const wait = { maxWaitMs: HOUR_MS, minBytes: 1 << 20 }
  const answer = async (partitions: Asked[], options: Partial<FetchRequest> = {}) => {
    const { responses } = await client.request(fetch, ask(partitions, { ...wait, ...options }))
    return responses.flatMap(({ partitions }) =>
      partitions.map(p => [p.partitionIndex, p.errorCode, p.records!.length])
    )
  }
  expect(await answer([{ fetchOffset: 4 }])).toEqual([[0, 1, 0]])
  expect(await answer([{ fetchOffset: 11 }])).toEqual([[0, 1, 0]])
  expect(await answer([{ fetchOffset: -1 }])).toEqual([[0, 1, 0]])
  expect(await answer([{ fetchOffset: 5 }, { partition: 2 }])).toEqual([
    [0, 0, size(log, 1)],
    [2, 3, 0]
  ])
  expect(await answer([{ partition: -1 }])).toEqual([[-1, 3, 0]])
  const partitions = [{ partition: 0, fetchOffset: 5, partitionMaxBytes: 1 << 20 }]
  const topics = [
    { topicId: OTHER_ID, partitions },
    { topicId: ORDERS_ID, partitions }
  ]
  expect(await answer([], { topics })).toEqual([
    [0, 100, 0],
    [0, 0, size(log, 1)]
  ])
  const byName = await client.request(fetch, { ...wait, topics: [{ topic: 'none', partitions }] }, { version: 12 })
  expect(byName.responses).toMatchObject([{ topic: 'none', partitions: [{ errorCode: 3 }] }])
  expect((await client.request(fetch, { ...wait, topics: [] })).responses).toEqual([])
})

test('a topic that is deleted meanwhile ends the wait', async () => {
  const log = new MemoryLog()
  const { store, request } = await partitioned(log)
  const asked = request(ask([{}], { maxWaitMs: HOUR_MS }))
  await waits(log)
  store.remove('orders')
  log.wake()
  expect(await asked).toMatchObject([{ errorCode: 100 }])
})

test('a log that cannot be read is a storage error, and is reported', async () => {
  const [log, sound] = [new MemoryLog().append('java-none'), new MemoryLog().append('java-none')]
  const { request, faults } = await partitioned(log, sound)
  log.fault = new MillraceError('OBJECT_MISSING', 'the segment is not there')
  expect(await request(ask([{}, {}]))).toMatchObject([{ errorCode: 56 }, { errorCode: 0, records: sound.bytes() }])
  expect(faults).toEqual([{ error: log.fault, where: 'Fetch of orders-0' }])
})

test('an offset that is deleted while it is read is out of range', async () => {
  const log = new MemoryLog().append('java-none', 'java-none')
  const { request, faults } = await partitioned(log)
  vi.spyOn(log, 'read').mockImplementationOnce(async () => {
    log.startOffset = 5
    throw new MillraceError('OBJECT_MISSING', 'deleted')
  })
  expect(await request(ask([{}]))).toMatchObject([{ errorCode: 1 }])
  expect(faults).toEqual([])
})

test('sessions are not kept', async () => {
  const { client } = await partitioned(new MemoryLog().append('java-none'))
  const opened = await client.request(fetch, ask([{}], { sessionId: 0, sessionEpoch: 0 }))
  expect(opened).toMatchObject({ errorCode: 0, sessionId: 0 })
  const incremental = await client.request(fetch, ask([], { sessionId: 5, sessionEpoch: 1, maxWaitMs: HOUR_MS }))
  expect(incremental).toMatchObject({ errorCode: 70, sessionId: 0, responses: [] })
  const closing = await client.request(fetch, ask([], { sessionId: 5, sessionEpoch: -1, maxWaitMs: HOUR_MS }))
  expect(closing).toMatchObject({ errorCode: 0, sessionId: 0 })
})

test('what waits behind a fetch of a client that is gone is not read for nobody', async () => {
  const { store, log } = ordersStore()
  const { address } = await startReader(store)
  const client = await rawClient(address)
  const frame = (body: FetchRequest) => requestFrame(fetch, 18, 1, 'test', fetch.request.encode(body, 18))
  client.send(frame(ask([{ fetchOffset: 15 }], { maxWaitMs: HOUR_MS })), frame(ask([{}])))
  await waits(log)
  client.socket.destroy()
  await until(() => log.waiting === 0, { what: 'nothing waits any more' })
  expect(log.reads).toBe(0)
})
