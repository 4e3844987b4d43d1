// Archives that are whole and archives that are damaged on purpose, and what verifying says of them.
import { chmod, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { Archive } from '../../src/archive/archive.ts'
import { Catalog } from '../../src/archive/catalog.ts'
import { segmentKey } from '../../src/archive/layout.ts'
import type { ObjectStore } from '../../src/archive/object-store.ts'
import type { PartitionReport } from '../../src/archive/verify.ts'
import { isSound, measureArchive, verifyPartition } from '../../src/archive/verify.ts'
import { MillraceError } from '../../src/errors.ts'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import type { StreamKey } from '../../src/wal/stream.ts'
import { LIMIT, unreadable } from '../kafka/unreadable.ts'
import { millrace } from '../support/millrace.ts'
import type { SmallArchive } from './small-archive.ts'
import { batchAt, smallArchive } from './small-archive.ts'

const orders: StreamKey = { clusterId: 'here', topic: 'orders', topicId: 'AAECAwQFBgcICQoLDA0ODw', partition: 0 }
const others: StreamKey = { ...orders, topic: 'others', topicId: 'BAECAwQFBgcICQoLDA0ODw' }

/** Segments [0, 4), [4, 8) and [8, 12), of two batches each. */
async function threeSegments(): Promise<SmallArchive> {
  const archive = await smallArchive()
  for (const base of [0, 4, 8]) {
    await archive.append(orders, {
      nextOffset: base + 4,
      batches: [batchAt(base, base + 1), batchAt(base + 2, base + 3)]
    })
  }
  return archive
}

async function verify(small: SmallArchive, stream = orders): Promise<PartitionReport> {
  // With the catalog that saw the segments whole: it must not be believed.
  return await verifyPartition(small.archive, stream)
}

const pathOf = ({ folder }: SmallArchive, key: string) => join(folder, key)

async function rewrite(path: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  await chmod(path, 0o644)
  await writeFile(path, change(await readFile(path)))
}

/** Flips one bit in the middle of the compressed bytes that hold `text`. */
function flipIn(text: string): (bytes: Buffer) => Buffer {
  return bytes => {
    for (let start = 0; start < bytes.length; start++) {
      if (bytes.readUInt16BE(Math.min(start, bytes.length - 2)) !== 0x1f8b) continue
      const next = bytes.indexOf(Buffer.of(0x1f, 0x8b, 0x08), start + 1)
      const end = next < 0 ? bytes.length : next
      const member = tryGunzip(bytes.subarray(start, end))
      if (!member?.includes(text)) continue
      bytes[start + Math.floor((end - start) / 2)]! ^= 0x10
      return bytes
    }
    throw new Error(`no gzip member holds ${text}`)
  }
}

function tryGunzip(bytes: Buffer): Buffer | undefined {
  try {
    return gunzipSync(bytes)
  } catch {
    return undefined
  }
}

test('a whole archive is sound, and counted', async () => {
  await using small = await threeSegments()
  await small.putExtra(orders, batchAt(5))
  await small.append(others, { nextOffset: 1, batches: [batchAt(0)] })
  const report = await verify(small)
  expect(report).toMatchObject({
    from: 0,
    to: 12,
    segments: 3,
    records: 12,
    extras: 1,
    gaps: [],
    orphans: [],
    faults: []
  })
  expect(isSound(report)).toBe(true)
  const { streams, bytes } = await measureArchive(small.archive, 'orders')
  expect(streams).toEqual([orders])
  expect(report.bytes).toBe(bytes)
  expect((await measureArchive(small.archive)).streams).toEqual([orders, others])
})

test('gaps are listed; only some are a loss', async () => {
  await using small = await smallArchive()
  const notRequested = { from: 0, to: 4, reason: 'not-requested' as const }
  const compacted = { from: 5, to: 7, reason: 'compacted' as const }
  await small.append(orders, { nextOffset: 8, batches: [batchAt(4), batchAt(7)], gaps: [notRequested, compacted] })
  const before = await verify(small)
  expect(before).toMatchObject({ from: 0, to: 8, gaps: [notRequested, compacted], faults: [] })
  expect(isSound(before)).toBe(true)
  const retention = { from: 8, to: 9, reason: 'retention' as const }
  await small.append(orders, { nextOffset: 10, batches: [batchAt(9)], gaps: [retention] })
  const after = await verify(small)
  expect(after).toMatchObject({ to: 10, gaps: [notRequested, compacted, retention], faults: [] })
  expect(isSound(after)).toBe(false)
})

test('a flipped bit in a log is found, with its segment, and the rest is verified all the same', async () => {
  await using small = await threeSegments()
  const key = segmentKey(orders, 4)
  await rewrite(pathOf(small, key), flipIn('record 6'))
  const report = await verify(small)
  expect(report.faults.length).toBeGreaterThan(0)
  expect(report.faults.every(({ object }) => object === key)).toBe(true)
  expect(report).toMatchObject({ from: 0, to: 12, segments: 3, orphans: [] })
})

test('a segment whose manifest is lost breaks the chain, and what follows is verified', async () => {
  await using small = await threeSegments()
  const key = segmentKey(orders, 4)
  await rewrite(pathOf(small, key), bytes => bytes.subarray(0, bytes.length / 2))
  const report = await verify(small)
  expect(report.faults).toEqual([{ object: key, offset: 4, message: expect.any(String) }])
  expect(report).toMatchObject({ from: 0, to: 4, segments: 3, records: 8, orphans: [] })
})

test('a segment that is gone from the middle is a fault, at the offset where the chain breaks off', async () => {
  await using small = await threeSegments()
  const key = segmentKey(orders, 4)
  await rm(pathOf(small, key))
  const report = await verify(small)
  expect(report.faults).toEqual([{ object: key, offset: 4, message: expect.stringContaining('offsets 4 to 7') }])
  expect(report).toMatchObject({ from: 0, to: 4, segments: 2, records: 8, orphans: [] })
})

test('a chain hash that does not go on from the segment before is a fault', async () => {
  await using small = await smallArchive()
  await small.append(orders, { nextOffset: 1, batches: [batchAt(0)] })
  await small.append(orders, { nextOffset: 2, batches: [batchAt(1)], previousChainSha256: 'ab'.repeat(32) })
  await small.append(orders, { nextOffset: 3, batches: [batchAt(2)] })
  const report = await verify(small)
  expect(report.faults).toEqual([
    { object: segmentKey(orders, 1), offset: 1, message: expect.stringContaining('chain') }
  ])
})

test('a segment that lies in the place of another partition is a fault', async () => {
  await using small = await smallArchive()
  await small.append(others, { nextOffset: 1, batches: [batchAt(0)] })
  await small.append(orders, { nextOffset: 1, batches: [batchAt(0)] })
  const key = segmentKey(orders, 0)
  const foreign = await readFile(pathOf(small, segmentKey(others, 0)))
  await rewrite(pathOf(small, key), () => foreign)
  expect((await verify(small)).faults).toEqual([{ object: key, offset: 0, message: expect.stringContaining('others') }])
})

test('a damaged extra is a fault', async () => {
  await using small = await threeSegments()
  await small.putExtra(orders, batchAt(5))
  const { extras } = await small.archive.walk(orders)
  await rewrite(pathOf(small, extras[0]!.key), flipIn('record 5'))
  const report = await verify(small)
  expect(report.extras).toBe(1)
  expect(report.faults[0]).toMatchObject({ object: extras[0]!.key })
})

test('segments without a root are a fault, and are verified', async () => {
  await using small = await threeSegments()
  const key = segmentKey(orders, 0).replace(/[^/]+$/, 'root.json')
  await rm(pathOf(small, key))
  const report = await verify(small)
  expect(report.faults).toEqual([{ object: key, offset: null, message: expect.stringContaining('root.json') }])
  expect(report).toMatchObject({ from: 0, to: 12, records: 12 })
})

test('a segment inside what another covers is a leftover, and no fault', async () => {
  await using small = await threeSegments()
  const bytes = await readFile(pathOf(small, segmentKey(orders, 4)))
  const key = segmentKey(orders, 6)
  await writeFile(pathOf(small, key), bytes)
  const report = await verify(small)
  expect(report).toMatchObject({ to: 12, orphans: [key], faults: [] })
})

/** The archive over a store that throws at the first read of a log, and not again if `once`. */
async function failing(small: SmallArchive, error: MillraceError, { once }: { once: boolean }): Promise<Archive> {
  const { store } = small.archive
  let failed = false
  const get: ObjectStore['get'] = async (key, range) => {
    if (!key.endsWith('.tar.gz') || (once && failed)) return await store.get(key, range)
    failed = true
    throw error
  }
  const spoilt: ObjectStore = {
    url: store.url,
    get,
    putIfAbsent: (...args) => store.putIfAbsent(...args),
    head: key => store.head(key),
    tail: (...args) => store.tail(...args),
    list: (...args) => store.list(...args),
    delete: key => store.delete(key),
    [Symbol.asyncDispose]: async () => {}
  }
  return new Archive(spoilt, Catalog.open(null, store.url))
}

test('a store that does not answer is no damage, and an object that was merged away in this moment neither', async () => {
  await using small = await threeSegments()
  const noAnswer = new MillraceError('STORE_FAILED', 'no answer')
  const silent = await failing(small, noAnswer, { once: false })
  await expect(verifyPartition(silent, orders)).rejects.toBe(noAnswer)
  const gone = new MillraceError('OBJECT_MISSING', 'gone')
  const report = await verifyPartition(await failing(small, gone, { once: true }), orders)
  expect(report).toMatchObject({ to: 12, segments: 3, faults: [] })
  const lost = await verifyPartition(await failing(small, gone, { once: false }), orders)
  expect(lost.faults).toMatchObject([{ offset: 0 }, { offset: 4 }, { offset: 8 }])
})

test('the command prints a line for each partition, an object for each with --json, and ends with 1 when something is wrong', async () => {
  await using small = await threeSegments()
  await small.append(others, { nextOffset: 1, batches: [batchAt(0)] })
  const whole = await millrace(['verify', '--archive', small.url])
  expect(whole).toMatchObject({ code: 0, stderr: '' })
  expect(whole.stdout).toMatch(
    /^ok +orders-0 +offsets 0 to 11 +12 records, 3 segments, \S+\nok +others-0 +offsets 0 to 0 /
  )
  await rewrite(pathOf(small, segmentKey(orders, 4)), flipIn('record 6'))
  const damaged = await millrace(['verify', '--archive', small.url])
  expect(damaged.code).toBe(1)
  expect(damaged.stdout).toMatch(/^WRONG +orders-0 [^\n]+\nok +others-0 /)
  expect(damaged.stdout).toContain(`fault: ${segmentKey(orders, 4)}, offset `)
  const json = await millrace(['verify', '--archive', small.url, '--json'])
  expect(json.code).toBe(1)
  const objects = json.stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  expect(objects).toMatchObject([
    { topic: 'orders', partition: 0, ok: false, from: 0, to: 12 },
    { topic: 'others', partition: 0, ok: true, records: 1 }
  ])
  expect(await millrace(['verify', '--archive', small.url, '--topic', 'others'])).toMatchObject({ code: 0 })
  expect(await millrace(['verify', '--archive', small.url, '--topic', 'nothing'])).toMatchObject({
    code: 1,
    stdout: ''
  })
})

test('batches that are not indexed are told of, and are no fault', async () => {
  await using small = await smallArchive()
  const [bad, worse] = unreadable.map(([, make]) => make) as [(offset: number) => CanonicalBatch, typeof batchAt]
  const maxDecompressedBytes = LIMIT
  await small.append(orders, { nextOffset: 3, batches: [batchAt(0), bad(1)], maxDecompressedBytes })
  await small.append(orders, { nextOffset: 6, batches: [worse(3), batchAt(5)], maxDecompressedBytes })
  const report = await verify(small)
  const notIndexed = [
    { baseOffset: 1, lastOffset: 2, reason: unreadable[0]![2] },
    { baseOffset: 3, lastOffset: 4, reason: unreadable[1]![2] }
  ]
  expect(report).toMatchObject({ to: 6, segments: 2, records: 2, notIndexed, faults: [] })
  expect(isSound(report)).toBe(true)
  expect(await millrace(['verify', '--archive', small.url])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(
      /^ok +orders-0 .* 2 batches not indexed\nnot indexed: orders-0 offsets 1 to 2: a gzip batch grows .*\nnot indexed: orders-0 offsets 3 to 4: /
    )
  })
  const json = await millrace(['verify', '--archive', small.url, '--json'])
  expect(JSON.parse(json.stdout)).toMatchObject({ ok: true, notIndexed })
})
