// What an earlier Millrace has put into archives opens forever. test/fixtures/segment/make.ts says how these bytes were made; a
// test that fails here is answered by a change of the code, never of the fixture.
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { fileSource, readManifest, SegmentReader } from '../../src/segment/reader.ts'
import { keyToken } from '../../src/segment/search-text.ts'
import { batchFixture } from '../fixtures/load.ts'
import { collect } from './segments.ts'

const path = (name: string): string => fileURLToPath(new URL(`../fixtures/segment/${name}`, import.meta.url))
const BASE = 4_294_967_296

describe.each([1, 2, 3])('a segment of format version %i', version => {
  const source = fileSource(path(`v${version}.tar.gz`))
  const expected = async () => JSON.parse(await readFile(path(`v${version}.json`), 'utf8'))

  test('opens, and says of itself what it did', async () => {
    const reader = await SegmentReader.open(source)
    const { manifest, crcs } = await expected()
    expect(manifest.formatVersion).toBe(version)
    expect(await reader.manifest()).toEqual(manifest)
    expect(await readManifest(source)).toEqual(manifest)
    expect((await collect(reader.batches())).map(({ header }) => header.crc)).toEqual(crcs)
  })

  test('gives the records that real clients have sent, and others', async () => {
    const reader = await SegmentReader.open(source)
    const records = await collect(reader.records())
    expect(records).toHaveLength((await reader.manifest()).records)
    const names = ['librdkafka-gzip', 'java-zstd', 'librdkafka-edges', 'java-transactional']
    const sent = names.flatMap(name => batchFixture(name).oracle.records)
    expect(records.slice(0, sent.length).map(({ value }) => value?.toString() ?? null)).toEqual(sent.map(one => one[3]))
    const [tenth] = await collect(reader.records({ from: BASE + 1_000, to: BASE + 1_001 }))
    expect(tenth).toMatchObject({ key: Buffer.from('customer-6'), headers: [['trace-id', Buffer.from('t.1000')]] })
  })

  test('is searched by words, offsets and times', async () => {
    using index = await (await SegmentReader.open(source)).searchIndex()
    const found = (expression: string, options = {}) =>
      [...index.match(expression, options)].map(({ offset }) => offset - BASE)
    expect(found('"o" AND "777"')).toEqual([777])
    expect(found('"trace" AND "778"')).toEqual([778])
    expect(found('"łodz"', { fromOffset: BASE + 500, toOffset: BASE + 503 })).toEqual([500, 501, 502])
    const fromTime = 1_795_521_600_000 + 600_000
    expect(found('"shipped"', { fromTime, toTime: fromTime + 6_000 })).toEqual([602, 605])
    expect(index.count('"shipped"')).toBe(found('"shipped"').length)
    expect(index.count(null)).toBe([...index.records()].length)
    index.check()
  })

  test('is whole', async () => {
    expect(await (await SegmentReader.open(source)).verify(null)).toEqual([])
  })
})

test('version 1 has no filter and no frequent words, and is one span', async () => {
  const reader = await SegmentReader.open(fileSource(path('v1.tar.gz')))
  expect(await reader.filter()).toBeNull()
  using index = await reader.searchIndex()
  expect(index.words()).toEqual([])
  const { minTimestamp, maxTimestamp } = await reader.manifest()
  expect(index.spans()).toEqual([{ from: BASE, to: (await reader.manifest()).nextOffset, minTimestamp, maxTimestamp }])
})

test.each([2, 3])('version %i has a filter, spans, frequent words and keys', async version => {
  const reader = await SegmentReader.open(fileSource(path(`v${version}.tar.gz`)))
  const filter = await reader.filter()
  expect(filter!.mayContain('shipped')).toBe(true)
  expect(filter!.mayContain('shipt')).toBe(false)
  using index = await reader.searchIndex()
  expect(index.spans()).toHaveLength(2)
  expect(index.words()).toContainEqual({ kind: 'header', word: 'trace-id', records: 1_100 })
  expect(index.words()).toContainEqual({ kind: 'term', word: 'łodz', records: 1_103 })
  const [first] = await collect(reader.records({ from: BASE + 1_139 }))
  expect([...index.match(`"${keyToken(first!.key!)}"`)].map(({ offset }) => offset)).toEqual([first!.offset])
})
