// What a reader holds on to beside the thread that writes, and deletes.
import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { walPath } from '../../src/wal/files.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { Wal } from '../../src/wal/wal.ts'
import { tempFolder } from '../support/temp.ts'
import { captured, orders } from './batches.ts'

test('a look for deleted files that fails does no harm: the next one closes them', async () => {
  await using temp = await tempFolder('reader')
  const [directory, away] = [join(temp.path, 'wal'), join(temp.path, 'away')]
  const wal = await Wal.open({ directory, maxBytes: 2 ** 30 })
  await wal.append([captured(0)])
  await wal.close()
  using reader = WalReader.open(directory)
  const [entry] = reader.entries(orders)
  await rename(directory, away)
  reader.closeDeleted()
  await rename(away, directory)
  expect(() => reader.read(entry!)).not.toThrow()
  await rm(walPath(directory, 1))
  expect(() => reader.read(entry!)).not.toThrow()
  reader.closeDeleted()
  expect(() => reader.read(entry!)).toThrow(expect.objectContaining({ code: 'OBJECT_MISSING' }))
})
