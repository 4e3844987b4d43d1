// What a start does with what an earlier run left: torn tails are dropped, damage is reported and left where it is, and whatever
// is sound counts.
import { copyFile, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import { expect, test } from 'vitest'
import type { BatchRecord, SingleRecord } from '../../src/wal/frame.ts'
import { WalRecord } from '../../src/wal/frame.ts'
import { encodeFileHeader, encodeMark } from '../../src/wal/layout.ts'
import { isLocked } from '../../src/wal/lock.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { Wal } from '../../src/wal/wal.ts'
import { runToEnd } from '../support/child.ts'
import type { TempFolder } from '../support/temp.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { appendsIn } from './appends.ts'
import { captured, expected, orders } from './batches.ts'

const maxBytes = 1024 ** 3
const appender = new URL('./appender.ts', import.meta.url).pathname

/** A folder as an earlier run left it: so many commits of one batch of about 5 KB, from an offset on. */
async function leftFolder(count = 10): Promise<TempFolder> {
  const folder = await tempFolder('wal')
  await addRun(folder.path, 0, count)
  return folder
}

async function addRun(directory: string, from: number, count: number): Promise<void> {
  await using wal = await Wal.open({ directory, maxBytes })
  for (let i = from; i < from + count; i++) await wal.append([captured(i, { size: 5000 })])
}

const bases = (directory: string) => {
  using reader = WalReader.open(directory)
  return reader.entries(orders).map(({ baseOffset }) => baseOffset)
}
const range = (count: number) => Array.from({ length: count }, (_, i) => i)
const pathOf = (folder: TempFolder, name: string) => join(folder.path, name)

test('a process that exits without closing leaves its files whole', async () => {
  await using folder = await tempFolder('wal')
  const { stdout, stderr } = await runToEnd(process.execPath, [appender, folder.path, '0', 'exit'])
  expect(stderr.toString()).toBe('')
  const confirmed = stdout.toString().split('\n').slice(0, -1).length
  expect(confirmed).toBeGreaterThan(0)
  expect(appendsIn(folder.path).size).toBeGreaterThanOrEqual(confirmed)
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  expect(wal.recovery).toMatchObject({ damage: [] })
  expect(appendsIn(folder.path).size).toBeGreaterThanOrEqual(confirmed)
})

test('a second process is told that the folder is taken, whoever looks at lock and files meanwhile', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  await wal.append([captured(0)])
  // The lock is one of POSIX: closing any other handle of the file would let go of it.
  expect(isLocked(folder.path)).toBe(true)
  expect(bases(folder.path)).toEqual([0])
  await expect(Wal.open({ directory: folder.path, maxBytes })).rejects.toMatchObject({ code: 'DATA_LOCKED' })
  const { stderr } = await runToEnd(process.execPath, [appender, folder.path, '0'])
  expect(stderr.toString()).toContain('DATA_LOCKED')
  expect(stderr.toString()).toContain(folder.path)
  await wal.append([captured(1)])
  expect(bases(folder.path)).toEqual([0, 1])
})

test('a commit that the file ends within is a torn tail, wherever it ends', async () => {
  await using folder = await leftFolder()
  const path = pathOf(folder, '1.wal')
  const whole = await readFile(path)
  const last = whole.lastIndexOf('MRGR')
  for (const end of [last + 1, last + 7, last + 8, last + 30, last + 43, last + 44, last + 60, whole.length - 1]) {
    await writeFile(path, whole.subarray(0, end))
    expect(bases(folder.path), `ends at ${end}`).toEqual(range(9))
    using reader = WalReader.open(folder.path)
    expect([...reader.verifyAll()].filter(({ error }) => error)).toEqual([])
  }
  {
    await using wal = await Wal.open({ directory: folder.path, maxBytes })
    expect(wal.recovery).toMatchObject({ files: 1, batches: 9, tornBytes: whole.length - 1 - last, damage: [] })
    expect(wal.streams()).toMatchObject([{ lastOffset: 8 }])
    await wal.append([captured(9, { size: 5000 })])
    expect(bases(folder.path)).toEqual(range(10))
  }
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  expect(wal.recovery).toMatchObject({ files: 2, batches: 10, tornBytes: 0, damage: [] })
})

test('what a failed commit left in a file does not count, since the next file says where it ends', async () => {
  await using folder = await leftFolder()
  const path = pathOf(folder, '1.wal')
  const whole = await readFile(path)
  await truncate(path, whole.lastIndexOf('MRGR'))
  await addRun(folder.path, 20, 1)
  await writeFile(path, whole)
  expect(bases(folder.path)).toEqual([...range(9), 20])
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  expect(wal.recovery).toMatchObject({ batches: 10, damage: [] })
  expect(wal.streams()).toMatchObject([{ unreleasedBatches: 10 }])
})

test.for([0, 20, 36, 3000])(
  'a file that was cut to %i bytes is reported, since the next one knows its size',
  async size => {
    await using folder = await leftFolder()
    await addRun(folder.path, 10, 3)
    const path = pathOf(folder, '1.wal')
    const before = (await stat(path)).size
    await truncate(path, size)
    const faults = () => {
      using reader = WalReader.open(folder.path)
      return [...reader.verifyAll()].flatMap(({ error }) => error?.message ?? [])
    }
    const verified = faults()
    expect(verified).toContain(`${path} has ${size} bytes, and had ${before} when the next one was begun`)
    await using wal = await Wal.open({ directory: folder.path, maxBytes })
    expect(wal.recovery.damage.map(({ message }) => message)).toEqual(verified)
    expect(bases(folder.path)).toEqual([10, 11, 12])
    // It is not deleted, though nothing in it is needed.
    await until(async () => (await readdir(folder.path)).includes('1.damaged'), { what: 'it is set aside' })
    expect((await stat(pathOf(folder, '1.damaged'))).size).toBe(size)
  }
)

test('the newest file of zero length is reported, and set aside', async () => {
  await using folder = await leftFolder(3)
  await addRun(folder.path, 10, 3)
  await truncate(pathOf(folder, '2.wal'), 0)
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  expect(wal.recovery.damage).toMatchObject([
    { code: 'WAL_CORRUPT', message: `${pathOf(folder, '2.wal')}: a WAL file has 44 bytes or more (got 0)` }
  ])
  expect(bases(folder.path)).toEqual(range(3))
  await until(async () => (await readdir(folder.path)).includes('2.damaged'), { what: 'it is set aside' })
  expect(await readdir(folder.path)).toEqual(expect.arrayContaining(['1.wal', '2.damaged', '3.wal']))
})

test('a damaged file keeps what is sound in it until that is released, then it is set aside and its number not used again', async () => {
  await using folder = await leftFolder(10)
  const path = pathOf(folder, '1.wal')
  const bytes = await readFile(path)
  bytes[bytes.length - 100]! ^= 1
  await writeFile(path, bytes)
  {
    await using wal = await Wal.open({ directory: folder.path, maxBytes })
    expect(wal.streams()).toMatchObject([{ unreleasedBatches: 10, lastOffset: 9 }]) // it is needed, from wherever
    expect(wal.isReleased(1, 10)).toBe(true)
    await wal.append([captured(9, { size: 5000 })]) // the copy that cannot be read is no duplicate
    using reader = WalReader.open(folder.path)
    const rows = reader.entries(orders)
    wal.release(rows)
    await until(async () => (await readdir(folder.path)).includes('1.damaged'), { what: 'it is set aside' })
    expect((await readFile(pathOf(folder, '1.damaged'))).equals(bytes)).toBe(true)
  }
  await rm(pathOf(folder, '2.wal'))
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  await wal.append([captured(0)])
  expect((await readdir(folder.path)).filter(name => name !== 'lock.db').sort()).toEqual(['1.damaged', '2.wal'])
})

test('a file of another version, and one of SQLite as there were before, are refused and left alone', async () => {
  await using folder = await leftFolder(2)
  const path = pathOf(folder, '1.wal')
  const bytes = await readFile(path)
  bytes.writeUInt32BE(2, 4)
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, 40)), 40)
  await writeFile(path, bytes)
  await expect(Wal.open({ directory: folder.path, maxBytes })).rejects.toMatchObject({
    code: 'WAL_CORRUPT',
    message: `${path}: it has version 2, and this Millrace reads 1`,
    hint: expect.stringContaining('Start the Millrace that wrote it')
  })
  expect((await readFile(path)).equals(bytes)).toBe(true)
  await copyFile(path, pathOf(folder, '1.db'))
  await rm(path)
  await expect(Wal.open({ directory: folder.path, maxBytes })).rejects.toMatchObject({
    message: expect.stringContaining('1.db is a WAL file of a Millrace before this format')
  })
  expect(await readdir(folder.path)).toEqual(expect.arrayContaining(['1.db']))
})

test('records of both versions are recovered, in order', async () => {
  await using folder = await tempFolder('wal')
  const single: SingleRecord = {
    ...{ version: 1, flags: 0, stream: orders, offset: 4, timestamp: 1_764_000_000_000 },
    ...{ key: null, value: Buffer.from('four'), headers: [] }
  }
  const { chunks, ...facts } = captured(5)
  const batch: BatchRecord = { version: 2, ...facts, batch: expected({ chunks, ...facts }) }
  const frames = [single, batch].map(WalRecord.encode)
  const mark = { file: 1, salt: 7n, position: 44, firstId: 1, appendedMs: 1000, lengths: frames.map(f => f.length) }
  const header = encodeFileHeader({ file: 1, previous: 0, previousBytes: 0, salt: 7n })
  await writeFile(pathOf(folder, '1.wal'), Buffer.concat([header, encodeMark(mark), ...frames, encodeMark(mark, true)]))
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  expect(wal.recovery).toMatchObject({ batches: 2, damage: [] })
  using reader = WalReader.open(folder.path)
  expect(reader.entries(orders).map(entry => reader.read(entry))).toEqual([single, batch])
})

test('a file that a crash left in the making is removed', async () => {
  await using folder = await leftFolder(3)
  await writeFile(pathOf(folder, '7.draft'), 'half')
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  expect(wal.recovery.damage).toEqual([])
  expect((await readdir(folder.path)).sort()).toEqual(['1.wal', '2.wal', 'lock.db'])
})
