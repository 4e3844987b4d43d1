// What may become of a catalog: its file is torn, as by a power loss, for it is written without fsync; its disk is full; the archive is
// another one now. It is a cache: the archive is asked instead.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { expect, test } from 'vitest'
import { Archive } from '../../src/archive/archive.ts'
import type { CatalogOwner } from '../../src/archive/catalog.ts'
import { Catalog } from '../../src/archive/catalog.ts'
import { openObjectStore } from '../../src/archive/object-store.ts'
import { canMount, smallDisk } from '../support/small-disk.ts'
import { tempFolder } from '../support/temp.ts'
import { orders } from '../wal/batches.ts'
import type { SmallArchive } from './small-archive.ts'
import { batchAt, smallArchive } from './small-archive.ts'

const PAGE_BYTES = 4096
/** So long that a manifest takes pages of its own, of which SQLite checks nothing. */
const createdBy = 'somebody '.repeat(1000)

function owning() {
  const [damage, failures]: [unknown[], unknown[]] = [[], []]
  const owner: CatalogOwner = { damaged: error => damage.push(error), failed: error => failures.push(error) }
  return { owner, damage, failures }
}

const openArchive = async ({ url }: SmallArchive, catalog: Catalog) => new Archive(await openObjectStore(url), catalog)

interface Tear {
  readonly lost: string
  readonly isOpen: boolean
  readonly tear: (content: Buffer, file: string) => Buffer
}

test.each<Tear>([
  { lost: 'all', isOpen: false, tear: (file: Buffer) => file.fill(0xa5) },
  { lost: 'all but the first page', isOpen: false, tear: (file: Buffer) => file.fill(0xa5, PAGE_BYTES) },
  { lost: 'all but the first page', isOpen: true, tear: (file: Buffer) => file.fill(0xa5, PAGE_BYTES) },
  { lost: 'a part of a manifest', isOpen: false, tear: zeroManifest },
  { lost: 'a part of what a segment holds', isOpen: false, tear: cutBatches }
])('a catalog that has lost $lost begins anew; already open: $isOpen', async ({ isOpen, tear }) => {
  await using folder = await tempFolder('catalog')
  await using small = await smallArchive()
  await small.append(orders, { batches: [batchAt(0, 1)], nextOffset: 2, createdBy })
  await small.append(orders, { batches: [batchAt(2, 3)], nextOffset: 4, createdBy })
  const chain = await small.archive.walk(orders)
  const file = join(folder.path, 'catalog.db')
  const { owner, damage, failures } = owning()
  const openCatalog = () => Catalog.open(file, small.url, owner)
  const open = () => openArchive(small, openCatalog())
  const look = async (archive: Archive) => {
    expect(await archive.walk(orders)).toEqual(chain)
    expect(await archive.batchesIn(chain.links[1]!)).toMatchObject([{ baseOffset: 2, lastOffset: 3 }])
  }
  const spoil = async () => await writeFile(file, tear(await readFile(file), file))
  {
    await using archive = await open()
    await look(archive)
  }
  if (!isOpen) await spoil()
  {
    await using archive = await open()
    if (isOpen) await spoil()
    for (let time = 0; time < 2; time++) await look(archive)
  }
  expect(damage).toHaveLength(1)
  // What was read then is known the next time.
  using catalog = openCatalog()
  for (const { key, manifest } of chain.links) expect(catalog.get(key)?.manifest).toEqual(manifest)
  const { key, manifest } = chain.links[1]!
  expect(catalog.batches(key, manifest.logSha256)).toHaveLength(1)
  expect(damage).toHaveLength(1)
  expect(failures).toEqual([])
})

/** Zeros a sector of it. */
function zeroManifest(file: Buffer): Buffer {
  const at = file.indexOf(createdBy.slice(0, 1024))
  return file.fill(0, at + 256, at + 768)
}

/** Takes a byte of each. */
function cutBatches(_: Buffer, file: string): Buffer {
  const db = new Database(file)
  db.exec('UPDATE batches SET packed = substr(packed, 2)')
  db.close()
  return readFileSync(file)
}

test.each([
  ['damaged', (file: string) => writeFile(file, Buffer.alloc(3 * PAGE_BYTES, 0xa5))],
  ['of an earlier version', beginAsVersionOne],
  ['not there', async () => {}]
])('only the owner begins a catalog anew that is %s; others go without it until then', async (what, begin) => {
  await using folder = await tempFolder('catalog')
  await using small = await smallArchive()
  await small.append(orders, { batches: [batchAt(0, 1)], nextOffset: 2 })
  const chain = await small.archive.walk(orders)
  const file = join(folder.path, 'catalog.db')
  await begin(file)
  const before = await contentOf(file)
  await using others = await openArchive(small, Catalog.open(file, small.url))
  expect(await others.walk(orders)).toEqual(chain)
  expect(await others.batchesIn(chain.links[0]!)).toHaveLength(1)
  expect(await contentOf(file)).toEqual(before)

  const { owner, damage, failures } = owning()
  await using owned = await openArchive(small, Catalog.open(file, small.url, owner))
  expect(damage).toHaveLength(what === 'damaged' ? 1 : 0)
  expect(failures).toEqual([])
  await owned.walk(orders)
  using another = Catalog.open(file, small.url)
  expect(another.get(chain.links[0]!.key)?.manifest).toEqual(chain.links[0]!.manifest)
})

/** A catalog as version 1 of it had its tables, and with a row that no later version would have. */
async function beginAsVersionOne(file: string): Promise<void> {
  const db = new Database(file)
  db.pragma('user_version = 1')
  db.exec(`
    CREATE TABLE segment (archive TEXT, key TEXT, size INTEGER, sha256 TEXT, manifest TEXT, PRIMARY KEY (archive, key));
    CREATE TABLE batches (archive TEXT, key TEXT, packed BLOB, PRIMARY KEY (archive, key));
    INSERT INTO segment VALUES ('file:x', 'key', 1, NULL, '{}')`)
  db.close()
}

const contentOf = (file: string) => readFile(file).catch(() => null)

test('what a segment holds is what it holds now, also in an archive that was removed and begun anew with one of the same size', async () => {
  await using folder = await tempFolder('catalog')
  await using small = await smallArchive()
  const openCatalog = () => Catalog.open(join(folder.path, 'catalog.db'), small.url, owning().owner)
  await using archive = await openArchive(small, openCatalog())
  const look = async (looking: Archive) => {
    const { links } = await looking.walk(orders)
    return { links, batches: await looking.batchesIn(links[0]!) }
  }
  /** These hardly compress: each makes a segment longer, by a byte at most. */
  const letters = createHash('sha512').update('somebody').digest('hex')
  await small.append(orders, { batches: [batchAt(0, 1, 2)], nextOffset: 3, createdBy: letters.slice(0, 32) })
  const first = await look(archive)
  expect(first.batches).toMatchObject([{ baseOffset: 0, lastOffset: 2 }])
  const sizeAtFirst = first.links[0]!.size
  let there = first
  for (let length = 0, size = 0; size !== sizeAtFirst; length += sizeAtFirst - size) {
    for (const name of await readdir(small.folder)) await rm(join(small.folder, name), { recursive: true })
    await mkdir(join(small.folder, '.tmp'))
    await using another = await small.reopen()
    const createdBy = letters.slice(0, length)
    await another.createRoot(orders, 0, createdBy)
    await small.append(orders, { batches: [batchAt(0, 2)], nextOffset: 3, createdBy })
    there = await look(another)
    size = there.links[0]!.size
  }
  expect(await look(archive)).toEqual(there)
  await using restarted = await openArchive(small, openCatalog())
  expect(await look(restarted)).toEqual(there)
})

test('a catalog that cannot be opened fails nobody, and is told of once', async () => {
  await using folder = await tempFolder('catalog')
  await using small = await smallArchive()
  await small.append(orders, { batches: [batchAt(0, 1)], nextOffset: 2 })
  const chain = await small.archive.walk(orders)
  const { owner, damage, failures } = owning()
  await using archive = await openArchive(small, Catalog.open(folder.path, small.url, owner))
  for (let time = 0; time < 2; time++) {
    expect(await archive.walk(orders)).toEqual(chain)
    expect(await archive.batchesIn(chain.links[0]!)).toHaveLength(1)
  }
  expect(failures).toMatchObject([{ code: 'SQLITE_CANTOPEN' }])
  expect(damage).toEqual([])
})

test.skipIf(!canMount).each([true, false])(
  'a full disk fails nobody, and is told of once; full from the start: %s',
  async isFullAtStart => {
    await using disk = await smallDisk(1)
    await using small = await smallArchive()
    // More than SQLite finds room for in pages that it has.
    for (let offset = 0; offset < 40; offset += 2) {
      await small.append(orders, { batches: [batchAt(offset, offset + 1)], nextOffset: offset + 2, createdBy })
    }
    const chain = await small.archive.walk(orders)
    const file = join(disk.path, 'catalog.db')
    const { owner, damage, failures } = owning()
    if (isFullAtStart) await fill(disk.path)
    await using archive = await openArchive(small, Catalog.open(file, small.url, owner))
    if (!isFullAtStart) await fill(disk.path)
    for (let time = 0; time < 2; time++) {
      expect(await archive.walk(orders)).toEqual(chain)
      for (const [i, link] of chain.links.entries()) {
        expect(await archive.batchesIn(link)).toMatchObject([{ baseOffset: 2 * i, lastOffset: 2 * i + 1 }])
      }
    }
    expect(damage).toEqual([])
    expect(failures).toHaveLength(1)
    // With room again it goes on.
    await rm(join(disk.path, 'fill'))
    const { baseOffset } = await small.append(orders, { batches: [batchAt(40)], nextOffset: 41 })
    const { links } = await archive.walk(orders)
    using another = Catalog.open(file, small.url)
    expect(another.get(links.at(-1)!.key)?.manifest).toMatchObject({ baseOffset })
    expect(failures).toHaveLength(1)
  }
)

/** Takes all that is free there. */
async function fill(folder: string): Promise<void> {
  const file = join(folder, 'fill')
  expect(() => execFileSync('dd', ['if=/dev/zero', `of=${file}`, 'bs=4096'], { stdio: 'ignore' })).toThrow()
  expect((await stat(file)).size).toBeGreaterThan(0)
}
