// What is captured of a Produce request, by the broker's answer to it; and the answers that the proxy gives in its place.
import { describe, expect, test } from 'vitest'
import type { ProduceAnswer } from '../../../connectors/kafka-proxy/capture.ts'
import {
  acceptedBatches,
  refusal,
  wantsCapture,
  withdrawn,
  withdrawnUnnamed
} from '../../../connectors/kafka-proxy/capture.ts'
import { TopicIds } from '../../../connectors/kafka-proxy/topics.ts'
import { messageOf } from '../../../src/errors.ts'
import type { Cluster } from '../../../src/kafka/cluster.ts'
import { responseBodyStart } from '../../../src/kafka/headers.ts'
import { LeaderEpochs } from '../../../src/kafka/leader-epochs.ts'
import { produce } from '../../../src/kafka/messages.ts'
import { scanProduceRequest } from '../../../src/kafka/produce-request.ts'
import { frameFixture } from '../../fixtures/load.ts'
import { produceFrame } from './frames.ts'

const ORDERS = 'AAECAwQFBgcICQoLDA0ODw'
const BILLS = 'EBESExQVFhcYGRobHB0eHw'
const STRANGE = 'ICEiIyQlJicoKSorLC0uLw'
const ids = { orders: ORDERS, bills: BILLS }
const selection = { topics: ['orders', 'java-none'], regex: /.*/, exclude: [] }

const nothing = { batches: [], unnamed: new Map() }

/** Ids of two topics, learned from metadata; `cluster` is asked for all else and knows nothing. */
function topicIds() {
  let asked = 0
  const refresh: Cluster['refresh'] = async () => {
    asked++
    return []
  }
  const topics = new TopicIds({ refresh, epochs: new LeaderEpochs() } as unknown as Cluster)
  const learned = Object.entries(ids).map(([name, topicId]) => ({ name, topicId, errorCode: 0, partitions: [] }))
  topics.learn(learned)
  return { topics, asked: () => asked }
}

const request = (version: number) =>
  scanProduceRequest([produceFrame({ version, topics: { orders: [0, 1, 2], bills: [0] }, ids })], version)

type Partition = ProduceAnswer['responses'][number]['partitionResponses'][number]

/** An answer of a broker: partitions of `orders` with error code and base offset; `bills` is accepted at 77. */
function answer(version: number, orders: [errorCode: number, baseOffset: number][]): ProduceAnswer {
  const topic = (name: 'orders' | 'bills', partitionResponses: Partition[]) => ({
    ...(version < 13 ? { name } : { topicId: ids[name] }),
    partitionResponses
  })
  const partitions = orders.map(([errorCode, baseOffset], index) => ({ index, errorCode, baseOffset }))
  return { responses: [topic('orders', partitions), topic('bills', [{ index: 0, errorCode: 0, baseOffset: 77 }])] }
}

const stream = (partition: number) => ({ clusterId: 'c', topic: 'orders', topicId: ORDERS, partition })

/** When, and to an unknown node, a request was sent. */
const longAgo = { at: 0, to: -1 }

describe.each([12, 13])('in version %d', version => {
  test('what the broker accepted is captured with its offsets, of captured topics only', async () => {
    const { batches } = await acceptedBatches(request(version), answer(version, [[0, 100], [0, 0], [0, 5]]), 'c', topicIds().topics, selection, longAgo) // biome-ignore format: one line
    expect(batches.map(({ chunks, ...rest }) => rest)).toEqual(
      [100, 0, 5].map((baseOffset, partition) => {
        return {
          stream: stream(partition),
          baseOffset,
          lastOffset: baseOffset + 1,
          recordCount: 2,
          flags: 0,
          leaderEpoch: -1
        }
      })
    )
    const sent = request(version).batches.slice(0, 3)
    expect(batches.map(({ chunks }) => Buffer.concat(chunks))).toEqual(sent.map(({ chunks }) => Buffer.concat(chunks)))
  })

  test('what it refused is left out; what it has in its log in spite of an error is provisional', async () => {
    const broker = answer(version, [[19, -1], [7, 40], [20, 60]]) // biome-ignore format: one line
    const { batches } = await acceptedBatches(request(version), broker, 'c', topicIds().topics, selection, longAgo)
    expect(batches.map(({ stream, baseOffset, flags }) => [stream.partition, baseOffset, flags])).toEqual([
      [1, 40, 2],
      [2, 60, 2]
    ])
  })

  test('what it took for a repeat is provisional: its log has the bytes that came first', async () => {
    const broker = answer(version, [[0, 40], [0, 60], [0, 80]]) // biome-ignore format: one line
    const [{ partitionResponses }] = broker.responses as [(typeof broker.responses)[0]]
    partitionResponses[1]!.logAppendTimeMs = 1_764_072_000_000
    partitionResponses[2]!.logAppendTimeMs = -1
    const { batches } = await acceptedBatches(request(version), broker, 'c', topicIds().topics, selection, longAgo)
    expect(batches.map(({ baseOffset, flags }) => [baseOffset, flags])).toEqual([
      [40, 0],
      [60, 2],
      [80, 0]
    ])
  })

  test('what it accepted and was sent no batch for is not passed over', async () => {
    const broker = answer(version, [[0, 1], [0, 2], [0, 3], [0, 4]]) // biome-ignore format: one line
    const accepted = await acceptedBatches(request(version), broker, 'c', topicIds().topics, selection, longAgo)
    const [reason] = accepted.unnamed.values()
    expect(messageOf(reason)).toBe('the broker accepted what is no batch for partition 3')
    expect([accepted.unnamed.size, accepted.batches]).toEqual([1, []]) // the topic is sent again as a whole
  })

  test('errors 7 and 20 without an offset say nothing of the log', async () => {
    const broker = answer(version, [[7, -1], [20, -1], [0, -1]]) // biome-ignore format: one line
    expect(await acceptedBatches(request(version), broker, 'c', topicIds().topics, selection, longAgo)).toEqual(nothing)
  })

  test.each([2, 3, 6, 10, 22, 29, 45, 87, 100])('error %d is a refusal', async errorCode => {
    const broker = answer(version, [[errorCode, 5]])
    expect(await acceptedBatches(request(version), broker, 'c', topicIds().topics, selection, longAgo)).toEqual(nothing)
  })
})

test('a topic id that nobody knows does not spoil what was accepted beside it', async () => {
  const frame = produceFrame({ version: 13, topics: { orders: [0], strange: [0] }, ids: { ...ids, strange: STRANGE } })
  const broker: ProduceAnswer = {
    responses: [
      { topicId: STRANGE, partitionResponses: [{ index: 0, errorCode: 100, baseOffset: -1 }] },
      { topicId: ORDERS, partitionResponses: [{ index: 0, errorCode: 0, baseOffset: 9 }] }
    ]
  }
  const { topics, asked } = topicIds()
  const { batches } = await acceptedBatches(scanProduceRequest([frame], 13), broker, 'c', topics, selection, longAgo)
  expect(batches).toMatchObject([{ stream: stream(0), baseOffset: 9 }])
  expect(asked()).toBe(0)
})

test('an accepted batch of an unknown topic id is named: it must not be answered as safe, unlike those beside it', async () => {
  const frame = produceFrame({ version: 13, topics: { strange: [0], orders: [0] }, ids: { ...ids, strange: STRANGE } })
  const partitionResponses = [{ index: 0, errorCode: 0, baseOffset: 9 }]
  const broker: ProduceAnswer = {
    responses: [STRANGE, ORDERS].map(topicId => ({ topicId, partitionResponses }))
  }
  const { topics } = topicIds()
  const accepted = await acceptedBatches(scanProduceRequest([frame], 13), broker, 'c', topics, selection, longAgo)
  expect(accepted.batches).toMatchObject([{ stream: stream(0), baseOffset: 9 }])
  expect([...accepted.unnamed]).toMatchObject([[STRANGE, { code: 'BROKER_ERROR' }]])
  const { responses } = withdrawnUnnamed(broker, 'nobody knows it', accepted.unnamed)
  expect(responses.map(({ partitionResponses: [one] }) => one!.errorCode)).toEqual([20, 0])
  expect(responses[0]!.partitionResponses[0]!.errorMessage).toBe('nobody knows it')
})

test.each(['java-Produce-v13', 'librdkafka-Produce-v7', 'kafkajs-Produce-v7'])('%s, as recorded', async name => {
  const [sent, got] = [frameFixture(`${name}-request`), frameFixture(`${name}-response`)]
  const scanned = scanProduceRequest([sent.frame], sent.version)
  const body = produce.response.decode(got.frame, got.version, responseBodyStart(got.frame, produce, got.version))
  const { topic, topicId } = scanned.batches[0]!
  const { topics } = topicIds()
  topics.learn([{ name: topic ?? 'a', topicId: topicId ?? ORDERS, errorCode: 0, partitions: [] }])
  const { batches, unnamed } = await acceptedBatches(scanned, body, 'c', topics, { ...selection, topics: [] }, longAgo)
  const [batch, ...more] = batches
  expect([more, unnamed.size]).toEqual([[], 0])
  const { baseOffset } = body.responses[0]!.partitionResponses[0]!
  const wire = Buffer.concat(batch!.chunks)
  expect(batch).toMatchObject({
    baseOffset,
    lastOffset: baseOffset + wire.readInt32BE(23),
    recordCount: wire.readInt32BE(57)
  })
  expect(batch!.stream).toEqual({ clusterId: 'c', topic: topic ?? 'a', topicId: topicId ?? ORDERS, partition: 0 })
})

test('a request wants capture when one of its topics does, or is not known', () => {
  const { topics } = topicIds()
  const wants = (topic: string, version: number, more: Record<string, string> = {}) => {
    const frame = produceFrame({ version, topics: { [topic]: [0] }, ids: { ...ids, ...more } })
    return wantsCapture(scanProduceRequest([frame], version), topics, selection)
  }
  expect([wants('orders', 12), wants('bills', 12), wants('orders', 13), wants('bills', 13)]).toEqual([
    true,
    false,
    true,
    false
  ])
  expect(wants('strange', 13, { strange: STRANGE })).toBe(true)
  expect(wantsCapture(request(12), topics, selection)).toBe(true)
})

describe.each([3, 8, 9, 12, 13])('the proxy’s own answers in version %d', version => {
  const again = (value: ProduceAnswer) => produce.response.decode(produce.response.encode(value, version), version)

  test('withdrawn: a captured success becomes error 20, all else stays', () => {
    const broker = answer(version, [[0, 100], [19, -1], [20, 60]]) // biome-ignore format: one line
    const { responses } = again(withdrawn(broker, 'the disk is full', topicIds().topics, selection))
    const codes = responses.map(({ partitionResponses }) => partitionResponses.map(({ errorCode }) => errorCode))
    expect(codes).toEqual([[20, 19, 20], [0]])
    const [orders, bills] = responses
    const message = version < 8 ? undefined : 'the disk is full'
    expect(orders!.partitionResponses[0]).toMatchObject({ baseOffset: 100 })
    expect(orders!.partitionResponses[0]!.errorMessage).toBe(message)
    expect(bills).toEqual(again(broker).responses[1])
  })

  test('withdrawn: a topic id that is not known counts as captured', () => {
    if (version < 13) return
    const partitionResponses = [{ index: 0, errorCode: 0, baseOffset: 1 }]
    const unknown = { responses: [{ topicId: STRANGE, partitionResponses }] }
    const { responses } = withdrawn(unknown, 'why', topicIds().topics, selection)
    expect(responses[0]!.partitionResponses[0]!.errorCode).toBe(20)
  })

  test('refusal: every partition once, each topic once, error 19', () => {
    const { responses } = again(refusal(request(version), 'the disk is full'))
    expect(responses.map(({ name, topicId }) => (version < 13 ? name : topicId))).toEqual(
      version < 13 ? ['orders', 'bills'] : [ORDERS, BILLS]
    )
    const partitions = responses.map(({ partitionResponses }) =>
      partitionResponses.map(({ index, errorCode, baseOffset }) => [index, errorCode, baseOffset])
    )
    expect(partitions).toEqual([[[0, 19, -1], [1, 19, -1], [2, 19, -1]], [[0, 19, -1]]]) // biome-ignore format: one line
    if (version >= 8) expect(responses[0]!.partitionResponses[0]!.errorMessage).toBe('the disk is full')
  })
})
