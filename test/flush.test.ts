// A flush while the log that it fetches from changes: all is real but for the broker, which is scripted, and the archive.
import pino from 'pino'
import { expect, test } from 'vitest'
import { Cluster, EARLIEST } from '../src/kafka/cluster.ts'
import { requestBodyStart, responseFrame } from '../src/kafka/headers.ts'
import { KafkaError } from '../src/kafka/kafka-errors.ts'
import { apiVersions, fetch, listOffsets, metadata } from '../src/kafka/messages.ts'
import { flush } from '../src/pipeline/flush.ts'
import { BrokerLog } from '../src/sealing/broker-log.ts'
import type { Gap } from '../src/segment/manifest.ts'
import { batchAt } from './archive/small-archive.ts'
import { serve, versionsAnswer } from './kafka/scripted-broker.ts'
import { noGaps } from './sealing/no-gaps.ts'
import { orders } from './wal/batches.ts'

/** A broker of orders-0, of which retention takes the first batch as soon as somebody has heard where the log begins and ends. */
async function brokerThatDeletes() {
  const log = [batchAt(0, 1, 2), batchAt(3, 4)]
  return await serve((frame, socket) => {
    const [key, version, id] = [frame.readInt16BE(4), frame.readInt16BE(6), frame.readInt32BE(8)]
    const start = log[0]!.header.baseOffset
    if (key === apiVersions.key) return versionsAnswer(frame)
    if (key === metadata.key) {
      const replicas = { replicaNodes: [1], isrNodes: [1], offlineReplicas: [] }
      const partitions = [{ errorCode: 0, partitionIndex: 0, leaderId: 1, ...replicas }]
      const topics = [{ errorCode: 0, name: orders.topic, topicId: orders.topicId, partitions }]
      const brokers = [{ nodeId: 1, rack: null, host: '127.0.0.1', port: socket.localPort! }]
      const body = metadata.response.encode({ brokers, clusterId: orders.clusterId, topics }, version)
      return responseFrame(metadata, version, id, body)
    }
    if (key === listOffsets.key) {
      const asked = listOffsets.request.decode(frame, version, requestBodyStart(frame, listOffsets, version))
      const isStart = Number(asked.topics[0]!.partitions[0]!.timestamp) === EARLIEST
      const partitions = [{ partitionIndex: 0, errorCode: 0, offset: isStart ? start : 5 }]
      if (!isStart && log.length > 1) log.shift()
      const body = listOffsets.response.encode({ topics: [{ name: orders.topic, partitions }] }, version)
      return responseFrame(listOffsets, version, id, body)
    }
    const asked = fetch.request.decode(frame, version, requestBodyStart(frame, fetch, version))
    const isGone = Number(asked.topics[0]!.partitions[0]!.fetchOffset) < start
    const answer = isGone
      ? { errorCode: KafkaError.OFFSET_OUT_OF_RANGE, records: null }
      : { errorCode: 0, records: log[0]!.toWire() }
    const partitions = [{ partitionIndex: 0, highWatermark: 5, abortedTransactions: null, ...answer }]
    const body = fetch.response.encode({ responses: [{ topicId: orders.topicId, partitions }] }, version)
    return responseFrame(fetch, version, id, body)
  })
}

test('what is deleted between the look at a log and the fetch is a gap, and does not end a flush', async () => {
  const { address } = await brokerThatDeletes()
  using cluster = new Cluster([address])
  const broker = new BrokerLog(cluster, pino({ level: 'silent' }))
  const archived: { batches: number[]; gaps: readonly Gap[] }[] = []
  const report = await flush(
    {
      pending: () => (archived.length === 0 ? [{ key: orders, firstOffset: 0, lastOffset: 4 }] : []),
      async seal(key) {
        const { batches, gaps } = await broker.fill(key, [{ from: 0, to: 5 }], await broker.state(key), 0)
        archived.push({ batches: batches.map(({ header }) => header.baseOffset), gaps })
        return { progressed: true, end: 5, covered: 5 }
      },
      gaps: noGaps
    },
    { timeoutMs: 30_000 }
  )
  expect(archived).toEqual([{ batches: [3], gaps: [{ from: 0, to: 3, reason: 'retention' }] }])
  expect(report.partitions).toEqual([{ topic: 'orders', partition: 0, archivedThrough: 4 }])
})
