import { mkdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { WarmSegments } from '../../src/archive/warm-segments.ts'
import { freeBytes } from '../../src/wal/disk-reserve.ts'
import { filesBelow } from '../support/files.ts'
import { canMount, smallDisk } from '../support/small-disk.ts'
import { tempFolder } from '../support/temp.ts'

const MiB = 2 ** 20

/** Copies of 1 MiB in a folder of the disk, `0` the oldest. */
async function copies(path: string, count: number): Promise<WarmSegments> {
  const building = join(path, 'building')
  const warm = new WarmSegments(join(path, 'warm'), 100 * MiB)
  await mkdir(building)
  for (let i = 0; i < count; i++) {
    const file = join(building, 'segment')
    await writeFile(file, Buffer.alloc(MiB))
    await utimes(file, i, i)
    warm.keep(`orders/${i}.tar.gz`, file)
  }
  return warm
}

const names = async (path: string) => (await filesBelow(join(path, 'warm'))).map(({ name }) => name).sort()

test.skipIf(!canMount)(
  'the oldest copies give way to what the disk needs (needs root), and no more than that',
  async () => {
    await using disk = await smallDisk(16)
    const warm = await copies(disk.path, 5)
    warm.giveWay(freeBytes(disk.path))
    expect(await names(disk.path)).toHaveLength(5)
    warm.giveWay(freeBytes(disk.path) + 1.5 * MiB)
    expect(await names(disk.path)).toEqual(['/orders/2.tar.gz', '/orders/3.tar.gz', '/orders/4.tar.gz'])
  }
)

test('where all of them are too little, all go; where there are none, nothing happens', async () => {
  await using folder = await tempFolder('warm')
  new WarmSegments(join(folder.path, 'warm'), 100 * MiB).giveWay(2 ** 60)
  const warm = await copies(folder.path, 2)
  warm.giveWay(2 ** 60)
  expect(await names(folder.path)).toEqual([])
})
