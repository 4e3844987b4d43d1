// The filter of a segment: it never says no for a word that is there, seldom yes for one that is not, and is as documented.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SegmentReader } from '../../src/segment/reader.ts'
import { SearchIndexBuilder } from '../../src/segment/search-index.ts'
import { keyToken } from '../../src/segment/search-text.ts'
import { TermFilter, TermFilterBuilder } from '../../src/segment/term-filter.ts'
import { wordsOf } from '../../src/segment/words.ts'
import { writeSegment } from '../../src/segment/writer.ts'
import { tempFolder } from '../support/temp.ts'
import { batch, bytesSource, captured, forged, plan, record } from './segments.ts'

function filterBytes(words: readonly string[]): Buffer {
  const builder = new TermFilterBuilder(words.length)
  builder.addAll(Buffer.from(words.join(' ')))
  return builder.finish()
}

test('every word of every record may be there, as a query has it', () => {
  const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string(), fc.lorem(), fc.uuid(), fc.emailAddress())
  const nullable = fc.option(text.map(one => Buffer.from(one)))
  const records = fc.array(fc.tuple(nullable, nullable, fc.array(fc.tuple(text, nullable), { maxLength: 3 })))
  fc.assert(
    fc.property(records, all => {
      using builder = new SearchIndexBuilder(':memory:')
      for (const [offset, [key, value, headers]] of all.entries()) builder.add(record(offset, { key, value, headers }))
      const filter = TermFilter.from(builder.filter(), 'x')
      for (const [key, value, headers] of all) {
        const texts = [key, value, ...headers.flat()].filter(one => one !== null)
        const words = texts.flatMap(one => wordsOf(one.toString()))
        if (key !== null) words.push(keyToken(key))
        expect(words.filter(word => !filter.mayContain(word))).toEqual([])
      }
    })
  )
})

test('of words that are not there, it takes about one in 180 for one that may be', () => {
  const filter = TermFilter.from(filterBytes(Array.from({ length: 50_000 }, (_, i) => `word${i}`)), 'x')
  let taken = 0
  for (let i = 0; i < 100_000; i++) if (filter.mayContain(`other${i}`)) taken++
  expect(taken).toBeGreaterThan(400)
  expect(taken).toBeLessThan(750)
})

test('its bytes are as docs/formats.md has it', () => {
  const words = [
    'shipped',
    'łódź',
    'a',
    '東京',
    '\u{e000}0123456789abcdef',
    ...Array.from({ length: 200 }, (_, i) => `w${i}`)
  ]
  const bytes = filterBytes(words)
  const blocks = Math.ceil((words.length * 12) / 256)
  const expected = Buffer.alloc(12 + 32 * blocks + 4)
  expected.write('MRTF')
  expected.writeUInt32BE(1, 4)
  expected.writeUInt32BE(blocks, 8)
  for (const word of words) {
    const block = (hash(word, 0x811c9dc5n) * BigInt(blocks)) >> 32n
    salts.forEach((salt, lane) => {
      const bit = ((hash(word, 0x9747b28cn) * salt) & mask) >> 27n
      const at = 12 + Number(block) * 32 + lane * 4
      expected.writeUInt32LE((expected.readUInt32LE(at) | (1 << Number(bit))) >>> 0, at)
    })
  }
  expected.writeUInt32BE(crc32c(expected.subarray(0, -4)), expected.length - 4)
  expect(bytes.equals(expected)).toBe(true)
})

const mask = 0xffff_ffffn
const salts = [0x47b6137bn, 0x44974d91n, 0x8824ad5bn, 0xa2b7289dn, 0x705495c7n, 0x2df1424bn, 0x9efc4947n, 0x5c6bfb31n]

function hash(word: string, basis: bigint): bigint {
  let h = basis
  for (const byte of Buffer.from(word)) h = ((h ^ BigInt(byte)) * 16_777_619n) & mask
  h = ((h ^ (h >> 16n)) * 0x85ebca6bn) & mask
  h = ((h ^ (h >> 13n)) * 0xc2b2ae35n) & mask
  return h ^ (h >> 16n)
}

test('a filter of no words says no, and the largest is no larger than 64 MiB', () => {
  expect(TermFilter.from(filterBytes([]), 'x').mayContain('a')).toBe(false)
  expect(new TermFilterBuilder(1e12).finish().length).toBe(64 * 1024 * 1024 + 16)
})

test('damaged anywhere or cut off, it is refused by the name of its segment', () => {
  const bytes = filterBytes(['alpha', 'beta'])
  for (let at = 0; at < bytes.length; at++) {
    const damaged = Buffer.from(bytes)
    damaged[at]! ^= 1 << (at % 8)
    expect(() => TermFilter.from(damaged, 'some/segment'), `byte ${at}`).toThrow(
      expect.objectContaining({
        code: 'SEGMENT_CORRUPT',
        message: expect.stringMatching(/^some\/segment: search.filter: /)
      })
    )
  }
  for (let length = 0; length < bytes.length; length++) {
    expect(() => TermFilter.from(bytes.subarray(0, length), 'x')).toThrow(/search.filter/)
  }
  const huge = Buffer.from(bytes)
  huge.writeUInt32BE(0xffff_ffff, 8)
  expect(() => TermFilter.from(huge, 'x')).toThrow('4294967295 blocks do not fit 48 bytes')
})

test('in a segment, it is read by itself, and one that lacks a word or is not there is a fault', async () => {
  await using folder = await tempFolder('segment')
  const path = join(folder.path, 's.tar.gz')
  writeSegment({ ...plan, nextOffset: 40 }, captured(batch(0, 40)), path)
  const reader = await SegmentReader.open(bytesSource(await readFile(path)))
  const filter = await reader.filter()
  expect(filter!.mayContain('number39')).toBe(true)
  expect(filter!.mayContain('number40')).toBe(false)
  expect(await reader.verify(null)).toEqual([])

  const verify = async (contents: Record<string, Buffer>) =>
    (await SegmentReader.open(bytesSource(await forged(contents, path)))).verify(null)
  const faults = await verify({ 'search.filter': filterBytes(['grain']) })
  expect(faults).toEqual([{ message: expect.stringMatching(/^search\.filter: it lacks ".+", which search\.db has$/) }])
  const damaged = await verify({ 'search.filter': Buffer.alloc(100) })
  expect(damaged).toEqual([{ message: 'segment-under-test: search.filter: it begins as no filter does' }])
  const manifest = { ...(await reader.manifest()), formatVersion: 1 }
  const passedOff = await verify({ 'segment.json': Buffer.from(JSON.stringify(manifest)) })
  expect(passedOff).toEqual([{ message: 'search.filter: format version 1 has none' }])
})
