// Rounds in which ways to write take turns on one disk, and what it took each of them.
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync
} from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Group, Open, Writer } from './durable-writers.ts'
import { sizeOf } from './durable-writers.ts'

/** One of those that take turns. */
export interface Entrant {
  readonly open: Open
  readonly groups: readonly Group[]
  /** Calls under way at any time. */
  readonly inFlight: number
}

/** What a round took an entrant. */
export interface Round {
  readonly megabytesPerSecond: number
  /** Milliseconds until a group was durable. */
  readonly p50: number
  readonly p99: number
  readonly longest: number
  /** Milliseconds of a commit alone. */
  readonly commitP99: number
  readonly cpuSecondsPerGigabyte: number
  /** Bytes that went to the disk for a byte of batches, the opening and closing of files included. */
  readonly writtenPerByte: number
  readonly commits: number
  readonly kibibytesPerCommit: number
}

/** Turns of a round. The first does not count: it finds new files, and a thread whose code is not compiled yet. */
const TURNS = 9

/**
 * All entrants are open at once and take turns, in the opposite order every other time, so that whatever else the machine
 * does falls on all of them alike. Returns what it took each.
 */
export async function takeRound(parent: string, entrants: readonly Entrant[]): Promise<Round[]> {
  return inFolder(parent, async folder => {
    const runners: Runner[] = []
    for (const [i, entrant] of entrants.entries()) runners.push(await Runner.open(entrant, join(folder, String(i))))
    for (let turn = 0; turn < TURNS; turn++) {
      for (const runner of turn % 2 === 0 ? runners : runners.toReversed()) {
        touchMemory(folder, (2 * sizeOf(runner.entrant.groups)) / TURNS)
        await runner.takeTurn(turn)
      }
    }
    const rounds: Round[] = []
    for (const runner of runners) rounds.push(await runner.end())
    return rounds
  })
}

/** At full rate: the 99th percentile of the milliseconds between two ticks of the main thread's timer, 1 ms when nothing delays it. */
export async function loopDelay(parent: string, { groups, inFlight, open }: Entrant): Promise<number> {
  return inFolder(parent, async folder => {
    touchMemory(folder, 2 * sizeOf(groups))
    const writer = await open(folder, groups)
    const delay = monitorEventLoopDelay({ resolution: 1 })
    delay.enable()
    await writeAll(groups, inFlight, writer)
    delay.disable()
    await writer.close()
    writer.check()
    return delay.percentile(99) / 1e6
  })
}

/** An entrant in a round, and what was counted of it. */
class Runner {
  readonly entrant: Entrant
  readonly #directory: string
  readonly #writer: Writer
  #written: number
  readonly #times: number[] = []
  readonly #commitTimes: number[] = []
  #bytes = 0
  #ms = 0
  #cpuMicroseconds = 0

  private constructor(entrant: Entrant, directory: string, writer: Writer, written: number) {
    this.entrant = entrant
    this.#directory = directory
    this.#writer = writer
    this.#written = written
  }

  static async open(entrant: Entrant, directory: string): Promise<Runner> {
    mkdirSync(directory)
    const before = bytesWritten()
    const writer = await entrant.open(directory, entrant.groups)
    return new Runner(entrant, directory, writer, bytesWritten() - before)
  }

  async takeTurn(turn: number): Promise<void> {
    const groups = part(this.entrant.groups, turn, TURNS)
    const before = bytesWritten()
    const cpu = process.cpuUsage()
    const start = performance.now()
    const times = await writeAll(groups, this.entrant.inFlight, this.#writer)
    const ms = performance.now() - start
    const { user, system } = process.cpuUsage(cpu)
    const commitTimes = this.#writer.takeCommitTimes?.() ?? times
    this.#written += bytesWritten() - before
    if (turn === 0) return
    this.#times.push(...times)
    this.#commitTimes.push(...commitTimes)
    this.#bytes += sizeOf(groups)
    this.#ms += ms
    this.#cpuMicroseconds += user + system
  }

  async end(): Promise<Round> {
    const before = bytesWritten()
    await this.#writer.close()
    const written = isLinux ? this.#written + bytesWritten() - before : sizeOfFiles(this.#directory)
    const bytes = sizeOf(this.entrant.groups)
    if (written < bytes) throw new Error(`${this.#directory} is not on a disk: set BENCH_DIRECTORY`)
    const commits = this.#writer.check()
    const times = this.#times.toSorted((a, b) => a - b)
    const commitTimes = this.#commitTimes.toSorted((a, b) => a - b)
    return {
      megabytesPerSecond: this.#bytes / 1e3 / this.#ms,
      p50: times[Math.floor(times.length * 0.5)]!,
      p99: times[Math.floor(times.length * 0.99)]!,
      longest: times.at(-1)!,
      commitP99: commitTimes[Math.floor(commitTimes.length * 0.99)]!,
      cpuSecondsPerGigabyte: (this.#cpuMicroseconds * 1e3) / this.#bytes,
      writtenPerByte: written / bytes,
      commits,
      kibibytesPerCommit: bytes / 1024 / commits
    }
  }
}

/** One of `parts` equal parts of a list, counted from 0. */
export function part<T>(list: readonly T[], i: number, parts: number): T[] {
  return list.slice(Math.round((i * list.length) / parts), Math.round(((i + 1) * list.length) / parts))
}

/** Returns how many milliseconds each group took. */
async function writeAll(groups: readonly Group[], inFlight: number, writer: Writer): Promise<number[]> {
  const times: number[] = []
  const next = groups.values()
  const work = async () => {
    for (const group of next) {
      const begin = performance.now()
      await writer.write(group)
      times.push(performance.now() - begin)
    }
  }
  await Promise.all(Array.from({ length: inFlight }, work))
  return times
}

/** The folder is gone afterwards, from the disk too: the next fdatasync is not to pay for that. */
async function inFolder<T>(parent: string, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(parent, 'millrace-bench-'))
  try {
    return await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
    if (process.platform !== 'win32') syncFolder(parent) // there a folder cannot be opened
  }
}

function syncFolder(path: string): void {
  const fd = openSync(path, 'r')
  fsyncSync(fd)
  closeSync(fd)
}

const mebibyte = Buffer.alloc(1024 * 1024, 1)

/**
 * Fills the page cache with so many bytes and empties it again, without the disk. A virtual machine gives free memory back
 * to its host within seconds and gets it again page by page: whoever writes first then pays more for that than for the disk.
 */
function touchMemory(folder: string, bytes: number): void {
  const path = join(folder, 'touch')
  const fd = openSync(path, 'w')
  for (let written = 0; written < bytes; written += mebibyte.length) writeSync(fd, mebibyte)
  closeSync(fd)
  rmSync(path)
}

const isLinux = process.platform === 'linux'

/** What all threads of this process gave to disks so far; always 0 where it is not Linux. */
function bytesWritten(): number {
  return isLinux ? Number(/^write_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))![1]) : 0
}

function sizeOfFiles(directory: string): number {
  return readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
}
