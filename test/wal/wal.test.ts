import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { expect, test, vi } from 'vitest'
import { FrameFlag } from '../../src/wal/frame.ts'
import type { CapturedBatch } from '../../src/wal/messages.ts'
import type { WalEntry } from '../../src/wal/reader.ts'
import { WalReader } from '../../src/wal/reader.ts'
import type { StreamKey } from '../../src/wal/stream.ts'
import type { WalOptions } from '../../src/wal/wal.ts'
import { Wal } from '../../src/wal/wal.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { captured, expected, orders } from './batches.ts'

const GiB = 1024 ** 3

async function openWal(options: Partial<WalOptions> = {}) {
  const folder = options.directory === undefined ? await tempFolder('wal') : undefined
  const directory = options.directory ?? folder!.path
  const wal = await Wal.open({ maxBytes: GiB, ...options, directory })
  return {
    wal,
    directory,
    async [Symbol.asyncDispose]() {
      await wal.close()
      await folder?.dispose()
    }
  }
}

/** Compared in place of the bytes: vitest takes a second for a megabyte. */
const digest = (bytes: Buffer) => `${bytes.length} ${createHash('sha256').update(bytes).digest('hex')}`
const wanted = (batch: CapturedBatch) => digest(expected(batch))

function readAll(directory: string, key: StreamKey = orders): string[] {
  using reader = WalReader.open(directory)
  return reader.entries(key).map(entry => digest(batchOf(reader, entry)))
}

function batchOf(reader: WalReader, entry: WalEntry): Buffer {
  const record = reader.read(entry)
  if (record.version !== 2) throw new Error('not a batch')
  return record.batch
}

const files = async (directory: string) => (await readdir(directory)).filter(name => /^\d+\.wal$/.test(name)).sort()
const range = (count: number) => Array.from({ length: count }, (_, i) => i)

test('what was appended is read back byte for byte, with the assigned base offset', async () => {
  await using opened = await openWal()
  const other = { ...orders, topic: 'ördersß', partition: 3 }
  const batches = range(20).map(i => captured(i, { size: i * 4000, stream: i % 2 ? orders : other }))
  await opened.wal.append(batches)
  for (const stream of [orders, other]) {
    expect(readAll(opened.directory, stream)).toEqual(batches.filter(batch => batch.stream === stream).map(wanted))
  }
})

test('chunks may be reused as soon as append has returned', async () => {
  await using opened = await openWal()
  const batch = captured(5)
  const bytes = expected(batch)
  const done = opened.wal.append([batch])
  for (const chunk of batch.chunks) chunk.fill(0)
  await done
  expect(readAll(opened.directory)).toEqual([digest(bytes)])
})

test('appends that arrive while a commit runs share the next one', async () => {
  await using opened = await openWal()
  let commits = 0
  opened.wal.onCommit(() => commits++)
  await Promise.all(range(400).map(i => opened.wal.append([captured(i)])))
  using reader = WalReader.open(opened.directory)
  const rows = reader.entries(orders)
  expect(rows.map(({ baseOffset }) => baseOffset)).toEqual(range(400))
  expect(commits).toBeLessThan(100)
})

test('the same batch again is not stored again, whatever its base-offset and leader-epoch bytes say', async () => {
  await using opened = await openWal()
  const batch = captured(9)
  await opened.wal.append([batch, batch])
  const wire = expected(batch)
  wire.writeInt32BE(77, 12)
  await opened.wal.append([{ ...batch, chunks: [wire] }])
  expect(readAll(opened.directory)).toEqual([wanted(batch)])
  expect(opened.wal.streams()).toMatchObject([{ unreleasedBatches: 1, unreleasedBytes: expected(batch).length }])
})

test('another batch at the same offset, and the same one under other flags, are kept beside the first', async () => {
  await using opened = await openWal()
  const [first, second] = [captured(9), captured(9, { seed: 'other' })]
  await opened.wal.append([first])
  await opened.wal.append([second, { ...first, flags: FrameFlag.FETCHED }])
  expect(readAll(opened.directory)).toEqual([first, second, first].map(wanted))
  using reader = WalReader.open(opened.directory)
  expect(reader.entries(orders).map(({ flags }) => flags)).toEqual([0, 0, FrameFlag.FETCHED])
})

test('a duplicate is recognised in older files, after a restart too', async () => {
  await using folder = await tempFolder('wal')
  const batches = range(12).map(i => captured(i, { size: 60_000 }))
  {
    await using opened = await openWal({ directory: folder.path, fileBytes: 150_000 })
    for (const batch of batches) await opened.wal.append([batch])
    for (const batch of batches) await opened.wal.append([batch])
  }
  await using opened = await openWal({ directory: folder.path })
  await opened.wal.append(batches)
  expect(readAll(folder.path)).toEqual(batches.map(wanted))
  expect((await files(folder.path)).length).toBeGreaterThan(3)
})

test('entries gives the batches that hold an offset of the range, in order, also when they came out of order', async () => {
  await using opened = await openWal()
  const wide = { ...captured(10), lastOffset: 19, recordCount: 10 }
  await opened.wal.append([captured(30), captured(5)])
  await opened.wal.append([wide])
  await opened.wal.append([captured(20)])
  using reader = WalReader.open(opened.directory)
  const bases = (from?: number, to?: number) => reader.entries(orders, from, to).map(({ baseOffset }) => baseOffset)
  expect(bases()).toEqual([5, 10, 20, 30])
  expect(bases(15)).toEqual([10, 20, 30])
  expect(bases(6, 20)).toEqual([10])
  expect(bases(20, 30)).toEqual([20])
  await opened.wal.append([captured(25)])
  expect(bases(20)).toEqual([20, 25, 30])
  expect(reader.streams()).toEqual([orders])
})

test('entries ends with the batch that exceeds the bytes, in order over all files', async () => {
  await using opened = await openWal({ fileBytes: 150_000 })
  const offsets = [...range(6), ...range(6).map(i => i + 10), 7, 8, 9]
  for (const i of offsets) await opened.wal.append([captured(i, { size: 60_000 })])
  expect((await files(opened.directory)).length).toBeGreaterThan(3)
  using reader = WalReader.open(opened.directory)
  const bases = (from: number, bytes?: number, to?: number) =>
    reader.entries(orders, from, to, bytes).map(({ baseOffset }) => baseOffset)
  expect(bases(0)).toEqual(offsets.toSorted((a, b) => a - b))
  const { bytes } = reader.entries(orders)[0]!
  expect(bases(4, 4 * bytes)).toEqual([4, 5, 7, 8, 9])
  expect(bases(4, 4 * bytes - 1)).toEqual([4, 5, 7, 8])
  expect(bases(4, 0)).toEqual([4])
  expect(bases(4, 4 * bytes, 8)).toEqual([4, 5, 7])
})

test('on request a batch is kept beside itself', async () => {
  await using opened = await openWal()
  const batch = captured(9)
  await opened.wal.append([batch])
  await opened.wal.append([batch, batch], { keepRepeats: true })
  expect(readAll(opened.directory)).toEqual([batch, batch, batch].map(wanted))
})

test('the oldest file tells its streams, and is deleted when it is released', async () => {
  await using opened = await openWal({ fileBytes: 150_000 })
  const { wal } = opened
  const other = { ...orders, partition: 1 }
  expect(wal.oldestFile()).toBeUndefined()
  await wal.append([captured(3, { stream: other })])
  for (let i = 0; i < 7; i++) await wal.append([captured(i, { size: 60_000 })])
  const { file, lastOffsets } = wal.oldestFile()!
  expect([file, [...lastOffsets]]).toEqual([
    1,
    [
      [other, 3],
      [orders, 2]
    ]
  ])
  const held = wal.heldBytes
  expect(held).toBe(wal.bytes)
  wal.releaseFile(file)
  expect(wal.heldBytes).toBeLessThan(held - 150_000)
  expect(wal.oldestFile()?.file).toBe(2)
  expect(wal.streams()).toMatchObject([{ key: orders, firstOffset: 3 }])
  await until(() => wal.bytes === wal.heldBytes, { what: 'the deletion is heard of' })
  expect(await files(opened.directory)).not.toContain('1.wal')
})

test('streams can be released whole', async () => {
  await using opened = await openWal({ fileBytes: 150_000 })
  const { wal } = opened
  const [first, second] = [1, 2].map(partition => ({ ...orders, partition }))
  for (let i = 0; i < 6; i++) {
    await wal.append([orders, first!, second!].map(stream => captured(i, { size: 30_000, stream })))
  }
  wal.releaseStreams([orders, second!])
  expect(wal.streams()).toMatchObject([{ key: first, firstOffset: 0, unreleasedBatches: 6 }])
  wal.releaseStreams([first!])
  await until(async () => (await files(opened.directory)).length === 1, { what: 'the newest file alone is left' })
})

test('a batch whose CRC or size is wrong is refused, and its neighbours in other calls are not', async () => {
  await using opened = await openWal()
  const broken = expected(captured(1))
  broken[broken.length - 1]! ^= 1
  const bad = opened.wal.append([captured(0), { ...captured(1), chunks: [broken] }])
  const short = opened.wal.append([{ ...captured(2), chunks: [expected(captured(2)).subarray(0, 80)] }])
  const good = opened.wal.append([captured(3)])
  await expect(bad).rejects.toMatchObject({ code: 'BATCH_CORRUPT', message: /offset 1 fails its CRC/ })
  await expect(short).rejects.toMatchObject({ code: 'BATCH_CORRUPT' })
  await good
  expect(opened.wal.health).toEqual({ ok: true })
  expect(readAll(opened.directory)).toEqual([wanted(captured(3))])
})

test('release moves the first offset, and deletes files of which nothing is needed', async () => {
  await using opened = await openWal({ fileBytes: 200_000 })
  const { wal, directory } = opened
  for (const i of range(20)) await wal.append([captured(i, { size: 50_000 })])
  using reader = WalReader.open(directory)
  const rows = reader.entries(orders)
  const size = expected(captured(0, { size: 50_000 })).length
  expect(wal.streams()).toMatchObject([{ key: orders, firstOffset: 0, lastOffset: 19, unreleasedBatches: 20 }])
  const before = await files(directory)
  wal.release(rows.slice(0, 10))
  expect(wal.streams()).toMatchObject([
    { firstOffset: 10, lastOffset: 19, unreleasedBytes: size * 10, oldestAppend: rows[10]!.appendedMs }
  ])
  expect(wal.isReleased(rows[9]!.file, rows[9]!.id)).toBe(true)
  expect(wal.isReleased(rows[10]!.file, rows[10]!.id)).toBe(false)
  await until(async () => (await files(directory)).length < before.length, { what: 'a file is deleted' })
  expect(reader.entries(orders, 10).map(({ baseOffset }) => baseOffset)).toEqual(range(20).slice(10))
  wal.release(rows)
  expect(wal.streams()).toEqual([])
  await until(async () => (await files(directory)).length === 1, { what: 'one file is left' })
  expect(() => {
    reader.entries(orders)
    reader.read(rows[0]!)
  }).toThrow(expect.objectContaining({ code: 'OBJECT_MISSING' }))
})

test('space stays bounded while batches are appended and released', async () => {
  await using opened = await openWal({ maxBytes: 8_000_000, fileBytes: 1_000_000 })
  using reader = WalReader.open(opened.directory)
  let most = 0
  for (const i of range(400)) {
    await until(() => opened.wal.health.ok, { what: 'the WAL has room' })
    await opened.wal.append([captured(i, { size: 100_000 })])
    if (i % 10 === 9) opened.wal.release(reader.entries(orders, i - 9, i + 1))
    most = Math.max(most, opened.wal.bytes)
  }
  expect(most).toBeLessThan(6_000_000)
  await until(async () => (await files(opened.directory)).length < 3, { what: 'the released files are gone' })
})

test('at maxBytes appends are refused until releases make room', async () => {
  await using opened = await openWal({ maxBytes: 3_000_000, fileBytes: 100_000_000 })
  const { wal, directory } = opened
  const changes: boolean[] = []
  const remove = wal.onHealthChange(({ ok }) => changes.push(ok))
  const stored: CapturedBatch[] = []
  while (wal.health.ok) {
    const batch = captured(stored.length, { size: 200_000 })
    await wal.append([batch])
    stored.push(batch)
  }
  // It says so before anybody had to be refused.
  expect(wal.health).toMatchObject({ ok: false, error: { code: 'WAL_FULL' } })
  await expect(wal.append([captured(stored.length)])).rejects.toMatchObject({ code: 'WAL_FULL', retriable: true })
  expect(stored.length).toBeGreaterThan(10)
  using reader = WalReader.open(directory)
  wal.release(reader.entries(orders))
  await until(() => wal.health.ok, { what: 'the WAL has room' })
  await wal.append([captured(stored.length)])
  expect(changes).toEqual([false, true])
  remove()
})

test('closing is quick however much is there, and all of it is read again', async () => {
  await using folder = await tempFolder('wal')
  const batches = range(100).map(i => captured(i, { size: 50_000 }))
  const wal = await Wal.open({ directory: folder.path, maxBytes: GiB })
  await wal.append(batches)
  const moved = await bytesMoved()
  await wal.close()
  // None of the 5 MB is read or written once more; what else this process moves meanwhile is little.
  expect((await bytesMoved()) - moved).toBeLessThan(1_000_000)
  await expect(wal.append([captured(0)])).rejects.toMatchObject({ code: 'WAL_FAILED' })
  expect(readAll(folder.path)).toEqual(batches.map(wanted))
  await using opened = await openWal({ directory: folder.path })
  expect(opened.wal.streams()).toMatchObject([{ firstOffset: 0, lastOffset: 99, unreleasedBatches: 100 }])
  expect(readAll(folder.path)).toEqual(batches.map(wanted))
  expect(await files(folder.path)).toEqual(['1.wal', '2.wal'])
})

/** How many bytes this process, with its threads, has read and written so far; 0 where the system does not tell. */
async function bytesMoved(): Promise<number> {
  const text = process.platform === 'linux' ? await readFile('/proc/self/io', 'utf8') : ''
  return [...text.matchAll(/^[rw]char: (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0)
}

test('a file without rows does not survive a restart, and no number is used twice', async () => {
  await using folder = await tempFolder('wal')
  for (const i of [1, 2, 3]) {
    await using opened = await openWal({ directory: folder.path })
    await until(async () => (await files(opened.directory)).join() === `${i}.wal`, { what: `only ${i}.wal is left` })
  }
})

test('while the disk hangs nothing more is taken into memory, but for what makes room, and all goes on by itself', async () => {
  await using opened = await openWal()
  const { wal } = opened
  const heard: boolean[] = []
  wal.onHealthChange(({ ok }) => heard.push(ok))
  // Nothing is heard of the disk within one turn, however long it lasts.
  const first = wal.append([captured(0)])
  const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 4_900)
  expect(wal.health.ok).toBe(true)
  clock.mockReturnValue(performance.now() + 200)
  expect(wal.health).toMatchObject({
    ok: false,
    error: { code: 'WAL_FAILED', message: expect.stringContaining('has not taken an append for 5 s') }
  })
  const refused = wal.append([captured(1)])
  const makesRoom = wal.append([captured(2)], { beyondLimit: true })
  clock.mockRestore()
  await expect(refused).rejects.toThrow('has not taken an append')
  await first
  await makesRoom
  expect(wal.health.ok).toBe(true)
  await wal.append([captured(3)])
  expect(heard).toEqual([false, true])
  expect(readAll(opened.directory)).toEqual([0, 2, 3].map(i => wanted(captured(i))))
})
