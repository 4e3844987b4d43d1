// What a replay takes and what it leaves, decided without an archive or a broker.
import { expect, test } from 'vitest'
import type { Chain } from '../../src/archive/archive.ts'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import type { PartitionPlan, ReplaySelection } from '../../src/replay/plan.ts'
import { planReplay } from '../../src/replay/plan.ts'
import { prepareBatch } from '../../src/replay/prepare.ts'
import { nextSequence } from '../../src/replay/producer.ts'
import type { ExistingTopic } from '../../src/replay/target.ts'
import { checkTarget } from '../../src/replay/target.ts'
import type { SegmentManifest } from '../../src/segment/manifest.ts'
import { unreadable } from '../kafka/unreadable.ts'
import { batchOf, bits, NOON, record, withFields } from './batches.ts'

const all: ReplaySelection = { fromOffset: 0, toOffset: Number.MAX_SAFE_INTEGER }
const stream = { clusterId: 'here', topic: 'orders', topicId: 'AAECAwQFBgcICQoLDA0ODw', partition: 0 }

/** Offset n is of NOON + n; a manifest has no more than what the planner reads. */
function chain(ends: readonly number[], manifests: Partial<SegmentManifest>[] = [], more: Partial<Chain> = {}): Chain {
  const links = ends.map((nextOffset, i) => {
    const baseOffset = ends[i - 1] ?? 0
    const records = nextOffset - baseOffset
    const times = { minTimestamp: NOON + baseOffset, maxTimestamp: NOON + nextOffset - 1 }
    const manifest = { baseOffset, nextOffset, records, logBytes: 100 * records, ...times }
    const lists = { gaps: [], abortedTransactions: [], openTransactions: [] }
    return {
      key: `${baseOffset}.tar.gz`,
      size: 1,
      manifest: { ...manifest, ...lists, ...manifests[i] } as unknown as SegmentManifest
    }
  })
  return { stream, root: null, links, end: ends.at(-1) ?? 0, extras: [], unreached: [], ...more }
}

function planOf(one: Chain, selection: Partial<ReplaySelection> = {}): PartitionPlan {
  return planReplay([one], { ...all, ...selection }).partitions[0]!
}

const keysOf = ({ segments }: PartitionPlan) => segments.map(({ key }) => key)

test('an unrestricted plan takes every segment of every partition, in order', () => {
  const other = chain([5], [], { stream: { ...stream, partition: 3 } })
  const plan = planReplay([other, chain([10, 20])], all)
  expect(plan).toMatchObject({ topic: 'orders', topicId: stream.topicId, partitionCount: 4 })
  expect(plan.partitions.map(({ stream, from, to }) => [stream.partition, from, to])).toEqual([
    [0, 0, 20],
    [3, 0, 5]
  ])
  expect(plan.partitions[0]).toMatchObject({ offsets: 20, logBytes: 2000, oldest: NOON, newest: NOON + 19 })
  expect(keysOf(plan.partitions[0]!)).toEqual(['0.tar.gz', '10.tar.gz'])
})

test('offsets and times choose segments', () => {
  const three = chain([10, 20, 30])
  expect(planOf(three, { fromOffset: 12, toOffset: 20 })).toMatchObject({ from: 12, to: 20, offsets: 8 })
  expect(keysOf(planOf(three, { fromOffset: 12, toOffset: 20 }))).toEqual(['10.tar.gz'])
  expect(keysOf(planOf(three, { fromTime: NOON + 10, toTime: NOON + 20 }))).toEqual(['10.tar.gz'])
  expect(planOf(three, { fromTime: NOON + 15 })).toMatchObject({ oldest: NOON + 15, newest: NOON + 29 })
  expect(planOf(three, { fromOffset: 100 })).toMatchObject({ from: 30, to: 30, segments: [], offsets: 0 })
  expect(planOf(chain([]))).toMatchObject({ from: 0, to: 0, segments: [], oldest: null })
})

test('gaps within the selection are told', () => {
  const gaps = [
    { from: 2, to: 4, reason: 'retention' as const },
    { from: 8, to: 9, reason: 'compacted' as const }
  ]
  expect(planOf(chain([10], [{ gaps }]), { fromOffset: 3, toOffset: 8 }).gaps).toEqual([gaps[0]])
})

test('refuses partitions that are not there, and a chain that breaks off before the selection ends', () => {
  expect(() => planOf(chain([10]), { partitions: [0, 7] })).toThrow('no partition 7 of orders')
  const broken = chain([10], [], { unreached: [{ key: 'x', size: 1, sha256: null, offset: 20 }] })
  expect(() => planOf(broken)).toThrow('orders-0 breaks off at offset 10')
  expect(planOf(broken, { toOffset: 10 })).toMatchObject({ to: 10 })
  // What lies below the end was merged, or lost a race, and is no loss.
  expect(planOf(chain([10], [], { unreached: [{ key: 'x', size: 1, sha256: null, offset: 5 }] }))).toMatchObject({
    to: 10
  })
})

const whole = planOf(chain([1000]))
const offsetsOf = (batch: CanonicalBatch) => [...batch.records()].map(({ offset }) => offset)

test('a plain batch goes as it is, but for where it begins', () => {
  for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const) {
    const batch = batchOf([40, 41, 42], { codec, producerId: 7, producerEpoch: 1, baseSequence: 90 })
    const prepared = prepareBatch(batch, whole)
    expect(prepared.kind).toBe('raw')
    if (prepared.kind !== 'raw') continue
    expect(prepared.batch.toWire().subarray(8)).toEqual(batch.toWire().subarray(8))
    expect(offsetsOf(prepared.batch)).toEqual([0, 1, 2])
  }
})

test.each([
  ['holes', batchOf([40, 42, 45]), [40, 42, 45]],
  ['a hole at its end', withFields(batchOf([40, 41]), { lastOffsetDelta: 5 }), [40, 41]],
  ['a delete horizon', withFields(batchOf([40, 41]), { attributes: bits.deleteHorizon }), [40, 41]]
])('a batch with %s is made anew, with its records', (_, batch, offsets) => {
  const prepared = prepareBatch(batch, whole)
  expect(prepared.kind).toBe('re-encoded')
  if (prepared.kind !== 're-encoded') return
  const { header } = prepared.batch
  expect(header).toMatchObject({ lastOffset: offsets.length - 1, recordCount: offsets.length, hasDeleteHorizon: false })
  expect([...prepared.batch.records()]).toEqual(offsets.map((offset, i) => ({ ...record(offset), offset: i })))
})

test('a LogAppendTime batch gets the times that consumers saw, as CreateTime', () => {
  const attributes = bits.logAppendTime
  const batch = withFields(batchOf([40, 41], { codec: 'lz4' }), { attributes, maxTimestamp: NOON + 777 })
  const prepared = prepareBatch(batch, whole)
  expect(prepared.kind).toBe('re-encoded')
  if (prepared.kind !== 're-encoded') return
  const times = { baseTimestamp: NOON + 777, maxTimestamp: NOON + 777, timestampType: 'CreateTime', codec: 'lz4' }
  expect(prepared.batch.header).toMatchObject(times)
  expect([...prepared.batch.records()].map(({ timestamp }) => timestamp)).toEqual([NOON + 777, NOON + 777])
})

test('a batch is cut where the selection cuts it', () => {
  const batch = batchOf([40, 41, 42, 43])
  const keys = (selection: Partial<ReplaySelection>) => {
    const prepared = prepareBatch(batch, planOf(chain([1000]), selection))
    return 'batch' in prepared
      ? [prepared.kind, ...[...prepared.batch.records()].map(({ key }) => String(key))]
      : prepared
  }
  expect(keys({ fromOffset: 42 })).toEqual(['re-encoded', 'k42', 'k43'])
  expect(keys({ toOffset: 41 })).toEqual(['re-encoded', 'k40'])
  expect(keys({ fromTime: NOON + 41, toTime: NOON + 43 })).toEqual(['re-encoded', 'k41', 'k42'])
  expect(keys({ fromTime: NOON, toTime: NOON + 900 })).toEqual(['raw', 'k40', 'k41', 'k42', 'k43'])
  expect(keys({ fromOffset: 44 })).toEqual({ kind: 'nothing' })
  expect(keys({ toTime: NOON + 40 })).toEqual({ kind: 'nothing' })
})

test('markers, and records of transactions that did not commit, are left out and counted', () => {
  const abortedTransactions = [{ producerId: 7, firstOffset: 10, lastOffset: 20, lastStableOffset: 10 }]
  const openTransactions = [{ producerId: 8, firstOffset: 50 }]
  // The outcome stands in a later segment than the records.
  const plan = planOf(chain([15, 60], [{}, { abortedTransactions, openTransactions } as Partial<SegmentManifest>]))
  const transactional = (offsets: number[], producerId: number) =>
    withFields(batchOf(offsets, { producerId, producerEpoch: 0, baseSequence: 0 }), { attributes: bits.transactional })
  const outcome = (batch: CanonicalBatch, of = plan) => {
    const prepared = prepareBatch(batch, of)
    return prepared.kind === 'left-out' ? [prepared.reason, prepared.records] : prepared.kind
  }
  expect(outcome(transactional([10, 11], 7))).toEqual(['aborted', 2])
  expect(outcome(transactional([12, 13], 8))).toBe('raw')
  expect(outcome(transactional([30, 31], 7))).toBe('raw')
  expect(outcome(transactional([50], 8))).toEqual(['open', 1])
  // Records that a producer sends outside its transactions belong to none.
  expect(outcome(batchOf([12], { producerId: 7, producerEpoch: 0, baseSequence: 0 }))).toBe('raw')
  const marker = withFields(transactional([20], 7), { attributes: bits.control })
  expect(outcome(marker)).toEqual(['control', 1])
  const cut = planOf(chain([60], [{ abortedTransactions }]), { fromOffset: 11 })
  expect(outcome(transactional([10, 11], 7), cut)).toEqual(['aborted', 1])
})

test('a batch that compaction has emptied is nothing', () => {
  const empty = withFields(batchOf([40]), { recordCount: 0 })
  expect(prepareBatch(empty, whole)).toEqual({ kind: 'nothing' })
})

test('a segment is planned for a batch in it of which nobody knows the times', () => {
  const notIndexed = [{ baseOffset: 12, lastOffset: 13, reason: 'it grows' }]
  const two = chain([10, 20], [{}, { notIndexed, records: 0, minTimestamp: null, maxTimestamp: null }])
  expect(keysOf(planOf(two))).toEqual(['0.tar.gz', '10.tar.gz'])
  expect(keysOf(planOf(two, { fromTime: NOON + 500 }))).toEqual(['10.tar.gz'])
  expect(keysOf(planOf(two, { fromOffset: 13 }))).toEqual(['10.tar.gz'])
  expect(keysOf(planOf(two, { toOffset: 12 }))).toEqual(['0.tar.gz'])
})

// What grows beyond 1 MiB is no trouble for a replay: it has no worker's limit.
test.each(unreadable.slice(1))('%s goes as it is, or stops the replay with its offsets', (_, make, reason) => {
  const batch = make(40)
  const prepared = prepareBatch(batch, whole)
  expect(prepared.kind).toBe('raw')
  if (prepared.kind === 'raw') expect(prepared.batch.toWire().subarray(8)).toEqual(batch.toWire().subarray(8))
  expect(prepareBatch(batch, planOf(chain([1000]), { fromOffset: 40, toOffset: 42 })).kind).toBe('raw')
  expect(prepareBatch(batch, planOf(chain([1000]), { fromOffset: 42 })).kind).toBe('nothing')
  const cut = (fields: Partial<ReplaySelection>) => () => prepareBatch(batch, planOf(chain([1000]), fields))
  const error = expect.objectContaining({
    code: 'BATCH_CORRUPT',
    message: `the batch of offsets 40 to 41 cannot be made anew, though the selection may cut it: ${reason}`,
    hint: expect.stringContaining('--offsets')
  })
  expect(cut({ fromOffset: 41 })).toThrow(error)
  expect(cut({ toOffset: 41 })).toThrow(error)
  const appendTime = withFields(batch, { attributes: bits.logAppendTime, recordCount: 3 })
  expect(() => prepareBatch(appendTime, whole)).toThrow('though no broker takes it as it is')
})

test('a batch of times beyond 2^53 is later than any selected time, and before none', () => {
  const later = unreadable[1]![1](40)
  const select = (fields: Partial<ReplaySelection>) => () => prepareBatch(later, planOf(chain([1000]), fields))
  expect(select({ fromTime: NOON })).toThrow('of offsets 40 to 41')
  expect(select({ toTime: NOON + 900 })).toThrow('of offsets 40 to 41')
})

test('sequence numbers begin again after 2^31 - 1', () => {
  expect(nextSequence(0, 5)).toBe(5)
  expect(nextSequence(2 ** 31 - 2, 1)).toBe(2 ** 31 - 1)
  // DefaultRecordBatch.incrementSequence(Integer.MAX_VALUE - 1, 3) is 1.
  expect(nextSequence(2 ** 31 - 2, 3)).toBe(1)
})

const fit: ExistingTopic = {
  clusterId: 'here',
  topicId: 'another',
  partitionCount: 1,
  isEmpty: true,
  settings: {
    timestampType: 'CreateTime',
    compressionType: 'producer',
    cleanupPolicy: ['delete'],
    retentionMs: Number.POSITIVE_INFINITY,
    retentionBytes: Number.POSITIVE_INFINITY,
    timestampBeforeMaxMs: Number.POSITIVE_INFINITY,
    timestampAfterMaxMs: 3_600_000
  }
}
const careful = { append: false, acceptNewTimestamps: false }
const hour = 3_600_000

function check(target: Partial<ExistingTopic>, settings: Partial<ExistingTopic['settings']> = {}, options = careful) {
  const topic = { ...fit, ...target, settings: { ...fit.settings, ...settings } }
  checkTarget(planReplay([chain([100])], all), 'orders', topic, options, NOON + hour)
}

test('a topic that takes everything and keeps it is accepted', () => {
  expect(() => check({})).not.toThrow()
  expect(() => check({ topicId: stream.topicId, clusterId: 'elsewhere' })).not.toThrow()
  expect(() => check({}, { retentionMs: hour, retentionBytes: 10_000 })).not.toThrow()
  expect(() => check({ isEmpty: false }, {}, { ...careful, append: true })).not.toThrow()
  expect(() => check({}, { timestampType: 'LogAppendTime' }, { ...careful, acceptNewTimestamps: true })).not.toThrow()
})

test.each<[string, Partial<ExistingTopic>, Partial<ExistingTopic['settings']>]>([
  ['the very topic that was archived', { topicId: stream.topicId, isEmpty: false }, {}],
  ['0 partitions, 1 are needed', { partitionCount: 0 }, {}],
  ['not empty', { isEmpty: false }, {}],
  ['LogAppendTime', {}, { timestampType: 'LogAppendTime' }],
  ['compact', {}, { cleanupPolicy: ['compact', 'delete'] }],
  ['retention.ms is 3599999', {}, { retentionMs: hour - 1 }],
  ['retention.bytes is 9999', {}, { retentionBytes: 9_999 }],
  ['before.max.ms', {}, { timestampBeforeMaxMs: hour - 1 }],
  ['after.max.ms', {}, { timestampAfterMaxMs: -hour }]
])('a topic is refused: %s', (reason, target, settings) => {
  expect(() => check(target, settings)).toThrow(
    expect.objectContaining({ code: 'PLAN_REFUSED', hint: expect.any(String) })
  )
  expect(() => check(target, settings)).toThrow(reason)
})
