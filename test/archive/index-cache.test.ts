// Indexes and filters are fetched once, kept under a budget, shared between processes, and fetched again where a file of the
// cache is gone or not what was put there.
import { readdirSync, readFileSync, readlinkSync, rmSync, statSync, truncateSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { IndexCache } from '../../src/archive/index-cache.ts'
import { giveWay } from '../../src/archive/oldest-first.ts'
import type { SegmentManifest } from '../../src/segment/manifest.ts'
import { fileSource, SegmentReader } from '../../src/segment/reader.ts'
import { writeSegment } from '../../src/segment/writer.ts'
import { batch, fetched, plan } from '../segment/segments.ts'
import { flipBit } from '../support/flip.ts'
import type { TempFolder } from '../support/temp.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'

/** Five segments with ten records each, and caches of their indexes in one folder. */
class Shelf implements AsyncDisposable {
  readonly #folder: TempFolder
  readonly segments: { key: string; size: number; manifest: SegmentManifest; path: string }[]
  readonly cacheFolder: string
  /** How often a segment was opened, since something of it had to be fetched. */
  opened = 0

  private constructor(folder: TempFolder) {
    this.#folder = folder
    this.cacheFolder = join(folder.path, 'cache', 'search')
    this.segments = Array.from({ length: 5 }, (_, i) => {
      const [path, key] = [join(folder.path, `${i}.tar.gz`), `cluster/../${i}/\0/orders.tar.gz`]
      const range = { ...plan, baseOffset: 10 * i, nextOffset: 10 * i + 10 }
      return { ...writeSegment(range, fetched(batch(10 * i, 10)), path), key }
    })
  }

  static async make(): Promise<Shelf> {
    return new Shelf(await tempFolder('cache'))
  }

  cache(maxBytes = 2 ** 30): IndexCache {
    return new IndexCache(this.cacheFolder, maxBytes)
  }

  files(): string[] {
    return readdirSync(this.cacheFolder)
      .sort()
      .map(name => join(this.cacheFolder, name))
  }

  /** What a search does with a segment: its filter, then its index. */
  async find(cache: IndexCache, number: number): Promise<number[]> {
    const segment = this.segments[number]!
    const open = () => {
      this.opened++
      return SegmentReader.open(fileSource(segment.path))
    }
    expect((await cache.filter(segment, open))!.mayContain('grain')).toBe(true)
    using lease = await cache.index(segment, open)
    expect(lease.spans).toHaveLength(1)
    return [...lease.index.match(`number${10 * number + 3}`)].map(({ offset }) => offset)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder.dispose()
  }
}

test('what was fetched once is there for this process and the next', async () => {
  await using shelf = await Shelf.make()
  {
    using cache = shelf.cache()
    expect(await shelf.find(cache, 1)).toEqual([13])
    expect(shelf.opened).toBe(2)
    expect(await shelf.find(cache, 1)).toEqual([13])
  }
  using another = shelf.cache()
  expect(await shelf.find(another, 1)).toEqual([13])
  expect(shelf.opened).toBe(2)
})

test('two that ask at once make one request', async () => {
  await using shelf = await Shelf.make()
  using cache = shelf.cache()
  expect(await Promise.all([0, 0, 0].map(number => shelf.find(cache, number)))).toEqual([[3], [3], [3]])
  expect(shelf.opened).toBe(2)
})

test('names of files are of our own making, whatever a key says', async () => {
  await using shelf = await Shelf.make()
  using cache = shelf.cache()
  for (const number of [0, 1]) await shelf.find(cache, number)
  expect(readdirSync(shelf.cacheFolder).filter(name => !/^[0-9a-f]{32}-[0-9a-f]{8}$/.test(name))).toEqual([])
  expect(shelf.files()).toHaveLength(4)
})

test('the least lately used goes first when the budget is reached', async () => {
  await using shelf = await Shelf.make()
  {
    using first = shelf.cache()
    await shelf.find(first, 0)
  }
  const perSegment = shelf.files().reduce((sum, file) => sum + statSync(file).size, 0)
  const old = new Date(Date.now() - 3_600_000)
  for (const file of shelf.files()) utimesSync(file, old, old)
  const budget = 2.5 * perSegment
  {
    using cache = shelf.cache(budget)
    await shelf.find(cache, 1)
  }
  for (const file of shelf.files()) {
    const age = statSync(file).mtimeMs < Date.now() - 3_000_000 ? 7_200_000 : 3_600_000
    const time = new Date(Date.now() - age)
    utimesSync(file, time, time)
  }
  using cache = shelf.cache(budget)
  expect(shelf.opened).toBe(4)
  await shelf.find(cache, 0) // used again: now 1 is the older one
  expect(shelf.opened).toBe(4)
  await shelf.find(cache, 2)
  const total = shelf.files().reduce((sum, file) => sum + statSync(file).size, 0)
  expect(total).toBeLessThanOrEqual(budget)
  using another = shelf.cache(budget)
  shelf.opened = 0
  await shelf.find(another, 0)
  expect(shelf.opened).toBe(0)
  await shelf.find(another, 1)
  expect(shelf.opened).toBeGreaterThan(0)
})

test.for<[what: string, harm: (file: string) => unknown]>([
  ['cut off', file => truncateSync(file, statSync(file).size >> 1)],
  ['empty', file => truncateSync(file, 0)],
  ['of zeros, as after a power cut', file => truncateZeros(file)],
  ['damaged', file => flipBit(file, statSync(file).size >> 1)],
  ['gone', file => rmSync(file)]
])('files that are %s are fetched again', async ([, harm]) => {
  await using shelf = await Shelf.make()
  {
    using cache = shelf.cache()
    await shelf.find(cache, 2)
  }
  const before = shelf.files().map(file => readFileSync(file))
  for (const file of shelf.files()) await harm(file)
  using cache = shelf.cache()
  expect(await shelf.find(cache, 2)).toEqual([23])
  expect(shelf.opened).toBe(4)
  expect(shelf.files().map(file => readFileSync(file))).toEqual(before)
})

function truncateZeros(file: string): void {
  const { size } = statSync(file)
  truncateSync(file, 0)
  truncateSync(file, size)
}

test('what another process drops is gone for us too, and its space is given back', async () => {
  await using shelf = await Shelf.make()
  using cache = shelf.cache()
  expect(await shelf.find(cache, 0)).toEqual([3])
  giveWay(shelf.cacheFolder, 2 ** 60)
  expect(shelf.files()).toEqual([])
  const isOpen = () => openFiles().some(file => file.startsWith(shelf.cacheFolder))
  if (process.platform === 'linux') await until(() => !isOpen(), { what: 'the deleted index is closed' })
  expect(await shelf.find(cache, 0)).toEqual([3])
  expect(shelf.files()).not.toEqual([])
})

/** The files that this process has open. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return []
    }
  })
}

test('without a folder, or with one that cannot be written, all is in memory', async () => {
  await using shelf = await Shelf.make()
  using inMemory = new IndexCache(null, 0)
  using nowhere = new IndexCache('/dev/null/cache', 2 ** 30)
  using tooSmall = shelf.cache(100)
  for (const cache of [inMemory, nowhere, tooSmall]) {
    shelf.opened = 0
    for (let round = 0; round < 3; round++) expect(await shelf.find(cache, 4)).toEqual([43])
    expect(shelf.opened).toBe(2)
  }
})

test('what fails is tried again', async () => {
  await using shelf = await Shelf.make()
  using cache = shelf.cache()
  const broken = () => Promise.reject(new Error('the store is away'))
  const [segment] = shelf.segments
  await expect(cache.filter(segment!, broken)).rejects.toThrow('the store is away')
  await expect(cache.index(segment!, broken)).rejects.toThrow('the store is away')
  expect(await shelf.find(cache, 0)).toEqual([3])
})
