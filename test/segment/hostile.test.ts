// Segments that a disk has spoilt or somebody has made to do harm: whatever is read of them is right, or refused by name, and
// nothing is written anywhere.
import { hash } from 'node:crypto'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { deflateRawSync } from 'node:zlib'
import { crc32c } from '@node-rs/crc32'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { IndexCache } from '../../src/archive/index-cache.ts'
import { GzipTarWriter } from '../../src/segment/gzip-tar.ts'
import { fileSource, readManifest, SegmentReader } from '../../src/segment/reader.ts'
import { decodeToc, MAX_TOC_BYTES } from '../../src/segment/toc.ts'
import { writeSegment } from '../../src/segment/writer.ts'
import type { TempFolder } from '../support/temp.ts'
import { tempFolder } from '../support/temp.ts'
import { batch, bytesSource, collect, digest, fetched, forged, marker, plan, START, transactional } from './segments.ts'

const corrupt = expect.objectContaining({
  code: 'SEGMENT_CORRUPT',
  message: expect.stringContaining('segment-under-test')
})

/** Every way of reading a segment, each by itself; what they give becomes short texts, which are compared fast. */
const ways: Record<string, (reader: SegmentReader) => Promise<unknown>> = {
  manifest: reader => reader.manifest(),
  indexes: reader => reader.indexes(),
  transactions: reader => reader.file('txnindex'),
  batches: async reader => (await collect(reader.batches())).map(each => hash('sha256', each.toWire())),
  records: async reader => (await collect(reader.records())).map(digest),
  'records from an offset': async reader => (await collect(reader.records({ from: 60, to: 120 }))).map(digest),
  'records from a time': async reader => (await collect(reader.records({ fromTime: START + 70 }))).map(digest),
  chunks: async reader =>
    (await Promise.all(reader.readLogPieces(0, reader.logPieces().length))).map(part => hash('sha256', part)),
  search: async reader => {
    using index = await reader.searchIndex()
    return [...index.match('"order"')]
  }
}

let folder: TempFolder
let file: string
let bytes: Buffer

beforeAll(async () => {
  folder = await tempFolder('segment')
  file = join(folder.path, 'segment.tar.gz')
  const batches = fetched(batch(0, 50), transactional(50, 50, 7), marker(100, 7, 'abort'), batch(101, 50))
  writeSegment({ ...plan, nextOffset: 151 }, batches, file)
  bytes = await readFile(file)
})
afterAll(() => folder.dispose())

test('with any byte changed, each way of reading gives what is right, or an error that names the segment', async () => {
  const whole = await SegmentReader.open(bytesSource(bytes))
  const right = new Map<string, unknown>()
  for (const [name, read] of Object.entries(ways)) right.set(name, await read(whole))
  let refused = 0
  const step = Math.ceil(bytes.length / 700) // still several times in each member, header and table
  for (let at = 0; at < bytes.length; at += step) {
    const damaged = Buffer.from(bytes)
    damaged[at]! ^= 1 << (at % 8)
    const reader = await SegmentReader.open(bytesSource(damaged)).catch(error => {
      expect(error, `byte ${at}`).toEqual(corrupt)
      refused++
    })
    for (const [name, read] of Object.entries(reader ? ways : {})) {
      const given = await read(reader!).catch(error => {
        expect(error, `${name} with byte ${at}`).toEqual(corrupt)
        refused++
        return right.get(name)
      })
      expect(isDeepStrictEqual(given, right.get(name)), `${name} with byte ${at}`).toBe(true)
    }
  }
  expect(refused).toBeGreaterThan(600)
})

test('without one of its chunks, or from one on, it is refused, also with its table of contents', async () => {
  const { chunks } = decodeToc(bytes.subarray(-MAX_TOC_BYTES), bytes.length, 'whole')
  const toc = bytes.subarray(chunks.reduce((sum, { compressed }) => sum + compressed, 0))
  expect(chunks.length).toBeGreaterThan(5)
  let start = 0
  for (const { compressed } of chunks) {
    const end = start + compressed
    const cuts = [bytes.subarray(0, start), bytes.subarray(end)]
    const kept = [
      Buffer.concat([bytes.subarray(0, start), toc]),
      Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)])
    ]
    for (const cut of [cuts[0]!, cuts[1]!, ...kept]) {
      await expect(SegmentReader.open(bytesSource(cut))).rejects.toEqual(corrupt)
    }
    start = end
  }
})

test.each([
  '../x',
  '/tmp/x',
  'a/../../x',
  'a/b',
  '.',
  '..',
  '',
  'C:\\x',
  'x\0y',
  'x\ny',
  '-rf',
  '99999999999999999999.log',
  '1.log'
])('with a file named %j it is refused, and nothing is written', async name => {
  // biome-ignore format: a list
  await using away = await tempFolder('away')
  const inside = join(away.path, 'inside')
  await mkdir(inside)
  const writer = new GzipTarWriter(join(inside, 'segment-under-test'))
  for (const member of ['segment.json', name, 'search.db']) writer.add(member, Buffer.from('{}'))
  writer.finish()
  const source = fileSource(join(inside, 'segment-under-test'))
  await expect(SegmentReader.open(source)).rejects.toEqual(corrupt)
  expect(await readdir(away.path, { recursive: true })).toEqual(['inside', 'inside/segment-under-test'])
  expect(dirname(source.name)).toBe(inside)
})

describe('a bomb', () => {
  const zeros = Buffer.alloc(300 * 1024 * 1024)

  test.each([
    ['segment.json', (reader: SegmentReader) => reader.manifest()],
    ['index', (reader: SegmentReader) => collect(reader.batches({ from: 120 }))],
    ['timeindex', (reader: SegmentReader) => collect(reader.records({ fromTime: START + 70 }))],
    ['txnindex', (reader: SegmentReader) => reader.file('txnindex')],
    ['search.db', (reader: SegmentReader) => reader.searchIndex()],
    ['log', (reader: SegmentReader) => collect(reader.batches())]
  ] as const)('in its %s is refused before it fills the memory', async (kind, read) => {
    const source = bytesSource(await forged({ [kind]: zeros }, file))
    const reader = await SegmentReader.open(source)
    const before = process.memoryUsage().rss
    await expect(read(reader)).rejects.toEqual(corrupt)
    expect(process.memoryUsage().rss - before).toBeLessThan(zeros.length / 2)
    if (kind === 'segment.json') await expect(readManifest(source)).rejects.toEqual(corrupt)
  })

  test('in its table of contents is refused', async () => {
    const table = deflateRawSync(Buffer.concat([Buffer.from('{"version":1,'), Buffer.alloc(40 * 1024 * 1024, ' ')]), {
      level: 9
    })
    const length = 16 + table.length + 8 + 10
    expect(length).toBeLessThan(MAX_TOC_BYTES)
    const head = Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 0, 0, 0x4d, 0x52, 0, 0])
    head.writeUInt16LE(table.length + 12, 10)
    head.writeUInt16LE(table.length + 8, 14)
    const check = Buffer.alloc(8)
    check.writeUInt32LE(crc32c(table), 0)
    check.writeUInt32LE(length, 4)
    const member = Buffer.concat([head, table, check, Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 0, 0])])
    await expect(SegmentReader.open(bytesSource(member))).rejects.toEqual(corrupt)
    await expect(SegmentReader.open(bytesSource(member))).rejects.toThrow(/Cannot create a Buffer larger|larger than/)
  })
})

/** A real search index, and then SQL; or its bytes, changed. */
async function searchDb(sql: string, change: (bytes: Buffer) => void = () => undefined): Promise<Buffer> {
  const reader = await SegmentReader.open(fileSource(file))
  const db = new Database(await reader.file('search'))
  db.exec(sql)
  const changed = db.serialize()
  db.close()
  change(changed)
  return changed
}

describe('a search index or filter that was made to do harm', () => {
  const forgeries: [what: string, contents: () => Promise<Record<string, Buffer>>][] = [
    ['a trigger', async () => ({ 'search.db': await searchDb(`CREATE TRIGGER t INSERT ON span BEGIN SELECT 1; END`) })],
    ['a view', async () => ({ 'search.db': await searchDb('CREATE VIEW v AS SELECT 1') })],
    [
      'a view in the place of a table',
      async () => ({
        'search.db': await searchDb(`DROP TABLE span;
          CREATE VIEW span AS SELECT 1 AS first, 1 AS min_timestamp, 1 AS max_timestamp, x'0000' AS records`)
      })
    ],
    [
      'another virtual table',
      async () => ({ 'search.db': await searchDb('CREATE VIRTUAL TABLE v USING fts5vocab(text, row)') })
    ],
    // https://www.sqlite.org/fileformat2.html#the_database_header: bytes 18 and 19
    [
      'a journal to be kept beside it',
      async () => ({ 'search.db': await searchDb('', bytes => bytes.fill(2, 18, 20)) })
    ],
    ['no database', async () => ({ 'search.db': Buffer.alloc(70_000, 7) })],
    ['half a database', async () => ({ 'search.db': (await searchDb('')).subarray(0, 20_000) })],
    ['300 MiB of a filter', async () => ({ 'search.filter': Buffer.alloc(300 * 2 ** 20) })],
    ['a filter of garbage', async () => ({ 'search.filter': Buffer.alloc(999, 7) })]
  ]

  test.each(forgeries)(
    'is refused with %s, also from the cache, which writes nothing outside its folder',
    async (_, contents) => {
      await using away = await tempFolder('away')
      const cacheFolder = join(away.path, 'cache')
      const source = bytesSource(await forged(await contents(), file))
      const open = () => SegmentReader.open(source)
      const segment = { key: '../../segment-under-test', size: 1, manifest: await (await open()).manifest() }
      for (const folder of [cacheFolder, null]) {
        using cache = new IndexCache(folder, 2 ** 30)
        const use = async () => {
          await cache.filter(segment, open)
          using lease = await cache.index(segment, open)
          return [...lease.index.match('"order"')]
        }
        for (let tried = 0; tried < 2; tried++) await expect(use()).rejects.toEqual(corrupt)
      }
      const written = await readdir(away.path, { recursive: true })
      expect(written.filter(name => !/^cache(\/[0-9a-f]{32}-[0-9a-f]{8})?$/.test(name))).toEqual([])
    }
  )
})

describe('an index that lies', () => {
  /** An `.index` of one entry. */
  function index(offset: number, position: number): Buffer {
    const entry = Buffer.alloc(8)
    entry.writeInt32BE(offset, 0)
    entry.writeInt32BE(position, 4)
    return entry
  }

  test.each([
    ['behind the log', () => index(10, 2_000_000_000)],
    ['before the log', () => index(10, -5)],
    ['into a batch', () => index(10, 33)],
    ['to a batch behind the one that is wanted', () => index(10, batch(0, 50).header.sizeInBytes)]
  ])('%s is found out', async (_, contents) => {
    const reader = await SegmentReader.open(bytesSource(await forged({ index: contents() }, file)))
    await expect(collect(reader.records({ from: 20, to: 30 }))).rejects.toEqual(corrupt)
  })

  test('of where to stop loses nothing', async () => {
    const lying = Buffer.concat([index(0, 0), index(119, 0), index(121, 10)])
    const reader = await SegmentReader.open(bytesSource(await forged({ index: lying }, file)))
    const offsets = (await collect(reader.records({ from: 0, to: 120 }))).map(({ offset }) => offset)
    expect(offsets).toHaveLength(119) // without the marker
  })
})
