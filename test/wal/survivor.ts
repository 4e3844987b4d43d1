// A process whose WAL fails at some point: it goes on appending until ten appends have been stored after that, and prints as JSON
// what became of each append and of the WAL's health. Arguments: the folder; how many appends are under way at a time, 4 unless told;
// and the size of a value, for appends of one batch each.
import { MillraceError } from '../../src/errors.ts'
import { Wal } from '../../src/wal/wal.ts'
import { until } from '../support/until.ts'
import { appendOf } from './appends.ts'
import { captured } from './batches.ts'

export interface Survived {
  /** The appends that resolved. */
  readonly stored: number[]
  /** Those that were rejected, with the health at that moment. */
  readonly refused: { number: number; code: string; retriable: boolean; message: string; healthy: boolean }[]
  /** The changes of health, as they came. */
  readonly health: boolean[]
}

const AFTERWARDS = 10

const [directory, lanes = 4, size] = process.argv.slice(2)
const wal = await Wal.open({ directory: directory!, maxBytes: 1024 ** 3 })
const report: Survived = { stored: [], refused: [], health: [] }
wal.onHealthChange(({ ok }) => report.health.push(ok))
let [next, afterwards] = [0, 0]

async function lane(): Promise<void> {
  while (afterwards < AFTERWARDS) {
    const number = next++
    if (number > 2000) throw new Error('the WAL did not fail')
    try {
      await wal.append(size === undefined ? appendOf(number) : [captured(number, { size: Number(size) })])
      if (!wal.health.ok) throw new Error(`append ${number} was stored after one before it had failed`)
      report.stored.push(number)
      if (report.refused.length > 0) afterwards++
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error
      const { code, retriable, message } = error
      report.refused.push({ number, code, retriable, message, healthy: wal.health.ok })
      await until(() => wal.health.ok, { what: 'the WAL is healthy again' })
    }
  }
}

await Promise.all(Array.from({ length: Number(lanes) }, lane))
await wal.close()
console.log(JSON.stringify(report))
