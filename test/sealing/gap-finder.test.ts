// What the gap finder makes of what brokers list. They are told here; test/integration/gaps.test.ts has real ones.
import { join } from 'node:path'
import pino from 'pino'
import { expect, test } from 'vitest'
import type { Cluster } from '../../src/kafka/cluster.ts'
import { GapFinder } from '../../src/sealing/gap-finder.ts'
import { tempFolder } from '../support/temp.ts'
import { orders } from '../wal/batches.ts'

test('what a topic had that is gone, and nobody captured, is due at once, and until it is sealed', async () => {
  await using temp = await tempFolder('gap-finder')
  let isListed = true
  const cluster: Pick<Cluster, 'refresh' | 'listOffsets'> = {
    async refresh() {
      return isListed
        ? [{ name: orders.topic, topicId: orders.topicId, isInternal: false, leaders: new Map([[0, 1]]) }]
        : []
    },
    listOffsets: async keys => keys.map(() => 5)
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
