// What the gap finder makes of what brokers list. They are told here; test/integration/gaps.test.ts has real ones.
import { join } from 'node:path'
import pino from 'pino'
import { afterEach, expect, test, vi } from 'vitest'
import type { Cluster } from '../../src/kafka/cluster.ts'
import { GapFinder } from '../../src/sealing/gap-finder.ts'
import { tempFolder } from '../support/temp.ts'
import { orders } from '../wal/batches.ts'

afterEach(() => void vi.useRealTimers())

/** A finder, and what brokers tell it of the one partition that they have. */
async function openFinder({ isListed = () => true, end }: { isListed?: () => boolean; end: () => number }) {
  const temp = await tempFolder('gap-finder')
  const topic = { name: orders.topic, topicId: orders.topicId, isInternal: false, leaders: new Map([[0, 1]]) }
  const cluster: Pick<Cluster, 'refresh' | 'listOffsets'> = {
    refresh: async () => (isListed() ? [topic] : []),
    listOffsets: async keys => keys.map(end)
  }
  const finder = await GapFinder.start({
    cluster: cluster as Cluster,
    clusterId: orders.clusterId,
    archiveUrl: 'file:///archive',
    wal: { streams: () => [] } as never,
    logger: pino({ level: 'silent' }),
    file: join(temp.path, 'reached.json'),
    watched: () => 'earliest',
    hasPassed: () => false,
    segmentMs: 3_600_000
  })
  return { finder, [Symbol.asyncDispose]: () => temp.dispose() }
}

test('what a topic had that is gone, and nobody captured, is due at once, and until it is sealed', async () => {
  let isListed = true
  await using world = await openFinder({ isListed: () => isListed, end: () => 5 })
  const { finder } = world
  await finder.look()
  expect(finder.due()).toEqual([])
  isListed = false
  for (let look = 0; look < 3; look++) {
    await finder.look()
    expect(finder.due()).toEqual([orders])
    expect(finder.behind()).toEqual([{ key: orders, lastOffset: 4 }])
    expect(finder.uncapturedOffsets).toBe(5)
    expect([await finder.begin(orders), finder.seenEnd(orders)]).toEqual([0, 5])
  }
  finder.sealed(orders, 5)
  expect(finder.due()).toEqual([])
  await finder.look()
  expect(finder.seenEnd(orders)).toBe(0)
  await finder.look()
  expect(await finder.begin(orders)).toBeUndefined()
})

test('a log that ends below the archive’s end is looked into, and from there on it lacks what it gets', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  let end = 10
  await using world = await openFinder({ end: () => end })
  const { finder } = world
  const lookLater = async () => {
    await finder.look()
    vi.advanceTimersByTime(3_600_000)
    return finder.due()
  }
  expect(await lookLater()).toEqual([orders])
  finder.sealed(orders, 10)
  expect(await lookLater()).toEqual([])
  end = 4
  expect(await lookLater()).toEqual([orders])
  expect(finder.behind()).toEqual([{ key: orders, lastOffset: 3 }])
  expect(finder.uncapturedOffsets).toBe(0)
  finder.sealed(orders, 2) // the first part of it
  expect(finder.due()).toEqual([orders])
  finder.sealed(orders, 4)
  expect(finder.due()).toEqual([])
  expect(await lookLater()).toEqual([])
  end = 6
  expect(await lookLater()).toEqual([orders])
  expect(finder.uncapturedOffsets).toBe(2)
  finder.sealed(orders, 6)
  expect(await lookLater()).toEqual([])
})

test('what comes after a seal is due after segment.ms again', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  let end = 10
  await using world = await openFinder({ end: () => end })
  const { finder } = world
  await finder.look()
  vi.advanceTimersByTime(3_600_000)
  expect(finder.due()).toEqual([orders])
  finder.sealed(orders, 10)
  end = 20
  await finder.look()
  expect(finder.due()).toEqual([])
  vi.advanceTimersByTime(3_600_000)
  expect(finder.due()).toEqual([orders])
})
