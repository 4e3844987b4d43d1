// When a worker is ready, as a function of what its parts say.
import { expect, test } from 'vitest'
import type { UnarchivedPartition, WorkerState } from '../../src/server/health.ts'
import { archiveLimitMs, notReady } from '../../src/server/health.ts'

const now = 1_764_000_000_000
const limit = 1_860_000

const healthy: WorkerState = {
  phase: 'running',
  upstreamFault: null,
  walFault: null,
  unarchived: [],
  archiveLimitMs: limit,
  now
}

function unarchived(topic: string, ageMs: number, cause: string): UnarchivedPartition {
  return {
    key: { clusterId: 'c', topic, topicId: 'AAECAwQFBgcICQoLDA0ODw', partition: 3 },
    firstOffset: 0,
    lastOffset: 9,
    unreleasedBytes: 100,
    unreleasedBatches: 10,
    oldestAppend: now - ageMs,
    cause
  }
}

/** The reasons as a line each. */
function reasons(change: Partial<WorkerState>): string[] {
  return notReady({ ...healthy, ...change }).map(({ what, message }) => `${what}: ${message}`)
}

test('a worker with nothing wrong is ready', () => {
  expect(reasons({})).toEqual([])
})

test.each(['starting', 'draining'] as const)('a worker that is %s is not', phase => {
  expect(reasons({ phase })).toEqual([expect.stringMatching(`^${phase}: .`)])
})

test('what is wrong with cluster and WAL is said as they say it', () => {
  const upstreamFault = 'broker 127.0.0.1:9092: connect ECONNREFUSED 127.0.0.1:9092'
  expect(reasons({ upstreamFault })).toEqual([`upstream: ${upstreamFault}`])
  const walFault = 'the WAL has reached its limit of 67108864 bytes'
  expect(reasons({ walFault })).toEqual([`wal: ${walFault}`])
  expect(reasons({ upstreamFault, walFault, phase: 'draining' }).map(line => line.split(':')[0])).toEqual([
    'draining',
    'upstream',
    'wal'
  ])
})

test('the archive may lag three times segment.ms and a minute', () => {
  expect(archiveLimitMs(600_000)).toBe(limit)
  expect(reasons({ unarchived: [unarchived('orders', limit, 'the store is away')] })).toEqual([])
  expect(reasons({ unarchived: [unarchived('orders', limit + 1, 'the store is away')] })).toEqual([
    'archive: orders-3: captured 1860 s ago and not archived (limit 1860 s): the store is away'
  ])
})

test('the partition that is furthest behind is named, with its own cause, and the others are counted', () => {
  const lagging = [
    unarchived('a', limit + 5_000, 'cause a'),
    unarchived('b', limit + 60_000, 'cause b'),
    unarchived('c', 1_000, 'cause c'),
    unarchived('d', limit + 1, 'cause d')
  ]
  expect(reasons({ unarchived: lagging })).toEqual([
    'archive: b-3: captured 1920 s ago and not archived (limit 1860 s), and 2 other partitions are behind: cause b'
  ])
})
