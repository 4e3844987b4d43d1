// Segments are read back by ranges and by tools that know nothing of Millrace; damage of any kind is told, never taken.
import { execFileSync } from 'node:child_process'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { CHUNK_BYTES } from '../../src/segment/gzip-tar.ts'
import { fileSource, readManifest, SegmentReader } from '../../src/segment/reader.ts'
import type { SegmentResult } from '../../src/segment/writer.ts'
import { writeSegment } from '../../src/segment/writer.ts'
import type { TempFolder } from '../support/temp.ts'
import { tempFolder } from '../support/temp.ts'
import { batch, bytesSource, changed, collect, fetched, forged, marker, plan, record, START } from './segments.ts'

const corrupt = expect.objectContaining({
  code: 'SEGMENT_CORRUPT',
  message: expect.stringContaining('segment-under-test')
})

describe('a segment of several chunks', () => {
  const BATCHES = 400
  const PER_BATCH = 50
  const COUNT = BATCHES * PER_BATCH
  let folder: TempFolder
  let result: SegmentResult
  let bytes: Buffer
  let batches: CanonicalBatch[]

  beforeAll(async () => {
    folder = await tempFolder('segment')
    batches = Array.from({ length: BATCHES }, (_, i) => batch(i * PER_BATCH, PER_BATCH))
    result = writeSegment({ ...plan, nextOffset: COUNT }, fetched(...batches), join(folder.path, 'segment.tar.gz'))
    bytes = await readFile(result.path)
    expect(result.manifest.logBytes).toBeGreaterThan(4 * CHUNK_BYTES)
  })
  afterAll(() => folder.dispose())

  const log = () => Buffer.concat(batches.map(each => each.toWire()))
  const base = '0'.repeat(20)

  test('is an ordinary tar.gz for tar, in the order of the contract, without a word on standard error', async () => {
    const run = (...args: string[]) => execFileSync('sh', ['-c', `${args.join(' ')} 2>&1`]).toString()
    const names = [
      'segment.json',
      `${base}.log`,
      `${base}.index`,
      `${base}.timeindex`,
      `${base}.txnindex`,
      'search.db',
      'search.filter'
    ]
    expect(run('tar', 'tzf', result.path).trimEnd().split('\n')).toEqual(names)
    const out = join(folder.path, 'out')
    await mkdir(out)
    expect(run('tar', 'xzf', result.path, '-C', out)).toBe('')
    expect((await readFile(join(out, `${base}.log`))).equals(log())).toBe(true)
    expect(JSON.parse(await readFile(join(out, 'segment.json'), 'utf8'))).toEqual(result.manifest)
  })

  test('is one gzip stream for zlib', () => {
    const tar = gunzipSync(bytes)
    expect(tar.length % 512).toBe(0)
    expect(tar.includes(log())).toBe(true)
  })

  test('gives all batches verbatim, and windows of records', async () => {
    const reader = await SegmentReader.open(fileSource(result.path))
    const all = await collect(reader.batches())
    expect(Buffer.concat(all.map(each => each.toWire())).equals(log())).toBe(true)
    const windows = [
      [0, 1],
      [49, 51],
      [7_777, 7_901],
      [COUNT - 1, COUNT + 5]
    ] as const
    for (const [from, to] of windows) {
      const expected = Array.from({ length: Math.min(to, COUNT) - from }, (_, i) => record(from + i))
      expect(await collect(reader.records({ from, to }))).toEqual(expected)
    }
    expect(await collect(reader.records({ from: COUNT }))).toEqual([])
  })

  test('finds records by their words', async () => {
    const reader = await SegmentReader.open(fileSource(result.path))
    using index = await reader.searchIndex()
    expect([...index.match('"number12345"')]).toEqual([{ offset: 12_345, timestamp: START + 12_345 }])
  })

  test('gives its manifest from one read of its beginning', async () => {
    const source = bytesSource(bytes)
    expect(await readManifest(source)).toEqual(result.manifest)
    expect(source.reads).toEqual([16 * 1024])
    // What lies behind the manifest may be damaged.
    const damaged = Buffer.from(bytes)
    damaged.fill(0, 3_000, 9_000)
    expect(await readManifest(bytesSource(damaged))).toEqual(result.manifest)
  })

  test('is verified whole, also with what came before it', async () => {
    const reader = await SegmentReader.open(fileSource(result.path))
    expect(await reader.verify()).toEqual([])
    expect(await reader.verify(null)).toEqual([])
    const faults = await reader.verify({ chainSha256: 'ab'.repeat(32), openTransactions: [] })
    expect(faults).toEqual([{ message: expect.stringContaining('chainSha256') }])
  })

  test('cut off anywhere, it is refused', async () => {
    for (let i = 0; i < 50; i++) {
      const cut = bytes.subarray(0, Math.floor((bytes.length * i) / 50))
      await expect(SegmentReader.open(bytesSource(cut))).rejects.toEqual(corrupt)
    }
    for (const length of [0, 10, 200, 300]) {
      const head = bytesSource(bytes.subarray(0, length))
      await expect(readManifest(head)).rejects.toMatchObject({
        code: 'SEGMENT_CORRUPT',
        message: expect.stringContaining('segment-under-test: segment.json at its start: it is cut off')
      })
    }
  })

  test('a damaged chunk is reported with its place and the offset from which on the log cannot be read', async () => {
    const damaged = Buffer.from(bytes)
    damaged[100_000]! ^= 1 // inside the log
    const reader = await SegmentReader.open(bytesSource(damaged))
    const [fault, ...more] = await reader.verify(null)
    expect(more).toEqual([])
    expect(fault!.message).toMatch(/segment-under-test: the gzip member at byte \d+ is damaged/)
    expect(fault!.offset).toBeGreaterThanOrEqual(0)
    await expect(collect(reader.batches())).rejects.toEqual(corrupt)
  })
})

describe('a small segment', () => {
  let folder: TempFolder
  let bytes: Buffer

  beforeAll(async () => {
    folder = await tempFolder('segment')
    const batches = fetched(batch(0, 3), batch(3, 2), marker(5, 1, 'abort'))
    writeSegment({ ...plan, nextOffset: 6 }, batches, join(folder.path, 's.tar.gz'))
    bytes = await readFile(join(folder.path, 's.tar.gz'))
  })
  afterAll(() => folder.dispose())

  test('leaves the records of control batches out', async () => {
    const reader = await SegmentReader.open(bytesSource(bytes))
    expect((await collect(reader.records())).map(({ offset }) => offset)).toEqual([0, 1, 2, 3, 4])
    expect(await collect(reader.batches())).toHaveLength(3)
  })

  test('any changed byte is noticed when it is verified, unless it changes nothing', async () => {
    const tar = gunzipSync(bytes)
    for (let at = 0; at < bytes.length; at++) {
      const damaged = Buffer.from(bytes)
      damaged[at]! ^= 1 << (at % 8)
      const faults = await SegmentReader.open(bytesSource(damaged))
        .then(reader => reader.verify(null))
        .catch(error => {
          expect(error, `byte ${at}`).toEqual(corrupt)
          return [error]
        })
      // Deflate has several ways of saying the same.
      if (faults.length === 0) expect(gunzipSync(damaged).equals(tar), `byte ${at}`).toBe(true)
    }
  })
})

describe('a forged segment', () => {
  let folder: TempFolder
  let result: SegmentResult
  const batches = [batch(0, 40), batch(40, 60), batch(100, 5)]

  beforeAll(async () => {
    folder = await tempFolder('segment')
    result = writeSegment({ ...plan, nextOffset: 105 }, fetched(...batches), join(folder.path, 's.tar.gz'))
  })
  afterAll(() => folder.dispose())

  const log = (...wires: Buffer[]) => ({ log: Buffer.concat(wires) })
  const [a, b, c] = batches.map(each => each.toWire()) as [Buffer, Buffer, Buffer]
  const flipped = Buffer.from(b)
  flipped[200]! ^= 1
  const endless = Buffer.from(b)
  endless.writeInt32BE(0x7fffffff, 8)
  const manifest = (changes: object) => ({
    'segment.json': Buffer.from(JSON.stringify({ ...result.manifest, ...changes }))
  })

  const forgeries: [what: string, contents: () => Record<string, Buffer>, faults: object[]][] = [
    ['nothing changed', () => ({}), []],
    [
      'a batch with a wrong CRC',
      () => log(a, flipped, c),
      [{ offset: 40, message: expect.stringMatching('CRC mismatch') }]
    ],
    ['a batch left out', () => log(a, c), [{ offset: 100, message: expect.stringMatching('40 is followed by 100') }]],
    [
      'batches out of order',
      () => log(b, a, c),
      [{ offset: 40, message: expect.stringMatching('0 is followed by 40') }]
    ],
    [
      'a length of 2 GiB',
      () => log(a, endless, c),
      [{ offset: 40, message: expect.stringMatching('does not fit the log') }]
    ],
    ['a log that ends in a batch', () => log(a, b, c.subarray(0, 70)), [{ offset: 100, message: expect.any(String) }]],
    [
      'another batch at the same place',
      () => log(a, changed(batches[1]!, wire => wire.writeInt16BE(3, 51)).toWire(), c),
      [{ message: expect.stringMatching('logSha256') }, { message: expect.stringMatching('chainSha256') }]
    ],
    [
      'a wrong count',
      () => manifest({ records: 104 }),
      [{ message: expect.stringMatching('records 104, the log gives 105') }]
    ],
    [
      'a wrong max timestamp',
      () => manifest({ maxTimestamp: START }),
      [{ message: expect.stringMatching('maxTimestamp') }]
    ],
    [
      'a gap where there is none',
      () => manifest({ nextOffset: 110 }),
      [{ message: expect.stringMatching('105 is followed by 110') }]
    ],
    ['another index', () => ({ index: Buffer.alloc(8) }), [{ message: expect.stringMatching('.index does not') }]],
    [
      'another time index',
      () => ({ timeindex: Buffer.alloc(0) }),
      [{ message: expect.stringMatching('.timeindex does not') }]
    ],
    [
      'another transaction index',
      () => ({ txnindex: Buffer.alloc(34) }),
      [{ message: expect.stringMatching('.txnindex does not') }]
    ],
    ['no search index', () => ({ 'search.db': Buffer.alloc(0) }), [{ message: expect.stringMatching('search.db') }]]
  ]

  test.for(forgeries)('with %s is reported', async ([, contents, expected]) => {
    const reader = await SegmentReader.open(bytesSource(await forged(contents(), result.path)))
    const faults = await reader.verify(null)
    expect(faults).toEqual(expected)
  })

  test('with the search index of another log is reported', async () => {
    await using other = await tempFolder('segment')
    const path = join(other.path, 'o.tar.gz')
    writeSegment({ ...plan, nextOffset: 6 }, fetched(batch(0, 6)), path)
    const index = await (await SegmentReader.open(fileSource(path))).file('search')
    const reader = await SegmentReader.open(bytesSource(await forged({ 'search.db': index }, result.path)))
    expect(await reader.verify(null)).toEqual([{ message: expect.stringMatching(/has 6 records, the log 105/) }])
  })

  test('whose index leads into the middle of a batch gives an error, not other records', async () => {
    const index = Buffer.alloc(8)
    index.writeInt32BE(1, 0)
    index.writeInt32BE(33, 4)
    const reader = await SegmentReader.open(bytesSource(await forged({ index }, result.path)))
    await expect(collect(reader.batches({ from: 50 }))).rejects.toEqual(corrupt)
  })

  test('that says it is of another format is refused by number', async () => {
    const later = bytesSource(await forged(manifest({ formatVersion: 9 }), result.path))
    const reader = await SegmentReader.open(later)
    await expect(reader.manifest()).rejects.toThrow(/format version 9; this Millrace reads/)
    await expect(readManifest(later)).rejects.toThrow(/format version 9; this Millrace reads/)
  })

  test('whose base offset is not that of its files is refused', async () => {
    const wrong = await forged(manifest({ baseOffset: 3 }), result.path)
    const reader = await SegmentReader.open(bytesSource(wrong))
    await expect(reader.manifest()).rejects.toEqual(corrupt)
    const known = { ...result.manifest, baseOffset: 3 }
    await expect(SegmentReader.open(bytesSource(wrong), known)).rejects.toEqual(corrupt)
  })

  test('that would fill the memory is refused before it does', async () => {
    const bomb = Buffer.alloc(300 * 1024 * 1024)
    const reader = await SegmentReader.open(bytesSource(await forged({ 'search.db': bomb }, result.path)))
    await expect(reader.searchIndex()).rejects.toThrow(/claim to inflate to 314572800/)
  })
})

test('a manifest of more than one chunk is read by both ways', async () => {
  await using folder = await tempFolder('segment')
  // Every other batch had a wrong max timestamp.
  const batches = Array.from({ length: 9_000 }, (_, i) =>
    changed(batch(i, 1), wire => wire.writeBigInt64BE(BigInt(START + i + (i % 2)), 35))
  )
  const path = join(folder.path, 's.tar.gz')
  const { manifest } = writeSegment(
    { ...plan, nextOffset: 9_000 },
    batches.map(each => ({ batch: each, fromBroker: false })),
    path
  )
  expect(manifest.rewrittenByBroker).toHaveLength(4_500)
  expect(JSON.stringify(manifest, null, 2).length).toBeGreaterThan(CHUNK_BYTES)
  const reader = await SegmentReader.open(fileSource(path))
  expect(await reader.manifest()).toEqual(manifest)
  expect(await readManifest(fileSource(path))).toEqual(manifest)
  expect(await reader.verify(null)).toEqual([])
})

test('other archives are refused, and a file that is not there by another code', async () => {
  await using folder = await tempFolder('segment')
  const plain = gzipSync(Buffer.alloc(10_240))
  await expect(SegmentReader.open(bytesSource(plain))).rejects.toEqual(corrupt)
  await expect(readManifest(bytesSource(plain))).rejects.toEqual(corrupt)
  await writeFile(join(folder.path, 'other'), 'not a segment')
  await expect(SegmentReader.open(fileSource(join(folder.path, 'other')))).rejects.toMatchObject({
    code: 'SEGMENT_CORRUPT'
  })
  await expect(readManifest(fileSource(join(folder.path, 'none')))).rejects.toMatchObject({ code: 'OBJECT_MISSING' })
  expect(await readdir(folder.path)).toEqual(['other'])
})
