// kill -9 at random moments: what was confirmed is there, and what was not is there whole or not at all.
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { WalReader } from '../../src/wal/reader.ts'
import { Wal } from '../../src/wal/wal.ts'
import { runOrThrow, spawnGuarded } from '../support/child.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { appendOf, appendsIn } from './appends.ts'
import { expected } from './batches.ts'

const appender = new URL('./appender.ts', import.meta.url).pathname
const ROUNDS = 200
/** Each has a folder of its own, which is begun anew after some rounds: a start reads all that is there. */
const LANES = 2
const ROUNDS_PER_FOLDER = 8
/** More than a round makes. */
const APPENDS_PER_ROUND = 100_000

test('after kill -9 every append that was confirmed is there, and none is half there, in 200 rounds', {
  timeout: 300_000
}, async () => {
  const seed = Number(process.env['MILLRACE_SEED'] ?? Date.now() % 2 ** 32)
  const random = randomFrom(seed)
  const plans = Array.from({ length: ROUNDS / ROUNDS_PER_FOLDER }, () =>
    Array.from({ length: ROUNDS_PER_FOLDER }, () => killAt(random))
  )
  await fillCompileCache()
  let confirmed = 0
  const lane = async () => {
    for (let plan = plans.pop(); plan !== undefined; plan = plans.pop()) confirmed += await killOver(plan)
  }
  try {
    await Promise.all(Array.from({ length: LANES }, lane))
  } catch (cause) {
    throw new Error(`with MILLRACE_SEED=${seed}: ${(cause as Error).message}`, { cause })
  }
  expect(confirmed).toBeGreaterThan(ROUNDS)
})

/** Has Node keep what it compiles for the children, which are killed before they could: they start in half the time. */
async function fillCompileCache(): Promise<void> {
  await using folder = await tempFolder('wal')
  await runOrThrow(process.execPath, [appender, folder.path, '0', 'exit'])
}

/** Kills child after child that appends to one folder; returns how many appends were confirmed. */
async function killOver(plan: readonly Kill[]): Promise<number> {
  await using folder = await tempFolder('wal')
  const confirmed = new Set<number>()
  for (const [round, kill] of plan.entries()) {
    const numbers = await appendUntilKilled(folder.path, { first: round * APPENDS_PER_ROUND, kill })
    for (const number of numbers) confirmed.add(number)
    const lost = [...confirmed.difference(appendsIn(folder.path))]
    if (lost.length > 0) throw new Error(`round ${round} (${JSON.stringify(kill)}): appends ${lost} are lost`)
  }
  await using _wal = await Wal.open({ directory: folder.path, maxBytes: 2 ** 30 })
  expectContents(folder.path, appendsIn(folder.path))
  return confirmed.size
}

/** When a child is killed: some ms after its start, or after some of its appends were confirmed. */
interface Kill {
  readonly after: number
  readonly ms: number
}

interface Round {
  /** The number of its first append. */
  readonly first: number
  readonly kill: Kill
}

/** A fifth dies while it starts: it recovers what the ones before it left, and begins a file. */
function killAt(random: () => number): Kill {
  return random() < 0.2 ? { after: 0, ms: 100 + random() * 200 } : { after: 1 + random() * 8, ms: random() * 20 }
}

async function appendUntilKilled(directory: string, { first, kill }: Round): Promise<number[]> {
  const child = spawnGuarded(process.execPath, [appender, directory, String(first)], {
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let [output, errors] = ['', '']
  child.process.stdout?.on('data', data => (output += data))
  child.process.stderr?.on('data', data => (errors += data))
  if (kill.after > 0) {
    await until(() => output.split('\n').length > kill.after || child.ended(), {
      what: 'the child confirms its appends',
      interval: 2,
      timeout: 60_000
    })
  }
  await pause(kill.ms) // not to wait for something, but to hit any moment
  child.signal('SIGKILL')
  await child.exited
  expect(errors).toBe('')
  return output.split('\n').slice(0, -1).map(Number)
}

function expectContents(directory: string, appends: Iterable<number>): void {
  const wanted = new Map([...appends].flatMap(number => appendOf(number)).map(batch => [batch.baseOffset, batch]))
  using reader = WalReader.open(directory)
  for (const { entry, error } of reader.verifyAll()) {
    if (error !== undefined) throw error
    const record = reader.read(entry!)
    if (record.version !== 2 || !record.batch.equals(expected(wanted.get(entry!.baseOffset)!))) {
      throw new Error(`another batch lies at offset ${entry!.baseOffset}`)
    }
  }
}

/** Numbers from 0 to 1, the same for the same seed (the mulberry32 generator). */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
