// What the gap finder makes of what brokers list. They are told here; test/integration/gaps.test.ts has real ones.
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pino from 'pino'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Cluster } from '../../src/kafka/cluster.ts'
import type { Backfill } from '../../src/sealing/backfill.ts'
import { GapFinder } from '../../src/sealing/gap-finder.ts'
import type { StreamKey } from '../../src/wal/stream.ts'
import { streamId } from '../../src/wal/stream.ts'
import { tempFolder } from '../support/temp.ts'
import { orders } from '../wal/batches.ts'

const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }))
afterEach(() => void vi.useRealTimers())

interface Told {
  /** Whether the broker that is asked for all topics names the one there is; and whether any broker knows it. */
  isListed?: () => boolean
  isKnown?: () => boolean
  end: (key: StreamKey) => number | undefined
  backfill?: () => Backfill | null
  partitions?: () => number
  /** Of how many topics something has passed: of this one, if of any. */
  passed?: () => number
  /** What `reached.json` holds at first. */
  kept?: object
}

/** A finder, and what it is told of the one partition that there is, or of several that are alike. `restart` gives another, which reads what this one has written. */
async function openFinder(told: Told) {
  const { isListed = () => true, isKnown = isListed, end, backfill = () => 'earliest', kept } = told
  const { partitions = () => 1, passed = () => 1 } = told
  const temp = await tempFolder('gap-finder')
  const topic = () => {
    const leaders = new Map(Array.from({ length: partitions() }, (_, partition) => [partition, 1]))
    return { name: orders.topic, topicId: orders.topicId, isInternal: false, leaders }
  }
  const refresh = vi.fn(async () => (isListed() ? [topic()] : []))
  const cluster: Pick<Cluster, 'refresh' | 'listOffsets' | 'knows'> = {
    refresh,
    listOffsets: async keys => keys.map(key => end(key as StreamKey)),
    knows: async () => isKnown()
  }
  const file = join(temp.path, 'reached.json')
  if (kept) await writeFile(file, JSON.stringify({ archive: 'file:///archive', ...kept }))
  const restart = () =>
    GapFinder.start({
      cluster: cluster as Cluster,
      clusterId: orders.clusterId,
      archiveUrl: 'file:///archive',
      wal: { streams: () => [] } as never,
      logger: pino({ level: 'silent' }),
      file,
      watched: backfill,
      hasPassed: () => passed() > 0,
      passedTopics: passed,
      segmentMs: HOUR_MS
    })
  const remembered = async () => JSON.parse(await readFile(file, 'utf8')).reached[streamId(orders)]
  const inode = async () => (await stat(file)).ino
  const finder = await restart()
  return { finder, restart, inode, refresh, remembered, [Symbol.asyncDispose]: () => temp.dispose() }
}

test('a partition that has had no leader yet is not taken for one that was added', async () => {
  let hasLeader = false
  const end = ({ partition }: StreamKey) => (partition === 0 || hasLeader ? 500 : undefined)
  await using world = await openFinder({ end, backfill: () => 'captured', partitions: () => 2 })
  await world.finder.look()
  expect(world.finder.silent()).toEqual([{ ...orders, partition: 1 }])
  hasLeader = true
  const again = await world.restart()
  await again.look()
  expect(again.behind()).toEqual([])
})

const archivedTo400 = { reached: { [streamId(orders)]: 400 }, begins: [] }
const sealedTo = (covered: number) => ({ progressed: true, covered })

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
  finder.sealed(orders, sealedTo(5))
  expect(finder.due()).toEqual([])
  await finder.look()
  expect(finder.seenEnd(orders)).toBe(0)
  vi.advanceTimersByTime(10 * MINUTE_MS)
  await finder.look()
  expect(await finder.begin(orders)).toBeUndefined()
})

test('what a topic had that goes while the worker is down is due at once after the restart', async () => {
  let isListed = true
  let backfill: Backfill | null = 'captured'
  const told = { isListed: () => isListed, end: () => 500, backfill: () => backfill, kept: archivedTo400 }
  await using world = await openFinder(told)
  await world.finder.look()
  const written = await world.inode()
  await world.finder.look()
  expect(await world.inode()).toBe(written) // nothing has changed

  isListed = false
  const again = await world.restart()
  expect(again.due()).toEqual([]) // nothing is known of what there is now
  await again.look()
  expect(again.due()).toEqual([orders])
  expect([await again.begin(orders), again.seenEnd(orders), again.uncapturedOffsets]).toEqual([400, 500, 100])
  backfill = null
  const unwanting = await world.restart()
  await unwanting.look()
  expect(unwanting.due()).toEqual([])
  again.sealed(orders, sealedTo(500))
  await again.look()
  backfill = 'captured'
  const last = await world.restart()
  await last.look()
  expect([last.due(), last.seenEnd(orders)]).toEqual([[], 0])
})

test('a log that ends below the archive’s end is looked into, and from there on it lacks what it gets', async () => {
  let end = 10
  await using world = await openFinder({ end: () => end })
  const { finder } = world
  const lookLater = async () => {
    await finder.look()
    vi.advanceTimersByTime(HOUR_MS)
    return finder.due()
  }
  expect(await lookLater()).toEqual([orders])
  finder.sealed(orders, sealedTo(10))
  expect(await lookLater()).toEqual([])
  end = 4
  expect(await lookLater()).toEqual([orders])
  expect(finder.behind()).toEqual([{ key: orders, lastOffset: 3 }])
  expect(finder.uncapturedOffsets).toBe(0)
  finder.sealed(orders, sealedTo(2)) // the first part of it
  expect(finder.due()).toEqual([orders])
  finder.sealed(orders, sealedTo(4))
  expect(finder.due()).toEqual([])
  expect(await lookLater()).toEqual([])
  end = 6
  expect(await lookLater()).toEqual([orders])
  expect(finder.uncapturedOffsets).toBe(2)
  finder.sealed(orders, sealedTo(6))
  expect(await lookLater()).toEqual([])
})

test('what comes after a seal is due after segment.ms again', async () => {
  let end = 10
  await using world = await openFinder({ end: () => end })
  const { finder } = world
  await finder.look()
  vi.advanceTimersByTime(HOUR_MS)
  expect(finder.due()).toEqual([orders])
  finder.sealed(orders, sealedTo(10))
  end = 20
  await finder.look()
  expect(finder.due()).toEqual([])
  vi.advanceTimersByTime(HOUR_MS)
  expect(finder.due()).toEqual([orders])
})

test('a topic of which something passes for the first time is noted within a second, for a restart forgets where it began', async () => {
  let [passed, end] = [0, 500]
  await using world = await openFinder({ end: () => end, backfill: () => 'captured', passed: () => passed })
  const { finder, restart, refresh } = world
  await finder.lookAgain()
  const looks = refresh.mock.calls.length
  ;[passed, end] = [1, 503]
  vi.advanceTimersByTime(999)
  await finder.lookAgain()
  expect(refresh).toHaveBeenCalledTimes(looks)
  vi.advanceTimersByTime(1)
  for (let i = 0; i < 2; i++) await finder.lookAgain()
  vi.advanceTimersByTime(1_000)
  await finder.lookAgain() // which is not due
  expect(refresh).toHaveBeenCalledTimes(looks + 1)

  passed = 0
  const again = await restart()
  await again.look()
  expect(again.behind()).toEqual([{ key: orders, lastOffset: 502 }])
  expect(again.uncapturedOffsets).toBe(3)
})

test('a partition that is added to a topic that is archived is archived whole, also if no worker ran', async () => {
  let partitions = 1
  const kept = { reached: { [streamId(orders)]: 5 }, begins: [], lastPartitions: { [orders.topicId]: 0 } }
  const told: Told = { end: () => 5, backfill: () => 'captured', partitions: () => partitions, passed: () => 0, kept }
  await using world = await openFinder(told)
  const { finder, restart } = world
  await finder.look()
  expect(finder.behind()).toEqual([])
  partitions = 2
  for (const one of [await restart(), finder]) {
    await one.look()
    expect(one.behind()).toEqual([{ key: { ...orders, partition: 1 }, lastOffset: 4 }])
    expect(one.uncapturedOffsets).toBe(5)
  }
})

test.each<[string, Partial<Told>]>([
  ['is not listed', { isListed: () => false }],
  ['is not to be archived', { backfill: () => null }]
])('a partition that %s is forgotten after ten minutes, not after some looks', async (_, hiding) => {
  let isHidden = true
  const told: Told = { end: () => 500, isListed: () => true, backfill: () => 'captured', kept: archivedTo400 }
  await using world = await openFinder({
    ...told,
    isListed: () => (isHidden ? (hiding.isListed ?? told.isListed)!() : true),
    backfill: () => (isHidden ? (hiding.backfill ?? told.backfill)!() : 'captured')
  })
  const { finder, remembered } = world
  const lookThrice = async () => {
    for (let look = 0; look < 3; look++) await finder.look()
    return remembered()
  }
  expect(await lookThrice()).toBe(400)
  vi.advanceTimersByTime(9 * MINUTE_MS)
  expect(await lookThrice()).toBe(400)
  isHidden = false
  await finder.look()
  expect(finder.behind()).toEqual([{ key: orders, lastOffset: 499 }])
  expect(finder.uncapturedOffsets).toBe(100)

  finder.sealed(orders, sealedTo(500))
  isHidden = true
  vi.advanceTimersByTime(10 * MINUTE_MS) // in which nobody looked
  expect(await lookThrice()).toBe(500)
  vi.advanceTimersByTime(10 * MINUTE_MS)
  expect(await lookThrice()).toBeUndefined()
})

test('a partition that one broker does not list, but another knows, is not forgotten', async () => {
  let isKnown = true
  const backfill = (): Backfill => 'captured'
  const told = { isListed: () => false, isKnown: () => isKnown, end: () => 500, backfill, kept: archivedTo400 }
  await using world = await openFinder(told)
  const { finder, remembered } = world
  const lookLater = async () => {
    vi.advanceTimersByTime(10 * MINUTE_MS)
    await finder.look()
    return remembered()
  }
  await finder.look()
  expect(await lookLater()).toBe(400)
  isKnown = false
  await finder.look() // begins anew
  expect(await lookLater()).toBeUndefined()
})

test('what was to begin with the end of the log, and is not archived yet, begins with its start once all is wanted', async () => {
  let backfill: Backfill = 'captured'
  await using world = await openFinder({ end: () => 500, backfill: () => backfill })
  const { finder, restart } = world
  expect(await finder.begin(orders)).toBe(500)
  finder.sealed(orders, { progressed: false, covered: 500 })
  await finder.look()

  const again = await restart()
  expect(await again.begin(orders)).toBe(500)
  backfill = 'earliest'
  const wanting = await restart()
  expect(await wanting.begin(orders)).toBe(0)
  expect(wanting.uncapturedOffsets).toBe(500)

  // An empty log that begins there is nothing to archive, and not due again and again.
  wanting.sealed(orders, { progressed: false, covered: 500 })
  await wanting.look()
  expect([await wanting.begin(orders), wanting.uncapturedOffsets]).toEqual([500, 0])
  const last = await restart()
  await last.look()
  expect([await last.begin(orders), last.uncapturedOffsets]).toEqual([500, 0])
})

test('what is archived does not begin anew when all is wanted', async () => {
  let backfill: Backfill = 'captured'
  let end = 500
  await using world = await openFinder({ end: () => end, backfill: () => backfill })
  const { finder, restart } = world
  await finder.look()
  end = 510
  finder.sealed(orders, sealedTo(510))
  await finder.look()
  backfill = 'earliest'
  const wanting = await restart()
  await wanting.look()
  expect([await wanting.begin(orders), wanting.uncapturedOffsets]).toEqual([510, 0])
})

test('what an earlier version remembers holds, but not once all is wanted: it does not say what is archived', async () => {
  let backfill: Backfill = 'captured'
  const kept = { reached: archivedTo400.reached }
  await using world = await openFinder({ end: () => 500, backfill: () => backfill, kept })
  await world.finder.look()
  expect([await world.finder.begin(orders), world.finder.uncapturedOffsets]).toEqual([400, 100])
  backfill = 'earliest'
  const wanting = await world.restart()
  expect(await wanting.begin(orders)).toBe(0)
})

test('it is looked again each 30 s, also when the clock has been set back', async () => {
  vi.useFakeTimers({ toFake: ['performance', 'Date'] })
  await using world = await openFinder({ end: () => 10 })
  const { finder, refresh } = world
  await finder.lookAgain()
  vi.setSystemTime(Date.now() - HOUR_MS)
  refresh.mockClear()
  await finder.lookAgain()
  expect(refresh).not.toHaveBeenCalled()
  vi.advanceTimersByTime(30_000)
  await finder.lookAgain()
  expect(refresh).toHaveBeenCalledOnce()
})
