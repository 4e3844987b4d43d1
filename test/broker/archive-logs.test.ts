import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import { describe, expect, test } from 'vitest'
import { rootKey, segmentKey } from '../../src/archive/layout.ts'
import type { ObjectStore } from '../../src/archive/store-contract.ts'
import { CanonicalBatch, encodeBatch } from '../../src/kafka/batch.ts'
import { FrameFlag } from '../../src/wal/frame.ts'
import { WalReader } from '../../src/wal/reader.ts'
import type { StreamKey } from '../../src/wal/stream.ts'
import { batchAt } from '../archive/small-archive.ts'
import { batchFixture } from '../fixtures/load.ts'
import { unreadable } from '../kafka/unreadable.ts'
import { pieces, logs as sample } from '../search/world.ts'
import { flipInWal } from '../support/flip.ts'
import { until } from '../support/until.ts'
import { archiveWorld, partitionOf, readAll, served } from './archive-world.ts'

const NOWHERE = Number.MAX_SAFE_INTEGER
const orders: StreamKey = { clusterId: 'cluster', topic: 'orders', topicId: 'b3JkZXJzLW9yZGVycy1vcg', partition: 0 }

function wires(batches: readonly CanonicalBatch[]): string[] {
  return batches.map(batch => batch.toWire().toString('hex'))
}

function expected(batches: readonly CanonicalBatch[]): string[] {
  return batches.map(batch => served(batch).toString('hex'))
}

function nextOf(batches: readonly CanonicalBatch[]): number {
  return batches.at(-1)!.header.lastOffset + 1
}

/** All batches of a log, in three segments (one of them kept locally) and a WAL; the broker's own have a leader epoch. */
async function everywhere() {
  const world = await archiveWorld()
  for (const log of sample) {
    const [first, second, third, fourth] = pieces(log).map(batches => batches.map(batch => batch.withLeaderEpoch(7)))
    for (const batches of [first!, second!, third!]) {
      const { baseOffset } = batches[0]!.header
      await world.small.append(log.stream, { baseOffset, batches, nextOffset: nextOf(batches) })
    }
    world.keepWarm(log.stream, second![0]!.header.baseOffset)
    await world.capture(log.stream, fourth!, FrameFlag.FETCHED)
  }
  return world
}

describe('reading', () => {
  test.each([1, 300, 2_000, 1 << 20])(
    'gives every batch as it was but for its epoch, %i bytes at a time',
    async maxBytes => {
      await using world = await everywhere()
      const logs = await world.open()
      for (const { stream, batches } of sample) {
        const log = await partitionOf(logs, stream.topic, stream.partition)
        expect(wires(await readAll(log, { maxBytes }))).toEqual(expected(batches))
        expect(log.startOffset).toBe(batches[0]!.header.baseOffset)
        expect(log.highWatermark).toBe(nextOf(batches))
      }
    }
  )

  test('begins with the batch that holds the offset, and keeps within its limits', async () => {
    await using world = await everywhere()
    const log = await partitionOf(await world.open(), 'orders', 1)
    const { batches } = sample[1]!
    for (let offset = log.startOffset; offset < log.highWatermark; offset++) {
      const upTo = offset + 20
      const rest = batches.filter(({ header }) => header.lastOffset >= offset && header.baseOffset < upTo)
      expect(expected(rest)).toEqual(wires(await readAll(log, { from: offset, upTo })))
      const size = (await log.read(offset, { upTo, maxBytes: 1_000 })).reduce((sum, { length }) => sum + length, 0)
      expect(size).toBeLessThanOrEqual(Math.max(1_000, rest[0]!.header.sizeInBytes))
    }
    expect(await log.read(log.highWatermark, { upTo: NOWHERE, maxBytes: 1 })).toEqual([])
  })

  test('finds batches that reach over the pieces in which a segment is stored', async () => {
    await using world = await archiveWorld()
    const value = (seed: number) => createHash('shake256', { outputLength: 90_001 }).update(`${seed}`).digest()
    const batches = Array.from({ length: 40 }, (_, offset) =>
      encodeBatch([{ offset, timestamp: offset, key: null, value: value(offset), headers: [] }])
    )
    batches.push(
      encodeBatch([{ offset: 40, timestamp: 40, key: null, value: Buffer.alloc(900_000, value(1)), headers: [] }])
    )
    await world.small.append(orders, { batches, nextOffset: 41 })
    const log = await partitionOf(await world.open(), 'orders')
    expect(wires(await readAll(log))).toEqual(expected(batches))
    for (const from of [40, 39, 3, 2]) {
      expect(wires(await readAll(log, { from, upTo: from + 1 }))).toEqual(expected(batches.slice(from, from + 1)))
    }
  })

  test('goes on with the next batch from inside a gap; one at the very end is not counted', async () => {
    await using world = await archiveWorld()
    const gap = (from: number, to: number) => ({ from, to, reason: 'retention' as const })
    await world.small.append(orders, { baseOffset: 5, batches: [], gaps: [gap(5, 10)], nextOffset: 10 })
    const second = { batches: [batchAt(10, 11), batchAt(20)], gaps: [gap(12, 20), gap(21, 30)] }
    await world.small.append(orders, { ...second, nextOffset: 30 })
    const log = await partitionOf(await world.open(), 'orders')
    expect([log.startOffset, log.highWatermark, log.lastStableOffset]).toEqual([5, 21, 21])
    const firstFrom = async (offset: number) => (await readAll(log, { from: offset })).map(b => b.header.baseOffset)
    expect(await firstFrom(5)).toEqual([10, 20])
    expect(await firstFrom(13)).toEqual([20])
    expect(await firstFrom(21)).toEqual([])
  })

  test('a partition of which nothing was ever archived is empty', async () => {
    await using world = await archiveWorld()
    await world.small.append({ ...orders, partition: 2 }, { batches: [batchAt(0)], nextOffset: 1 })
    const logs = await world.open()
    const topic = await logs.topic('orders')
    expect(topic!.partitions.map(({ startOffset, highWatermark }) => [startOffset, highWatermark])).toEqual([
      [0, 0],
      [0, 0],
      [0, 1]
    ])
    expect(await topic!.partitions[0]!.read(0, { upTo: NOWHERE, maxBytes: 1 })).toEqual([])
    expect(await topic!.partitions[0]!.maxTimestamp()).toBeNull()
    expect((await logs.topicById(orders.topicId))?.name).toBe('orders')
    expect(await logs.topic('elsewhere')).toBeUndefined()
    expect(logs.clusterId).toMatch(/^[\w-]{22}$/)
  })

  test('a partition whose archive cannot be read is an error by itself, until it can', async () => {
    await using world = await archiveWorld()
    for (const partition of [0, 1]) {
      await world.small.append({ ...orders, partition }, { batches: [batchAt(0)], nextOffset: 1 })
    }
    const root = join(world.small.folder, rootKey({ ...orders, partition: 1 }))
    const good = readFileSync(root)
    rmSync(root)
    writeFileSync(root, 'nothing')
    const logs = await world.open()
    const [healthy, damaged] = (await logs.topic('orders'))!.partitions
    expect(healthy!.highWatermark).toBe(1)
    expect(() => damaged!.highWatermark).toThrow('root.json')
    await expect(damaged!.read(0, { upTo: NOWHERE, maxBytes: 1 })).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' })
    await damaged!.changed(0, AbortSignal.timeout(60_000))
    writeFileSync(root, good)
    expect((await logs.topic('orders'))!.partitions[1]!.highWatermark).toBe(1)
  })

  test('a damaged batch is an error that names the segment, after what lies before it', async () => {
    await using world = await archiveWorld()
    const noise = createHash('shake256', { outputLength: 100_000 }).update('noise').digest()
    const batches = Array.from({ length: 30 }, (_, offset) =>
      encodeBatch([{ offset, timestamp: offset, key: null, value: noise, headers: [] }])
    )
    await world.small.append(orders, { batches, nextOffset: 30 })
    const key = segmentKey(orders, 0)
    const file = join(world.small.folder, key)
    const bytes = readFileSync(file)
    bytes[Math.floor(bytes.length * 0.6)]! ^= 1
    rmSync(file)
    writeFileSync(file, bytes)
    const log = await partitionOf(await world.open(), 'orders')
    const before = await log.read(0, { upTo: NOWHERE, maxBytes: NOWHERE })
    expect(before.length).toBeGreaterThan(0)
    const damaged = log.read(before.length, { upTo: NOWHERE, maxBytes: NOWHERE })
    await expect(damaged).rejects.toMatchObject({ code: 'SEGMENT_CORRUPT', message: expect.stringContaining(key) })
  })

  test('a batch with a wrong CRC is never given', async () => {
    await using world = await archiveWorld()
    const good = batchAt(1, 2, 3)
    await world.small.append(orders, { baseOffset: 1, batches: [good], nextOffset: 4 })
    // Intact as a gzip member, wrong inside: another segment's file under this one's name.
    const wire = Buffer.from(good.toWire())
    wire[wire.length - 2]! ^= 1
    const bad = { header: { ...good.header }, toWire: () => wire, records: () => good.records() }
    const other = { ...orders, topicId: 'b3RoZXJzLW90aGVycy1vdA' }
    await world.small.append(other, { baseOffset: 1, batches: [bad as unknown as CanonicalBatch], nextOffset: 4 })
    const from = join(world.small.folder, segmentKey(other, 1))
    const to = join(world.small.folder, segmentKey(orders, 1))
    rmSync(to)
    copyFileSync(from, to)
    const log = await partitionOf(await world.open(), 'orders')
    await expect(log.read(1, { upTo: NOWHERE, maxBytes: 1 })).rejects.toThrow('CRC mismatch')
  })
})

describe('what is read twice', () => {
  /** The bytes that are asked of a store, and how often. */
  function counting(counts: { requests: number; bytes: number }) {
    return (store: ObjectStore): ObjectStore =>
      Object.assign(Object.create(store) as ObjectStore, {
        url: store.url,
        [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
        list: (prefix: string) => store.list(prefix),
        async get(key: string, range?: { start: number; end: number }) {
          const data = await store.get(key, range)
          if (key.endsWith('.tar.gz'))
            Object.assign(counts, { requests: counts.requests + 1, bytes: counts.bytes + data.length })
          return data
        },
        async tail(key: string, bytes: number) {
          counts.requests++
          return store.tail(key, bytes)
        }
      })
  }

  const MiB = 1024 * 1024

  async function large() {
    const world = await archiveWorld()
    for (let segment = 0; segment < 3; segment++) {
      const batches = Array.from({ length: 120 }, (_, i) => {
        const offset = segment * 120 + i
        const value = createHash('shake256', { outputLength: 70_000 }).update(`${offset}`).digest()
        return encodeBatch([{ offset, timestamp: offset, key: null, value, headers: [] }])
      })
      await world.small.append(orders, { batches, nextOffset: (segment + 1) * 120 })
    }
    return world
  }

  test('a consumer that reads on fetches nothing twice, and in runs', async () => {
    await using world = await large()
    const counts = { requests: 0, bytes: 0 }
    const logs = await world.open({ wal: false, through: counting(counts) })
    const log = await partitionOf(logs, 'orders')
    const atStart = { ...counts }
    const batches = await readAll(log)
    expect(batches).toHaveLength(360)
    const logBytes = 360 * 70_000
    const bytes = counts.bytes - atStart.bytes
    // The log does not compress, and beside it only indexes are read.
    expect(bytes).toBeGreaterThan(logBytes)
    expect(bytes).toBeLessThan(logBytes * 1.01)
    // A MiB each; and for each segment its table of contents, its index, and a rest.
    expect(counts.requests - atStart.requests).toBeLessThanOrEqual(logBytes / MiB + 3 * 4)
  })

  test('the cache stays within its budget, however little that is', async () => {
    await using world = await large()
    const logs = await world.open({ wal: false, cacheBytes: MiB })
    const log = await partitionOf(logs, 'orders')
    expect(await readAll(log)).toHaveLength(360)
    expect(logs.cachedBytes).toBeLessThanOrEqual(MiB)
  })
})

describe('archive and WAL', () => {
  test('a batch that moves from one to the other is neither missed nor doubled', async () => {
    await using world = await archiveWorld()
    const batches = Array.from({ length: 20 }, (_, i) => batchAt(3 * i, 3 * i + 1, 3 * i + 2))
    const wal = await world.wal()
    await world.small.append(orders, { batches: batches.slice(0, 4), nextOffset: 12 })
    await world.capture(orders, batches.slice(4, 10))
    const logs = await world.open()
    const read: CanonicalBatch[] = []
    const readOn = async () => {
      const log = await partitionOf(logs, 'orders')
      read.push(...(await readAll(log, { from: read.length * 3, maxBytes: 200 })))
    }
    await readOn()
    expect(read).toHaveLength(10)
    // Five are archived, and gone from the WAL, before anyone looks; five more follow in the WAL.
    await world.capture(orders, batches.slice(10, 15))
    using reader = WalReader.open(world.walFolder)
    const rows = reader.entries(orders)
    await world.small.append(orders, { batches: batches.slice(4, 15), nextOffset: 45 })
    await world.capture(orders, batches.slice(15))
    await wal.release(rows)
    await until(() => reader.entries(orders).length === 5, { what: 'the WAL has let go of what is archived' })
    await until(() => readOn().then(() => read.length >= 20), { what: 'all is read' })
    expect(wires(read)).toEqual(expected(batches))
  })

  test('while a worker runs, nobody is led past what it still has to fetch', async () => {
    await using world = await archiveWorld()
    const [archived, captured, marker, after] = [batchAt(0), batchAt(1, 2), batchAt(3), batchAt(4, 5)]
    await world.small.append(orders, { batches: [archived], nextOffset: 1 })
    await world.capture(orders, [captured, after])
    const log = await partitionOf(await world.open(), 'orders')
    expect(log.highWatermark).toBe(3)
    expect(wires(await readAll(log))).toEqual(expected([archived, captured]))

    await world.capture(orders, [marker], FrameFlag.FETCHED)
    await log.changed(3, AbortSignal.timeout(5_000))
    expect(log.highWatermark).toBe(6)
    expect(wires(await readAll(log))).toEqual(expected([archived, captured, marker, after]))
  })

  test('a captured batch that cannot be read is waited for like one that is missing', async () => {
    await using world = await archiveWorld()
    const [archived, before, damaged, after] = [batchAt(0), batchAt(1, 2), batchAt(3), batchAt(4, 5)]
    await world.small.append(orders, { batches: [archived], nextOffset: 1 })
    await world.capture(orders, [before, damaged, after])
    await flipInWal(world.walFolder, 'record 3')
    const log = await partitionOf(await world.open(), 'orders')
    expect(log.highWatermark).toBe(3)
    expect(wires(await readAll(log))).toEqual(expected([archived, before]))

    await world.capture(orders, [damaged], FrameFlag.FETCHED)
    await log.changed(3, AbortSignal.timeout(5_000))
    expect(log.highWatermark).toBe(6)
    expect(wires(await readAll(log))).toEqual(expected([archived, before, damaged, after]))
  })

  test('where no worker runs, everything that was captured is given', async () => {
    await using world = await archiveWorld()
    await world.small.append(orders, { batches: [batchAt(0)], nextOffset: 1 })
    await world.capture(orders, [batchAt(1, 2), batchAt(4, 5)])
    await (await world.wal())[Symbol.asyncDispose]()
    const log = await partitionOf(await world.open(), 'orders')
    expect((await readAll(log)).map(({ header }) => header.baseOffset)).toEqual([0, 1, 4])
  })

  test('before anything was archived, the log begins with the first capture', async () => {
    await using world = await archiveWorld()
    await world.capture(orders, [batchAt(7, 8), batchAt(9)])
    mkdirSync(world.small.folder, { recursive: true })
    const log = await partitionOf(await world.open(), 'orders')
    expect([log.startOffset, log.highWatermark]).toEqual([7, 10])
    expect(wires(await readAll(log))).toEqual(expected([batchAt(7, 8), batchAt(9)]))
  })

  test('whoever waits at the end is told of what comes, from the WAL and from the archive', async () => {
    await using world = await archiveWorld()
    await world.small.append(orders, { batches: [batchAt(0)], nextOffset: 1 })
    await world.wal()
    const log = await partitionOf(await world.open(), 'orders')
    const captured = log.changed(1, AbortSignal.timeout(5_000))
    await world.capture(orders, [batchAt(1)])
    await captured
    expect(log.highWatermark).toBe(2)

    const cold = await partitionOf(await world.open({ wal: false }), 'orders')
    const archived = cold.changed(1, AbortSignal.timeout(20_000))
    await world.small.append(orders, { batches: [batchAt(1)], nextOffset: 2 })
    await archived
    expect(cold.highWatermark).toBe(2)

    const given = AbortSignal.abort()
    await cold.changed(2, given)
    expect(cold.highWatermark).toBe(2)
  }, 30_000)

  test('a local copy may vanish at any time', async () => {
    await using world = await everywhere()
    const log = await partitionOf(await world.open(), 'orders', 0)
    const { stream, batches } = sample[0]!
    const begin = log.read(log.startOffset, { upTo: NOWHERE, maxBytes: 1 })
    rmSync(join(world.warmFolder, dirname(segmentKey(stream, 0))), { recursive: true })
    await begin
    expect(wires(await readAll(log))).toEqual(expected(batches))
  })
})

describe('an archive that changes', () => {
  const batches = [batchAt(0, 1), batchAt(2, 3), batchAt(4, 5), batchAt(6, 7)]

  async function fourSegments() {
    const world = await archiveWorld()
    for (const batch of batches) await world.small.append(orders, { batches: [batch], nextOffset: nextOf([batch]) })
    return world
  }

  test('what was trimmed is gone, and the rest is read', async () => {
    await using world = await fourSegments()
    const log = await partitionOf(await world.open(), 'orders')
    const { store } = world.small.archive
    const body = Buffer.from('{}')
    const digest = createHash('sha256').update(body).digest('hex')
    await store.putIfAbsent(`cluster/orders/${orders.topicId}/0/trim/${'4'.padStart(20, '0')}.json`, body, digest)
    await store.delete(segmentKey(orders, 0))
    await store.delete(segmentKey(orders, 2))
    await expect(log.read(0, { upTo: NOWHERE, maxBytes: 1 })).rejects.toMatchObject({ code: 'OBJECT_MISSING' })
    expect(log.startOffset).toBe(4)
    expect(wires(await readAll(log))).toEqual(expected(batches.slice(2)))
  })

  test('what was merged is read from where it is now', async () => {
    await using world = await fourSegments()
    const log = await partitionOf(await world.open(), 'orders')
    const { store } = world.small.archive
    // Built aside, by the writer itself, as one segment.
    const aside = { ...orders, topicId: 'YXNpZGUtYXNpZGUtYXNpZA' }
    await world.small.append(aside, { batches: batches.slice(1, 3), baseOffset: 2, nextOffset: 6 })
    const merged = readFileSync(join(world.small.folder, segmentKey(aside, 2)))
    const key = segmentKey(orders, 2).replace('.tar.gz', '.merged.tar.gz')
    await store.putIfAbsent(key, merged, createHash('sha256').update(merged).digest('hex'))
    await store.delete(segmentKey(orders, 2))
    await store.delete(segmentKey(orders, 4))
    expect(wires(await readAll(log))).toEqual(expected(batches))
  })
})

describe('topics', () => {
  test('the newest of a name has it, the others are told apart by their ids', async () => {
    await using world = await archiveWorld()
    const first = orders
    const second = { ...orders, topicId: 'c2Vjb25kLXNlY29uZC1zZQ' }
    const elsewhere = { ...orders, clusterId: 'another', topicId: 'YW5vdGhlci1hbm90aGVyLQ' }
    const hot = { ...orders, topicId: 'aG90LWhvdC1ob3QtaG90LQ' }
    const until = performance.now() + 1_000
    for (const [i, stream] of [first, second, elsewhere].entries()) {
      await world.small.append(stream, { batches: [batchAt(i)], baseOffset: i, nextOffset: i + 1 })
      // Roots say when they were put to the millisecond.
      const now = Date.now()
      while (Date.now() === now && performance.now() < until);
    }
    const names = async (withWal: boolean) => {
      const topics = await (await world.open({ wal: withWal })).topics()
      return Object.fromEntries(topics.map(({ name, topicId }) => [name, topicId]))
    }
    const hex = ({ topicId }: StreamKey) => Buffer.from(topicId, 'base64url').toString('hex').slice(0, 8)
    expect(await names(false)).toEqual({
      orders: elsewhere.topicId,
      [`orders.${hex(first)}`]: first.topicId,
      [`orders.${hex(second)}`]: second.topicId
    })
    await world.capture(hot, [batchAt(9)])
    expect(await names(true)).toEqual({
      orders: hot.topicId,
      [`orders.${hex(first)}`]: first.topicId,
      [`orders.${hex(second)}`]: second.topicId,
      [`orders.${hex(elsewhere)}`]: elsewhere.topicId
    })
    const log = await partitionOf(await world.open(), `orders.${hex(second)}`)
    expect(log.startOffset).toBe(1)
  })
})

describe('transactions', () => {
  const [data, commit, abort] = ['transactional', 'commit', 'abort'].map(name => {
    return CanonicalBatch.fromWire(batchFixture(`broker-${name}`).wire).batch
  })
  const at = (batch: CanonicalBatch | undefined, offset: number, producerId = 1) => {
    const wire = Buffer.from(batch!.withBaseOffset(offset).toWire())
    wire.writeBigInt64BE(BigInt(producerId), 43)
    wire.writeUInt32BE(crc32c(wire.subarray(21)), 17)
    return CanonicalBatch.fromWire(wire).batch
  }

  test('those that were aborted are told of, wherever their markers lie; those that are open hold readers back', async () => {
    await using world = await archiveWorld()
    // Producer 1 aborts [0, 3], producer 2 commits [1, 4], producer 1 aborts [5, 8], producer 3 has [6 open.
    const first = [at(data, 0), at(data, 1, 2), at(data, 2)]
    const second = [at(abort, 3), at(commit, 4, 2), at(data, 5), at(data, 6, 3)]
    const hot = [at(data, 7), at(abort, 8), at(data, 9, 4)]
    await world.small.append(orders, { batches: first, nextOffset: 3 })
    const cold = await partitionOf(await world.open({ wal: false }), 'orders')
    expect([cold.highWatermark, cold.lastStableOffset]).toEqual([3, 0])

    await world.small.append(orders, { batches: second, nextOffset: 7 })
    await world.capture(orders, hot, FrameFlag.FETCHED)
    const log = await partitionOf(await world.open(), 'orders')
    expect([log.highWatermark, log.lastStableOffset]).toEqual([10, 6])
    const aborted = (from: number, to: number) => log.abortedTransactions(from, to).map(one => Object.values(one))
    expect(aborted(0, 1)).toEqual([[1, 0]])
    expect(aborted(1, 3)).toEqual([[1, 0]])
    expect(aborted(3, 4)).toEqual([[1, 0]])
    expect(aborted(4, 5)).toEqual([])
    expect(aborted(4, 6)).toEqual([[1, 5]])
    expect(aborted(0, 10)).toEqual([[1, 0], [1, 5]]) // biome-ignore format: a table
    expect(aborted(9, 10)).toEqual([])

    await world.capture(orders, [at(commit, 10, 3), at(commit, 11, 4)], FrameFlag.FETCHED)
    await log.changed(10, AbortSignal.timeout(5_000))
    expect([log.highWatermark, log.lastStableOffset]).toEqual([12, 12])
    expect(wires(await readAll(log))).toEqual(
      expected([...first, ...second, ...hot, at(commit, 10, 3), at(commit, 11, 4)])
    )
  })
})

describe('timestamps', () => {
  /** What a scan of all records finds. */
  function scan(batches: readonly CanonicalBatch[]) {
    const records = batches.filter(({ header }) => !header.isControl).flatMap(batch => [...batch.records()])
    const highest = Math.max(...records.map(({ timestamp }) => timestamp))
    const first = (since: number) => {
      const found = records.find(({ timestamp }) => timestamp >= since)
      return found === undefined ? null : { offset: found.offset, timestamp: found.timestamp }
    }
    return { records, first, latest: first(highest) }
  }

  test('lookups give what a scan finds, in the archive, in the WAL and in both', async () => {
    await using world = await everywhere()
    const both = await world.open()
    const archived = await world.open({ wal: false })
    for (const { stream, batches } of sample) {
      for (const [logs, some] of [
        [both, batches],
        [archived, batches.slice(0, 17)]
      ] as const) {
        const log = await partitionOf(logs, stream.topic, stream.partition)
        const { records, first, latest } = scan(some)
        expect(await log.maxTimestamp()).toEqual(latest)
        const times = records.flatMap(({ timestamp }) => [timestamp - 1, timestamp, timestamp + 1])
        for (const time of [0, ...times]) expect(await log.offsetForTime(time), `since ${time}`).toEqual(first(time))
      }
    }
  })

  test('with a time index of many entries too', async () => {
    await using world = await archiveWorld()
    const batches = Array.from({ length: 400 }, (_, i) => {
      // Forward on the whole, and back now and then.
      const timestamp = 1_000_000 + i * 10 - (i % 7) * 25
      const value = Buffer.alloc(700, i)
      return encodeBatch([
        { offset: 2 * i, timestamp, key: null, value, headers: [] },
        { offset: 2 * i + 1, timestamp: timestamp + 3, key: null, value, headers: [] }
      ])
    })
    await world.small.append(orders, { batches: batches.slice(0, 250), nextOffset: 500 })
    await world.small.append(orders, { batches: batches.slice(250), nextOffset: 800 })
    const log = await partitionOf(await world.open({ wal: false }), 'orders')
    const { records, first, latest } = scan(batches)
    expect(await log.maxTimestamp()).toEqual(latest)
    for (const { timestamp } of records) expect(await log.offsetForTime(timestamp)).toEqual(first(timestamp))
  })

  test('pass over batches that cannot be read, and consumers get them all the same', async () => {
    await using world = await archiveWorld()
    const [, beyond, , surplus] = unreadable.map(([, make]) => make)
    const archived = [batchAt(0, 1, 2), beyond!(3), surplus!(5), batchAt(7, 8)]
    const captured = [surplus!(9), batchAt(11, 12), beyond!(13)]
    await world.small.append(orders, { batches: archived, nextOffset: 9 })
    await world.capture(orders, captured)
    const log = await partitionOf(await world.open(), 'orders')
    expect(wires(await readAll(log))).toEqual(expected([...archived, ...captured]))
    const { first, latest } = scan([batchAt(0, 1, 2), batchAt(7, 8), batchAt(11, 12)])
    expect(await log.maxTimestamp()).toEqual(latest)
    for (const offset of [0, 2, 3, 6, 7, 9, 11, 12, 13]) {
      const { maxTimestamp } = batchAt(offset).header
      expect(await log.offsetForTime(maxTimestamp), `since ${offset}`).toEqual(first(maxTimestamp))
    }
  })
})
