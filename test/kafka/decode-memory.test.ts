// Going through many compressed batches at one go, as sealing does, takes no more memory than a few of them.
import { expect, test } from 'vitest'
import { encodeBatch } from '../../src/kafka/batch.ts'
import { decodeApart } from './peak-memory.ts'

const MIB = 2 ** 20
const BATCHES = 512

test.each(['gzip', 'snappy', 'lz4', 'zstd'] as const)('half a GiB of %s', async codec => {
  const value = Buffer.alloc(MIB, 'words that come again, and ')
  const records = [{ offset: 0, timestamp: 1_764_000_000_000, key: null, value, headers: [] }]
  const batch = encodeBatch(records, { codec })
  const { codes, grownBytes } = await decodeApart(Array(BATCHES).fill(batch), 2 * MIB)
  expect(codes).toEqual(Array(BATCHES).fill(null))
  expect(grownBytes / MIB).toBeLessThan(200)
})
