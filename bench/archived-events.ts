// What the search index of archived order events takes and costs, and searches of an archive of which nothing is at hand.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Link } from '../src/archive/archive.ts'
import { Archive } from '../src/archive/archive.ts'
import { Catalog } from '../src/archive/catalog.ts'
import { IndexCache } from '../src/archive/index-cache.ts'
import { openObjectStore } from '../src/archive/object-store.ts'
import { search } from '../src/search/search.ts'
import { parseSelection } from '../src/search/selection.ts'
import { SegmentReader } from '../src/segment/reader.ts'
import { SearchIndexBuilder } from '../src/segment/search-index.ts'
import { decodeToc, MAX_TOC_BYTES } from '../src/segment/toc.ts'
import type { S3Address } from '../test/support/s3.ts'
import { tempFolder } from '../test/support/temp.ts'
import type { Figure } from './figures.ts'
import { figure, median } from './figures.ts'
import type { OrderEvent } from './order-events.ts'

interface ArchivePlace {
  readonly url: string
  readonly s3: S3Address
}

async function openArchive({ url, s3 }: ArchivePlace, catalog: string | null): Promise<Archive> {
  process.env['AWS_ACCESS_KEY_ID'] = s3.accessKeyId
  process.env['AWS_SECRET_ACCESS_KEY'] = s3.secretAccessKey
  const store = await openObjectStore(url, { create: false, s3: { endpoint: s3.endpoint, region: s3.region } })
  return new Archive(store, Catalog.open(catalog, url))
}

async function linksOf(archive: Archive): Promise<Link[]> {
  const links: Link[] = []
  for await (const stream of archive.partitions()) links.push(...(await archive.walk(stream)).links)
  return links
}

/** Builds the index of each segment once more, a record at a time as they are read from the log. */
export async function* indexCosts(place: ArchivePlace, rounds: number): AsyncGenerator<Figure> {
  await using archive = await openArchive(place, null)
  await using folder = await tempFolder('bench')
  const links = await linksOf(archive)
  yield figure('segments', '', [links.length])
  yield figure('raw log', 'MB', [links.reduce((sum, { manifest }) => sum + manifest.logBytes, 0) / 1e6])
  const parts = await Promise.all(links.map(link => partsOf(archive, link)))
  const ratio = (of: (part: (typeof parts)[number]) => number): number =>
    parts.reduce((sum, part) => sum + of(part), 0) / parts.reduce((sum, { logBytes }) => sum + logBytes, 0)
  yield figure('search.db / raw log', 'x', [ratio(({ searchBytes }) => searchBytes)])
  yield figure('segment without its index / raw log', 'x', [ratio(({ restStored }) => restStored)])
  yield figure('segment / raw log', 'x', [ratio(({ restStored, indexStored }) => restStored + indexStored)])

  const rates: number[] = []
  for (const [number, link] of links.slice(0, rounds + 1).entries()) {
    const reader = await SegmentReader.open(archive.source(link.key))
    const batches = await Array.fromAsync(reader.batches())
    const file = join(folder.path, `${number}.db`)
    const before = process.cpuUsage()
    const begun = performance.now()
    const builder = new SearchIndexBuilder(file)
    let records = 0
    for (const batch of batches) {
      for (const record of batch.records()) {
        builder.add(record)
        records++
      }
    }
    builder.filter()
    builder.finish()
    const seconds = (performance.now() - begun) / 1_000
    const { user, system } = process.cpuUsage(before)
    await rm(file)
    if (number === 0) continue // code is compiled
    rates.push(records / Math.max(seconds, (user + system) / 1e6))
  }
  yield figure('index build, records decoded, filter and frequent words included', 'records/s', rates)
}

/** Bytes of the log, of the index unpacked, and of what is stored: of index and filter, and of all else. */
async function partsOf(archive: Archive, { key, manifest }: Link) {
  const { data, size } = await archive.source(key).tail(MAX_TOC_BYTES)
  const { members, chunks } = decodeToc(data, size, key)
  const search = members.find(({ name }) => name === 'search.db')!
  let at = 0
  let indexStored = 0
  for (const chunk of chunks) {
    if (at + chunk.size > search.offset) indexStored += chunk.compressed
    at += chunk.size
  }
  return { logBytes: manifest.logBytes, searchBytes: search.size, indexStored, restStored: size - indexStored }
}

/**
 * Searches within this process. Warm: the archive in a folder, filters and indexes kept. Cold: in S3, and no byte of a segment at
 * hand, by a process that knows the segments from an earlier search, and by one that knows nothing.
 */
export async function* searchedWithin(
  place: ArchivePlace,
  asked: readonly OrderEvent[],
  rounds: number
): AsyncGenerator<Figure> {
  await using folder = await tempFolder('bench')
  const catalog = join(folder.path, 'catalog.db')
  {
    const { s3, url } = place
    const stored = { ...place, url: url.replace('s3://', `file:${s3.folder!}/`) }
    await using archive = await openArchive(stored, catalog)
    using indexes = new IndexCache(join(folder.path, 'cache'), 2 ** 31)
    const waits = await timed(asked, rounds, trace => findOne(archive, indexes, trace))
    yield figure('warm, a trace id, within the process: p50', 'ms', waits)
  }
  {
    await using archive = await openArchive(place, catalog)
    await linksOf(archive)
  }
  for (const [what, file] of [['segments known', catalog] as const, ['nothing known', null] as const]) {
    const waits = await timed(asked, rounds, async trace => {
      await using archive = await openArchive(place, file)
      using indexes = new IndexCache(null, 0)
      return await findOne(archive, indexes, trace)
    })
    yield figure(`cold from S3, ${what}, a trace id: p50`, 'ms', waits)
  }
}

/** The median of each round, but for the first, in which code is compiled. */
async function timed(
  asked: readonly OrderEvent[],
  rounds: number,
  find: (trace: string) => Promise<{ ms: number; value: string | undefined }>
): Promise<number[]> {
  const perRound = Math.floor(asked.length / (rounds + 1))
  const medians: number[] = []
  for (let round = 0; round <= rounds; round++) {
    const waits: number[] = []
    for (const { trace, value } of asked.slice(round * perRound, (round + 1) * perRound)) {
      const found = await find(trace)
      if (found.value !== value) throw new Error(`${trace}: found ${found.value}`)
      waits.push(found.ms)
    }
    if (round > 0) medians.push(median(waits))
  }
  return medians
}

async function findOne(archive: Archive, indexes: IndexCache, trace: string) {
  const begun = performance.now()
  const places = { archive, indexes, warm: null, wal: null, hotIndexes: null }
  const { records } = await search(places, parseSelection({}), trace)
  const [found, ...others] = await Array.fromAsync(records)
  if (others.length > 0) throw new Error(`${trace}: found ${others.length + 1} times`)
  return { ms: performance.now() - begun, value: found?.value?.toString() }
}
