// From where on the broker's log is another than the archive's, by what the broker says of where epochs end.
import { expect, test } from 'vitest'
import type { Chain } from '../../src/archive/archive.ts'
import type { BrokerLog } from '../../src/sealing/broker-log.ts'
import { replacedIn } from '../../src/sealing/elections.ts'
import type { SegmentManifest } from '../../src/segment/manifest.ts'
import { orders } from '../wal/batches.ts'

type Epochs = readonly (readonly [epoch: number, startOffset: number])[]

/** An archive up to offset 30 in these segments, and behind them one of a gap only. */
function chainOf(...segments: Epochs[]): Chain {
  const links = segments.map((epochs, i) => {
    const leaderEpochs = epochs.map(([epoch, startOffset]) => ({ epoch, startOffset }))
    const manifest: Partial<SegmentManifest> = { leaderEpochs, lastBatchOffset: [9, 19, 29].at(i - segments.length)! }
    return { manifest }
  })
  const gap = { manifest: { leaderEpochs: [], lastBatchOffset: null } }
  return { stream: orders, links: [...links, gap], end: 32 } as unknown as Chain
}

const inOne: Epochs[] = [[[3, 0]], [[3, 10]], [[3, 20]]]
const inThree: Epochs[] = [
  [[1, 0]],
  [[1, 10]],
  [
    [1, 20],
    [3, 25]
  ]
]

test.each<{ what: string; archive: Epochs[]; ends: [number, number][]; highWatermark?: number; from: number | null }>([
  { what: 'its only epoch goes on, but for the gap at the archive’s end', archive: inOne, ends: [[3, 40]], from: 30 },
  { what: 'its only epoch ends where the archive’s batches do', archive: inOne, ends: [[3, 30]], from: 30 },
  { what: 'its only epoch ends before', archive: inOne, ends: [[3, 12]], from: 12 },
  { what: 'it has nothing of its only epoch', archive: inOne, ends: [[3, 0]], from: 0 },
  {
    what: 'it has nothing of the last of two',
    archive: inThree,
    ends: [
      [3, 0],
      [1, 22]
    ],
    from: 22
  },
  {
    what: 'the first of two goes on instead of the last',
    archive: inThree,
    ends: [
      [3, 0],
      [1, 40]
    ],
    from: 25
  },
  { what: 'it ends before that', archive: inOne, ends: [[3, 12]], highWatermark: 12, from: null },
  { what: 'nobody knows the archive’s epochs', archive: [[[-1, 0]]], ends: [[-1, 12]], from: null }
])('a log, when $what', async ({ archive, ends, from, highWatermark = 50 }) => {
  const known = new Map(ends)
  const broker: Pick<BrokerLog, 'epochEnds'> = {
    epochEnds: async (_, asked) =>
      new Map([...asked].filter(epoch => epoch >= 0).map(epoch => [epoch, known.get(epoch)!]))
  }
  const log = { exists: true, start: 0, end: highWatermark, leaderEpoch: 4 }
  const range = await replacedIn(broker as BrokerLog, chainOf(...archive), log)
  expect(range).toEqual(from === null ? null : { from, to: 32 })
})
