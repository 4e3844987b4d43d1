import { expect, test } from 'vitest'
import { EmbeddedLogs } from '../../src/broker/embedded/embedded-logs.ts'
import { spawnGuarded } from '../support/child.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { valuesOf, wholeLog } from './embedded-world.ts'

const appender = new URL('./embedded-appender.ts', import.meta.url).pathname
const LANES = 4

interface Confirmed {
  readonly lane: number
  readonly sequence: number
  readonly offset: number
}

/** Runs the appender until it has confirmed that many batches, kills it, and gives what it confirmed. */
async function killedAfter(count: number, folder: string, firsts: readonly number[]): Promise<Confirmed[]> {
  const child = spawnGuarded(process.execPath, [appender, folder, ...firsts.map(String)], { stdio: 'pipe' })
  let [output, errors] = ['', '']
  child.process.stdout?.on('data', (data: Buffer) => (output += data))
  child.process.stderr?.on('data', (data: Buffer) => (errors += data))
  const lines = () => output.split('\n').slice(0, -1)
  await until(() => lines().length >= count || child.ended() !== undefined, { what: 'the child confirms', interval: 1 })
  child.signal('SIGKILL')
  await child.exited
  expect(errors).toBe('')
  return lines().map(line => {
    const [lane, sequence, offset] = line.split(' ').map(Number)
    return { lane: lane!, sequence: sequence!, offset: offset! }
  })
}

test('after kill -9 each confirmed batch is where it was said to be, and repeats are known, six times over', async () => {
  await using folder = await tempFolder('broker')
  /** Offsets by lane and sequence number. */
  const confirmed = new Map<string, number>()
  const last = Array.from({ length: LANES }, () => 0)
  for (let round = 0; round < 6; round++) {
    // Each lane goes on with the last batch that was confirmed, and those behind it that were not but may be there.
    for (const { lane, sequence, offset } of await killedAfter(30 + round * 23, folder.path, last)) {
      const known = confirmed.get(`${lane} ${sequence}`)
      expect(offset, `lane ${lane}, sequence ${sequence}, in round ${round}`).toBe(known ?? offset)
      confirmed.set(`${lane} ${sequence}`, offset)
      last[lane] = Math.max(last[lane]!, sequence)
    }
  }

  await using logs = await EmbeddedLogs.open({ directory: folder.path, maxBytes: 64_000_000 })
  const seen = new Map<string, number>()
  for (const [number, partition] of logs.find('orders')!.partitions.entries()) {
    const values = [...valuesOf(await wholeLog(partition))].map(([offset, value]) => {
      const [lane, sequence] = value.split(' ').map(Number)
      return { offset, lane: lane!, sequence: sequence! }
    })
    expect(values.map(({ offset }) => offset)).toEqual(values.map((_, i) => i))
    for (let lane = number; lane < LANES; lane += 2) {
      const sequences = values.filter(value => value.lane === lane).map(({ sequence }) => sequence)
      expect(sequences, `each of lane ${lane} once, in order`).toEqual(sequences.map((_, i) => i))
    }
    for (const { offset, lane, sequence } of values) seen.set(`${lane} ${sequence}`, offset)
  }
  expect(confirmed.size).toBeGreaterThan(300)
  expect([...confirmed].filter(([batch, offset]) => seen.get(batch) !== offset)).toEqual([])
})
