// How fast Wal.append makes groups of batches durable, against a bare writev and fdatasync of the same bytes on the same disk.
// The ways take turns, in the opposite order every other round; a figure is the median of its rounds, a ratio that of the
// rounds' ratios. The bare way has two turns a round: what one is to the other says how far the other ratios can be trusted.
//
// BENCH_DIRECTORY: where to write, the system's temporary folder unless told; it should be the disk that data.dir is on.
// BENCH_BYTES: bytes per round and way at most, 128 MiB unless told.
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { encodeBatch } from '../src/kafka/batch.ts'
import type { CapturedBatch } from '../src/wal/messages.ts'
import type { Group, Round } from './durable-writes.ts'
import { bare, inThreadPool, regroup, throughWal, touchMemory } from './durable-writes.ts'
import type { Figure } from './figures.ts'
import { figure } from './figures.ts'

const DIRECTORY = process.env['BENCH_DIRECTORY'] ?? tmpdir()
const BYTES = Number(process.env['BENCH_BYTES'] ?? 128 * 1024 ** 2)
/** Even, so that either order comes as often as the other. */
const ROUNDS = 12
const PARTITIONS = 6
/** Appends under way where there are several, as of a proxy with busy connections. */
const SEVERAL = 3

const ways = {
  one: 'wal, 1 in flight',
  several: `wal, ${SEVERAL} in flight`,
  bare: 'writev + fdatasync',
  again: 'writev + fdatasync again',
  merged: `writev + fdatasync in groups as the wal's with ${SEVERAL} in flight`,
  pool: 'writev + fdatasync in the thread pool'
}
type Way = keyof typeof ways

interface Load {
  readonly name: string
  readonly batches: number
  readonly batchBytes: number
  /** Of BYTES: smaller groups take longer. */
  readonly share: number
  /** In the order of their turns. */
  readonly turns: readonly Way[]
}

const loads: readonly Load[] = [
  {
    name: '8 x 64 KiB',
    batches: 8,
    batchBytes: 64 * 1024,
    share: 1,
    turns: ['pool', 'bare', 'one', 'merged', 'several', 'again']
  },
  {
    name: '8 x 16 KiB',
    batches: 8,
    batchBytes: 16 * 1024,
    share: 1 / 2,
    turns: ['bare', 'one', 'merged', 'several', 'again']
  },
  { name: '1 x 16 KiB', batches: 1, batchBytes: 16 * 1024, share: 1 / 8, turns: ['bare', 'one', 'again'] }
]

const measures: Record<keyof Round, { readonly what: string; readonly unit: string; readonly only?: readonly Way[] }> =
  {
    megabytesPerSecond: { what: 'rate', unit: 'MB/s' },
    p50: { what: 'p50', unit: 'ms' },
    p99: { what: 'p99', unit: 'ms' },
    longest: { what: 'longest', unit: 'ms' },
    writtenPerByte: { what: 'written per byte', unit: 'B/B' },
    cpuSecondsPerGigabyte: { what: 'CPU', unit: 's/GB' },
    // A bare write blocks the thread: its event loop does not turn.
    loopDelayP99: { what: 'event-loop delay p99', unit: 'ms', only: ['one', 'several', 'pool'] },
    commits: { what: 'commits', unit: 'commits' },
    kibibytesPerCommit: { what: 'per commit', unit: 'KiB' }
  }

const ratios: readonly (readonly [way: Way, to: Way, measure: keyof Round])[] = [
  ['one', 'bare', 'megabytesPerSecond'],
  ['several', 'bare', 'megabytesPerSecond'],
  ['several', 'merged', 'megabytesPerSecond'],
  ['one', 'bare', 'p50'],
  ['one', 'bare', 'p99'],
  ['several', 'merged', 'p99'],
  ['again', 'bare', 'megabytesPerSecond'],
  ['again', 'bare', 'p99']
]

export async function run(): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const load of loads) figures.push(...(await ofLoad(load)))
  return figures
}

async function ofLoad({ name, batches, batchBytes, share, turns }: Load): Promise<Figure[]> {
  const groups = makeGroups(batches, batchBytes, Math.ceil((BYTES * share) / (batches * batchBytes)))
  let merged = groups
  const take: Record<Way, () => Promise<Round>> = {
    one: () => throughWal(DIRECTORY, groups, 1),
    several: async () => {
      const round = await throughWal(DIRECTORY, groups, SEVERAL)
      merged = regroup(groups, round.commits)
      return round
    },
    bare: () => bare(DIRECTORY, groups),
    again: () => bare(DIRECTORY, groups),
    merged: () => bare(DIRECTORY, merged),
    pool: () => inThreadPool(DIRECTORY, groups)
  }
  const rounds = new Map(turns.map(way => [way, [] as Round[]]))
  for (let round = -1; round < ROUNDS; round++) {
    for (const way of round % 2 === 0 ? turns : turns.toReversed()) {
      await touchMemory(DIRECTORY, 2 * BYTES)
      const taken = await take[way]()
      if (round >= 0) rounds.get(way)!.push(taken) // the first warms up, and tells `merged` its groups
    }
  }
  return [...rounds].flatMap(([way, taken]) => figuresOf(way, name, taken)).concat(ratiosOf(name, rounds))
}

function figuresOf(way: Way, load: string, rounds: readonly Round[]): Figure[] {
  return Object.entries(measures)
    .filter(([, { only }]) => only?.includes(way) ?? true)
    .map(([key, { what, unit }]) =>
      figure(
        `${load}, ${ways[way]}: ${what}`,
        unit,
        rounds.map(round => round[key as keyof Round])
      )
    )
}

function ratiosOf(load: string, rounds: ReadonlyMap<Way, readonly Round[]>): Figure[] {
  return ratios.flatMap(([way, to, key]) => {
    const [upper, lower] = [rounds.get(way), rounds.get(to)]
    if (upper === undefined || lower === undefined) return []
    const values = upper.map((round, i) => round[key] / lower[i]![key])
    return [figure(`${load}, ${ways[way]} / ${ways[to]}: ${measures[key].what}`, 'x', values)]
  })
}

function makeGroups(batches: number, batchBytes: number, count: number): Group[] {
  const wires = Array.from({ length: 16 }, () =>
    encodeBatch([{ offset: 0, timestamp: 0, key: null, value: randomBytes(batchBytes - 75), headers: [] }]).toWire()
  )
  const next = new Array<number>(PARTITIONS).fill(0)
  return Array.from({ length: count }, (_, group) =>
    Array.from({ length: batches }, (_, i): CapturedBatch => {
      const partition = (group * batches + i) % PARTITIONS
      const offset = next[partition]!++
      const stream = { clusterId: 'bench', topic: 'bench', topicId: 'AAAAAAAAAAAAAAAAAAAAAA', partition }
      const wire = wires[(group + i) % wires.length]!
      return { stream, baseOffset: offset, lastOffset: offset, recordCount: 1, flags: 0, chunks: [wire] }
    })
  )
}
