// A catalog whose file was torn, as by a power loss, for it is written without fsync: the archive is asked instead.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Archive } from '../../src/archive/archive.ts'
import { Catalog } from '../../src/archive/catalog.ts'
import { openObjectStore } from '../../src/archive/object-store.ts'
import { tempFolder } from '../support/temp.ts'
import { orders } from '../wal/batches.ts'
import { batchAt, smallArchive } from './small-archive.ts'

const PAGE_BYTES = 4096
/** So long that a manifest takes pages of its own, of which SQLite checks nothing. */
const createdBy = 'somebody '.repeat(1000)

test.each([
  { lost: 'all', isOpen: false, tear: (file: Buffer) => file.fill(0xa5) },
  { lost: 'all but the first page', isOpen: false, tear: (file: Buffer) => file.fill(0xa5, PAGE_BYTES) },
  { lost: 'all but the first page', isOpen: true, tear: (file: Buffer) => file.fill(0xa5, PAGE_BYTES) },
  { lost: 'a part of a manifest', isOpen: false, tear: zeroManifest }
])('a catalog that has lost $lost begins anew; already open: $isOpen', async ({ isOpen, tear }) => {
  await using folder = await tempFolder('catalog')
  await using small = await smallArchive()
  await small.append(orders, { batches: [batchAt(0, 1)], nextOffset: 2, createdBy })
  await small.append(orders, { batches: [batchAt(2, 3)], nextOffset: 4, createdBy })
  const chain = await small.archive.walk(orders)
  const file = join(folder.path, 'catalog.db')
  const damage: unknown[] = []
  const openCatalog = () => Catalog.open(file, small.url, error => damage.push(error))
  const open = async () => new Archive(await openObjectStore(small.url), openCatalog())
  const look = async (archive: Archive) => {
    expect(await archive.walk(orders)).toEqual(chain)
    expect(await archive.batchesIn(chain.links[1]!)).toMatchObject([{ baseOffset: 2, lastOffset: 3 }])
  }
  const spoil = async () => await writeFile(file, tear(await readFile(file)))
  {
    await using archive = await open()
    await look(archive)
  }
  if (!isOpen) await spoil()
  {
    await using archive = await open()
    if (isOpen) await spoil()
    await look(archive)
  }
  expect(damage).toHaveLength(1)
  // What was read then is known the next time.
  using catalog = openCatalog()
  for (const { key, manifest } of chain.links) expect(catalog.get(key)?.manifest).toEqual(manifest)
  expect(catalog.batches(chain.links[1]!.key)).toHaveLength(1)
  expect(damage).toHaveLength(1)
})

/** Zeros a sector of it. */
function zeroManifest(file: Buffer): Buffer {
  const at = file.indexOf(createdBy.slice(0, 1024))
  return file.fill(0, at + 256, at + 768)
}
