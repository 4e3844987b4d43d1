// What building a segment takes of memory does not grow with the segment.
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { encodeBatch } from '../../src/kafka/batch.ts'
import { Wal } from '../../src/wal/wal.ts'
import { tempFolder } from '../support/temp.ts'
import { orders } from '../wal/batches.ts'
import { buildApart } from './build-apart.ts'

const MIB = 2 ** 20
const LOG_MIB = 256
const PER_BATCH = 16

test('a segment of 256 MiB is built from the WAL in less memory than half of it', { timeout: 300_000 }, async () => {
  await using folder = await tempFolder('memory')
  const directory = join(folder.path, 'wal')
  {
    await using wal = await Wal.open({ directory, maxBytes: 2 ** 30 })
    for (let i = 0; i < LOG_MIB; i++) {
      const baseOffset = i * PER_BATCH
      const lastOffset = baseOffset + PER_BATCH - 1
      await wal.append([
        { stream: orders, baseOffset, lastOffset, recordCount: PER_BATCH, flags: 0, chunks: [batchOfMib(baseOffset)] }
      ])
    }
  }
  const { logBytes, records, grownBytes } = await buildApart(directory, join(folder.path, 'segment.tar.gz'))
  expect(records).toBe(LOG_MIB * PER_BATCH)
  expect(logBytes).toBeGreaterThan(LOG_MIB * MIB)
  expect(grownBytes / MIB).toBeLessThan(LOG_MIB / 2)
})

/** Few words, so that it is the log that is large. */
function batchOfMib(baseOffset: number): Buffer {
  const filler = '-'.repeat(MIB / PER_BATCH)
  const records = Array.from({ length: PER_BATCH }, (_, i) => {
    const value = Buffer.from(`${filler} record ${baseOffset + i}`)
    return { offset: baseOffset + i, timestamp: 1_764_000_000_000, key: null, value, headers: [] }
  })
  return encodeBatch(records).toWire()
}
