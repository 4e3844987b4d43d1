// How fast Wal.append makes groups of batches durable, against a bare writev and fdatasync of the same bytes in the same
// groups. Rounds alternate, figures are medians; what was appended is read back before any number is returned.
import { randomBytes } from 'node:crypto'
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, statSync, writevSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeBatch } from '../src/kafka/batch.ts'
import type { CapturedBatch } from '../src/wal/messages.ts'
import { WalReader } from '../src/wal/reader.ts'
import { Wal } from '../src/wal/wal.ts'
import type { Figure } from './figures.ts'
import { figure } from './figures.ts'

export interface WalBenchOptions {
  /** Where to write; the system's temporary folder unless told. It should be the disk that data.dir is on. */
  readonly directory?: string
  /** Bytes appended per round and way. */
  readonly bytes?: number
  readonly rounds?: number
}

interface Round {
  readonly megabytesPerSecond: number
  readonly p50: number
  readonly p99: number
  readonly writtenPerByte: number
}

const BATCHES = 8
const PARTITIONS = 6

export async function run(options: WalBenchOptions = {}): Promise<Figure[]> {
  const { directory = tmpdir(), bytes = 200_000_000, rounds = 3 } = options
  const results: Figure[] = []
  for (const kibibytes of [64, 16]) {
    const groups = makeGroups(kibibytes * 1024, Math.ceil(bytes / (BATCHES * kibibytes * 1024)))
    const wal: Round[] = []
    const bare: Round[] = []
    for (let round = 0; round < rounds; round++) {
      wal.push(await measureWal(directory, groups))
      bare.push(await measureBare(directory, groups))
    }
    const group = `${BATCHES} x ${kibibytes} KiB`
    results.push(...report(`wal append, ${group}`, wal), ...report(`writev + fdatasync, ${group}`, bare))
    const ratios = wal.map((round, i) => round.megabytesPerSecond / bare[i]!.megabytesPerSecond)
    results.push(figure(`wal append / writev + fdatasync, ${group}`, 'x', ratios))
  }
  return results
}

function makeGroups(batchBytes: number, count: number): CapturedBatch[][] {
  const wires = Array.from({ length: 16 }, () =>
    encodeBatch([{ offset: 0, timestamp: 0, key: null, value: randomBytes(batchBytes - 75), headers: [] }]).toWire()
  )
  const next = new Array<number>(PARTITIONS).fill(0)
  return Array.from({ length: count }, (_, group) =>
    Array.from({ length: BATCHES }, (_, i): CapturedBatch => {
      const partition = (group * BATCHES + i) % PARTITIONS
      const offset = next[partition]!++
      const stream = { clusterId: 'bench', topic: 'bench', topicId: 'AAAAAAAAAAAAAAAAAAAAAA', partition }
      const wire = wires[(group + i) % wires.length]!
      return { stream, baseOffset: offset, lastOffset: offset, recordCount: 1, flags: 0, chunks: [wire] }
    })
  )
}

async function measureWal(parent: string, groups: CapturedBatch[][]): Promise<Round> {
  const directory = mkdtempSync(join(parent, 'millrace-bench-'))
  try {
    await using wal = await Wal.open({ directory, maxBytes: 64 * 1024 ** 3 })
    const measured = await measure(groups, group => wal.append(group))
    readBack(directory, groups)
    return measured(wal.bytes)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function readBack(directory: string, groups: CapturedBatch[][]): void {
  using reader = WalReader.open(directory)
  let found = 0
  for (const { error } of reader.verifyAll()) {
    if (error !== undefined) throw error
    found += 1
  }
  if (found !== groups.length * BATCHES)
    throw new Error(`${found} batches were read back of ${groups.length * BATCHES}`)
}

async function measureBare(parent: string, groups: CapturedBatch[][]): Promise<Round> {
  const directory = mkdtempSync(join(parent, 'millrace-bench-'))
  const path = join(directory, 'log')
  const fd = openSync(path, 'a')
  try {
    const measured = await measure(groups, group => {
      writevSync(
        fd,
        group.flatMap(({ chunks }) => chunks)
      )
      fdatasyncSync(fd)
    })
    return measured(statSync(path).size)
  } finally {
    closeSync(fd)
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Runs one group after the other; the result wants to know how many bytes the disk holds now. */
async function measure(groups: CapturedBatch[][], write: (group: CapturedBatch[]) => Promise<void> | void) {
  const bytes = groups.flat().reduce((sum, { chunks }) => sum + chunks[0]!.length, 0)
  const times: number[] = []
  const start = performance.now()
  for (const group of groups) {
    const begin = performance.now()
    await write(group)
    times.push(performance.now() - begin)
  }
  const seconds = (performance.now() - start) / 1000
  times.sort((a, b) => a - b)
  return (onDisk: number): Round => ({
    megabytesPerSecond: bytes / 1e6 / seconds,
    p50: times[Math.floor(times.length * 0.5)]!,
    p99: times[Math.floor(times.length * 0.99)]!,
    writtenPerByte: onDisk / bytes
  })
}

function report(name: string, rounds: readonly Round[]): Figure[] {
  return [
    figure(
      `${name}: rate`,
      'MB/s',
      rounds.map(round => round.megabytesPerSecond)
    ),
    figure(
      `${name}: p50`,
      'ms',
      rounds.map(round => round.p50)
    ),
    figure(
      `${name}: p99`,
      'ms',
      rounds.map(round => round.p99)
    ),
    figure(
      `${name}: written per byte`,
      'B/B',
      rounds.map(round => round.writtenPerByte)
    )
  ]
}
