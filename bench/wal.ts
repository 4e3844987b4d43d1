// How fast Wal.append makes groups of batches durable, against a raw writev and fdatasync of the same bytes on the same disk.
// A figure is the median of its rounds, a ratio that of the rounds' ratios. The raw way is in each round twice: what one is to
// the other says how far the other ratios can be trusted.
//
// BENCH_DIRECTORY: where to write, the system's temporary folder unless told; it should be the disk that data.dir is on.
// BENCH_BYTES: bytes per round and way at most, 256 MiB unless told.
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { encodeBatch } from '../src/kafka/batch.ts'
import type { CapturedBatch } from '../src/wal/messages.ts'
import type { Entrant, Round } from './durable-rounds.ts'
import { loopDelay, part, takeRound } from './durable-rounds.ts'
import type { Group } from './durable-writers.ts'
import { openPooled, openRaw, openWal } from './durable-writers.ts'
import type { Figure } from './figures.ts'
import { figure } from './figures.ts'

const DIRECTORY = process.env['BENCH_DIRECTORY'] ?? tmpdir()
const BYTES = Number(process.env['BENCH_BYTES'] ?? 256 * 1024 ** 2)
/** Even: every other round the order is the opposite. */
const ROUNDS = 8
const PARTITIONS = 6
/** Appends under way where there are several, as of a proxy with busy connections. */
const SEVERAL = 3

const names = {
  one: 'wal, 1 in flight',
  several: `wal, ${SEVERAL} in flight`,
  raw: 'raw',
  again: 'raw again',
  merged: `raw in the groups of wal, ${SEVERAL} in flight`,
  pooled: 'raw in the thread pool'
}
type Way = keyof typeof names

interface Load {
  readonly name: string
  readonly batches: number
  readonly batchBytes: number
  /** Of BYTES: smaller groups take longer. */
  readonly share: number
  readonly ways: readonly Way[]
}

const loads: readonly Load[] = [
  { name: '8 x 64 KiB', batches: 8, batchBytes: 65_536, share: 1, ways: ['raw', 'one', 'merged', 'several', 'again'] },
  {
    name: '8 x 16 KiB',
    batches: 8,
    batchBytes: 16_384,
    share: 1 / 2,
    ways: ['raw', 'one', 'merged', 'several', 'again']
  },
  { name: '1 x 16 KiB', batches: 1, batchBytes: 16_384, share: 1 / 8, ways: ['raw', 'one', 'again'] }
]

const measures: Record<keyof Round, readonly [what: string, unit: string]> = {
  megabytesPerSecond: ['rate', 'MB/s'],
  p50: ['p50', 'ms'],
  p99: ['p99', 'ms'],
  longest: ['longest', 'ms'],
  commitP99: ['p99 of a commit', 'ms'],
  cpuSecondsPerGigabyte: ['CPU', 's/GB'],
  writtenPerByte: ['written per byte', 'B/B'],
  commits: ['commits', 'commits'],
  kibibytesPerCommit: ['per commit', 'KiB']
}

const keys = Object.keys(measures) as (keyof Round)[]

const ratios: readonly (readonly [way: Way, to: Way, measure: keyof Round])[] = [
  ['one', 'raw', 'megabytesPerSecond'],
  ['several', 'raw', 'megabytesPerSecond'],
  ['several', 'merged', 'megabytesPerSecond'],
  ['one', 'raw', 'p50'],
  ['one', 'raw', 'p99'],
  ['one', 'raw', 'commitP99'],
  ['several', 'merged', 'p99'],
  ['again', 'raw', 'megabytesPerSecond'],
  ['again', 'raw', 'p50'],
  ['again', 'raw', 'p99']
]

export async function run(): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const load of loads) figures.push(...(await ofLoad(load)))
  return [...figures, ...(await loopDelays(loads[0]!))]
}

async function ofLoad(load: Load): Promise<Figure[]> {
  const { name, ways } = load
  const groups = makeGroups(load)
  const rounds = new Map(ways.map(way => [way, [] as Round[]]))
  let commits = groups.length
  for (let i = -1; i < ROUNDS; i++) {
    const order = i % 2 === 0 ? ways : ways.toReversed()
    const entrants = order.map(way => entrant(way, way === 'merged' ? regroup(groups, commits) : groups))
    const round = await takeRound(DIRECTORY, entrants)
    commits = round[order.indexOf('several')]?.commits ?? commits
    if (i < 0) continue // it warms up, and tells `merged` its groups
    for (const [place, way] of order.entries()) rounds.get(way)!.push(round[place]!)
  }
  return [
    ...[...rounds].flatMap(([way, taken]) => figuresOf(`${name}, ${names[way]}`, taken)),
    ...ratiosOf(name, rounds)
  ]
}

function entrant(way: Way, groups: readonly Group[]): Entrant {
  const inFlight = way === 'several' ? SEVERAL : 1
  const open = way === 'one' || way === 'several' ? openWal : way === 'pooled' ? openPooled : openRaw
  return { open, groups, inFlight }
}

/** The same batches in so many groups. */
function regroup(groups: readonly Group[], count: number): Group[] {
  const batches = groups.flat()
  return Array.from({ length: count }, (_, i) => part(batches, i, count))
}

/** What the main thread's event loop suffers at full rate, and what the disk and the machine do to it without a WAL. */
async function loopDelays(load: Load): Promise<Figure[]> {
  const groups = makeGroups(load)
  const ways: readonly Way[] = ['pooled', 'one', 'several']
  const delays = ways.map((): number[] => [])
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, way] of ways.entries()) delays[i]!.push(await loopDelay(DIRECTORY, entrant(way, groups)))
  }
  return ways.map((way, i) => figure(`${load.name}, ${names[way]}: event-loop delay p99`, 'ms', delays[i]!))
}

function figuresOf(name: string, rounds: readonly Round[]): Figure[] {
  return keys.map(key => {
    const [what, unit] = measures[key]
    return figure(
      `${name}: ${what}`,
      unit,
      rounds.map(round => round[key])
    )
  })
}

function ratiosOf(load: string, rounds: ReadonlyMap<Way, readonly Round[]>): Figure[] {
  return ratios.flatMap(([way, to, key]) => {
    const [upper, lower] = [rounds.get(way), rounds.get(to)]
    if (upper === undefined || lower === undefined) return []
    const values = upper.map((round, i) => round[key] / lower[i]![key])
    return [figure(`${load}, ${names[way]} / ${names[to]}: ${measures[key][0]}`, 'x', values)]
  })
}

/** Batches of nearly the size: they never fill pages of a disk exactly. */
function makeGroups({ batches, batchBytes, share }: Load): Group[] {
  const count = Math.ceil((BYTES * share) / (batches * batchBytes))
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
