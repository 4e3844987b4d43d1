// What the broker's log has for holes, and what it says of those for which it has nothing.
import { afterEach, describe, expect, test, vi } from 'vitest'
import { Cluster } from '../../src/kafka/cluster.ts'
import { responseFrame } from '../../src/kafka/headers.ts'
import { apiVersions, fetch, metadata } from '../../src/kafka/messages.ts'
import type { OffsetRange } from '../../src/sealing/settle.ts'
import type { Gap } from '../../src/segment/manifest.ts'
import { batchAt } from '../archive/small-archive.ts'
import { serve, versionsAnswer } from '../kafka/scripted-broker.ts'
import { orders } from '../wal/batches.ts'
import { fakeBroker } from './fake-broker.ts'

const COMPACTED = [batchAt(2, 3), batchAt(6, 7), batchAt(8, 9), batchAt(14, 15), batchAt(20, 21)]

/** `3-5`: offsets 3 to 5, without the 5. */
const ranges = (texts: string): OffsetRange[] =>
  texts
    .split(' ')
    .filter(Boolean)
    .map(range => ({ from: Number(range.split('-')[0]), to: Number(range.split('-')[1]) }))
const text = ({ from, to, reason }: Gap): string => `${from}-${to} ${reason}`

afterEach(() => void vi.useRealTimers())

interface Case {
  of: string
  holes: string
  batches: number[]
  gaps: string[]
  fetches: number[]
  start?: number
  begin?: number
  exists?: boolean
}

describe('for holes', () => {
  test.each<Case>([
    {
      of: 'all batches and gaps that one answer has',
      holes: '0-12 13-22',
      batches: [2, 6, 8, 14, 20],
      gaps: ['0-2 compacted', '4-6 compacted', '10-12 compacted', '13-14 compacted', '16-20 compacted'],
      fetches: [0]
    },
    {
      of: 'nothing of what lies between them',
      holes: '4-5 8-9 12-16',
      batches: [8, 14],
      gaps: ['4-5 compacted', '12-14 compacted'],
      fetches: [4]
    },
    {
      of: 'nothing of what lies behind the answer',
      holes: '16-25',
      batches: [20],
      gaps: ['16-20 compacted'],
      fetches: [16]
    },
    { of: 'nothing where the answer is empty', holes: '22-25', batches: [], gaps: [], fetches: [22] },
    {
      of: 'gaps below the start of the log',
      holes: '0-1 4-14',
      start: 7,
      batches: [6, 8],
      gaps: ['0-1 retention', '4-6 retention', '10-14 compacted'],
      fetches: [7]
    },
    {
      of: 'a gap alone, without a fetch',
      holes: '0-2 4-6',
      start: 6,
      batches: [],
      gaps: ['0-2 retention', '4-6 retention'],
      fetches: []
    },
    {
      of: 'two gaps where the log begins between batches',
      holes: '0-15',
      start: 10,
      batches: [14],
      gaps: ['0-10 retention', '10-14 compacted'],
      fetches: [10]
    },
    {
      of: 'gaps without the topic',
      holes: '0-2 4-9',
      exists: false,
      batches: [],
      gaps: ['0-2 unavailable', '4-9 unavailable'],
      fetches: []
    },
    {
      of: 'a gap where a batch begins below the range, and the batch',
      holes: '7-10 13-16',
      begin: 7,
      batches: [6, 8, 14],
      gaps: ['7-8 truncated', '13-14 compacted'],
      fetches: [7]
    }
  ])('it gives $of: $holes', async ({ holes, batches, gaps, fetches, start = 0, begin = 0, exists = true }) => {
    const fake = fakeBroker(COMPACTED, { start })
    const log = { exists, start, end: 22, leaderEpoch: 4 }
    const filled = await fake.broker.fill(orders, ranges(holes), log, begin)
    expect(filled.batches.map(({ header }) => header.baseOffset)).toEqual(batches)
    expect(filled.gaps.map(text)).toEqual(gaps)
    expect(fake.fetches).toEqual(fetches)
  })
})

test.each([
  [3, 2],
  [2, 2],
  [4, 4],
  [22, 22]
])('the batch that holds the log’s start %d, if any, begins at %d', async (start, base) => {
  expect(await fakeBroker(COMPACTED).broker.firstBatch(orders, start)).toBe(base)
})

test('settings are asked for also when the clock has been set back since they last were', async () => {
  const answers = ['producer', 'gzip']
  const { broker } = fakeBroker(COMPACTED, { compressionType: () => answers.shift()! })
  const log = { exists: true, start: 0, end: 22, leaderEpoch: 4 }
  vi.useFakeTimers({ toFake: ['Date'] })
  expect(await broker.rewriting(orders, Date.now(), log)).toMatchObject({ rewrites: false })
  vi.setSystemTime(Date.now() - 3_600_000)
  expect(await broker.rewriting(orders, Date.now(), log)).toMatchObject({ rewrites: true })
})

test('a fetch asks by the id of the topic that is meant, whichever has its name now', async () => {
  const asked: (string | undefined)[] = []
  const { address } = await serve(frame => {
    const [key, version, id] = [frame.readInt16BE(4), frame.readInt16BE(6), frame.readInt32BE(8)]
    if (key === apiVersions.key) return versionsAnswer(frame)
    if (key === metadata.key) {
      const partition = { partitionIndex: 0, leaderId: 1, replicaNodes: [1], isrNodes: [1], offlineReplicas: [] }
      const topics = [
        {
          errorCode: 0,
          name: 'orders',
          topicId: 'AAAAAAAAAAAAAAAAAAAAAg',
          partitions: [{ errorCode: 0, ...partition }]
        }
      ]
      const answer = { brokers: [{ nodeId: 1, rack: null, ...address }], clusterId: 'c', topics }
      return responseFrame(metadata, version, id, metadata.response.encode(answer, version))
    }
    expect(version).toBeGreaterThanOrEqual(13)
    const hex = frame.toString('hex')
    asked.push(
      ['AAAAAAAAAAAAAAAAAAAAAg', orders.topicId].find(one =>
        hex.includes(Buffer.from(one, 'base64url').toString('hex'))
      )
    )
    const partitions = [{ partitionIndex: 0, errorCode: 0, highWatermark: 0, abortedTransactions: null, records: null }]
    const responses = [{ topicId: orders.topicId, partitions }]
    return responseFrame(fetch, version, id, fetch.response.encode({ responses }, version))
  })
  using cluster = new Cluster([address])
  await cluster.fetchLog(orders, 0)
  await cluster.fetchLog({ topic: 'orders', partition: 0 }, 0)
  expect(asked).toEqual([orders.topicId, 'AAAAAAAAAAAAAAAAAAAAAg'])
})
