// Numbered appends of one to five batches, so that a test can say of a folder which of them it holds, and whether whole.
import type { CapturedBatch } from '../../src/wal/messages.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { captured, orders } from './batches.ts'

const OFFSETS_EACH = 8

const batchesIn = (number: number) => 1 + (number % 5)

/** What append `number` consists of. */
export function appendOf(number: number): CapturedBatch[] {
  return Array.from({ length: batchesIn(number) }, (_, i) =>
    captured(number * OFFSETS_EACH + i, { size: ((number + i) % 7) * 5000 })
  )
}

/** The numbers of the appends that a folder holds. Throws when it holds half of one. */
export function appendsIn(directory: string): Set<number> {
  using reader = WalReader.open(directory)
  const offsets = reader.entries(orders).map(({ baseOffset }) => baseOffset)
  const found = Map.groupBy(offsets, offset => Math.floor(offset / OFFSETS_EACH))
  for (const [number, rows] of found) {
    if (rows.length !== batchesIn(number)) {
      throw new Error(`append ${number} has ${batchesIn(number)} batches, ${rows.length} are there`)
    }
  }
  return new Set(found.keys())
}
