// Faults that a review of the WAL's files found, each as it was found.
import { mkdir, readdir, readFile, rename, rm, rmdir, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import { afterEach, expect, test, vi } from 'vitest'
import { encodeBatch } from '../../src/kafka/batch.ts'
import { listFiles } from '../../src/wal/files.ts'
import { FrameFlag, WalRecord } from '../../src/wal/frame.ts'
import type { CapturedBatch } from '../../src/wal/messages.ts'
import { WalReader } from '../../src/wal/reader.ts'
import type { StreamKey } from '../../src/wal/stream.ts'
import { Wal } from '../../src/wal/wal.ts'
import { WalFile } from '../../src/wal/wal-file.ts'
import { runToEnd } from '../support/child.ts'
import { canInject } from '../support/inject.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { captured, expected, orders } from './batches.ts'

const maxBytes = 1024 ** 3
const appender = new URL('./appender.ts', import.meta.url).pathname
const range = (count: number) => Array.from({ length: count }, (_, i) => i)
const other = (topic: string): StreamKey => ({ ...orders, topic })

afterEach(() => void vi.restoreAllMocks())

/** A run of a WAL that makes these appends, one after the other. */
async function run(directory: string, appends: readonly (readonly CapturedBatch[])[]): Promise<void> {
  await using wal = await Wal.open({ directory, maxBytes })
  for (const batches of appends) await wal.append(batches)
}

/** A batch of one record with this value. */
function holding(value: Buffer): CapturedBatch {
  const batch = encodeBatch([{ offset: 0, timestamp: 1_764_000_000_000, key: null, value, headers: [] }])
  return { ...captured(0), chunks: [batch.toWire()] }
}

function found(directory: string, key = orders): number[] {
  using reader = WalReader.open(directory)
  return reader.entries(key).map(({ baseOffset }) => baseOffset)
}

/** Where the frames of `1.wal` begin. */
function positions(directory: string): number[] {
  using reader = WalReader.open(directory)
  return [...reader.verifyAll()].flatMap(({ entry }) => (entry?.file === 1 ? entry.position : []))
}

/** Changes bytes of `1.wal`. */
async function damage(directory: string, change: (bytes: Buffer) => void): Promise<void> {
  const bytes = await readFile(join(directory, '1.wal'))
  change(bytes)
  await writeFile(join(directory, '1.wal'), bytes)
}

/** The mark before the first frame fails its CRC. */
const damageMark = (directory: string) => {
  const [first] = positions(directory)
  return damage(directory, bytes => void (bytes[first! - 1]! ^= 1))
}

/** What the file has there reads as zeros: the mark, and the head of the frame behind it. */
const loseSector = (directory: string) => {
  const [first] = positions(directory)
  return damage(directory, bytes => void bytes.fill(0, first! - 8, first! + 4000))
}

test.skipIf(!canInject)(
  'what a killed process left is made durable before anything counts on it (needs strace)',
  async () => {
    await using folder = await tempFolder('wal')
    await run(folder.path, [[captured(0)]])
    const [path, trace] = ['1.wal', 'trace'].map(name => join(folder.path, name)) as [string, string]
    const strace = ['-f', '-qq', '-o', trace, '-P', path, '-e', 'trace=fsync,fdatasync']
    await runToEnd('strace', [...strace, process.execPath, appender, folder.path, '200', 'exit'])
    expect(await readFile(trace, 'utf8')).toMatch(/f(data)?sync\(/)
  }
)

test.skipIf(!canInject)('a sector that the disk cannot read keeps no worker from starting (needs strace)', async () => {
  await using folder = await tempFolder('wal')
  await run(
    folder.path,
    range(10).map(i => [captured(i, { size: 5000 })])
  )
  const inject = ['-e', 'trace=pread64', '-e', 'inject=pread64:error=EIO:when=3']
  const strace = ['-f', '-qq', '-o', '/dev/null', '-P', join(folder.path, '1.wal'), ...inject]
  const { stdout, stderr } = await runToEnd('strace', [
    ...strace,
    process.execPath,
    appender,
    folder.path,
    '200',
    'exit'
  ])
  expect(stderr.toString()).toBe('')
  expect(stdout.toString()).toContain('200\n')
})

test('a frame within a record is not taken for one of its own, and hides none', async () => {
  await using folder = await tempFolder('wal')
  const payments = other('payments')
  const batch = expected(captured(77, { stream: payments }))
  const facts = { stream: payments, baseOffset: 77, lastOffset: 77, recordCount: 1, batch }
  const forged = WalRecord.encode({ version: 2, flags: FrameFlag.FETCHED, ...facts })
  const value = Buffer.concat([Buffer.alloc(5000), forged, forged, Buffer.alloc(50)])
  await run(folder.path, [[holding(value), captured(1), captured(2)], [captured(3)]])
  await loseSector(folder.path)
  await using _wal = await Wal.open({ directory: folder.path, maxBytes })
  expect(found(folder.path, payments)).toEqual([])
  expect(found(folder.path)).toEqual([1, 2, 3])
})

test('a commit within a record, made for the place where it lies, is not taken for one', async () => {
  await using model = await tempFolder('wal')
  await run(model.path, [[captured(0, { size: 1000 })]])
  const at = (await readFile(join(model.path, '1.wal'))).length
  await rm(model.path, { recursive: true })
  await mkdir(model.path)
  const payments = other('payments')
  await run(model.path, [[captured(0, { size: 1000 })], [captured(77, { stream: payments })]])
  const commit = (await readFile(join(model.path, '1.wal'))).subarray(at)

  await using probe = await tempFolder('wal')
  await run(probe.path, [[holding(Buffer.alloc(2000, 'x'))]])
  const begin = (await readFile(join(probe.path, '1.wal'))).indexOf('xxxx')
  await using folder = await tempFolder('wal')
  const value = Buffer.alloc(2000, 'x')
  value.set(commit, at - begin)
  await run(folder.path, [[holding(value)], [captured(1)], [captured(2)]])
  await damageMark(folder.path)
  expect(found(folder.path, payments)).toEqual([])
  expect(found(folder.path)).toEqual([0, 1, 2])
})

test('a mark of impossible numbers within a record keeps no worker from starting', async () => {
  await using folder = await tempFolder('wal')
  const mark = Buffer.alloc(44, 0x7f)
  mark.write('MRGR')
  mark.writeUInt32BE(1, 4)
  mark.writeUInt32BE(crc32c(mark.subarray(0, 40)), 40)
  await run(folder.path, [[holding(mark)], [captured(1)]])
  await damageMark(folder.path)
  expect(found(folder.path)).toEqual([0, 1])
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  expect(wal.recovery).toMatchObject({ batches: 2 })
})

test.for(['frames', 'marks'])(
  'a record full of what begins %s is passed without a look at each of them as a whole',
  { timeout: 60_000 },
  async kind => {
    await using folder = await tempFolder('wal')
    const size = 1024 * 1024
    const value = Buffer.alloc(size)
    for (let at = 0; at + 100 < size; at += 8) {
      if (kind === 'marks') value.write('MRGR', at)
      else value.writeUInt32BE(0xca7e0200, at)
      value.writeUInt32BE(kind === 'marks' ? Math.floor((size - at) / 4) - 15 : size - at - 12, at + 4)
    }
    await run(folder.path, [[holding(value)], [captured(1)]])
    await loseSector(folder.path)
    const looks = vi.spyOn(WalFile.prototype, 'peek')
    expect(found(folder.path)).toEqual([1])
    // To look at each of what seems to begin there as a whole would make it gigabytes.
    expect(looks.mock.calls.reduce((sum, [, length]) => sum + length, 0)).toBeLessThan(10 * size)
  }
)

test('a look at a file whose failed commit is just being cut off leaves no wrong places behind', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  for (const i of range(3)) await wal.append([captured(i, { size: 5000 })])
  const path = join(folder.path, '1.wal')
  const { length } = await readFile(path)
  const third = positions(folder.path)[2]!
  using reader = WalReader.open(folder.path)
  const bases = () => reader.entries(orders).map(({ baseOffset }) => baseOffset)
  vi.spyOn(WalFile.prototype, 'size', 'get').mockReturnValueOnce(length)
  await truncate(path, third + 16)
  expect(bases()).toEqual([0, 1])
  expect(bases()).toEqual([0, 1])
})

test('a reader notices that a number has been given anew, since the folder was emptied', async () => {
  await using folder = await tempFolder('wal')
  await run(folder.path, [[captured(0)]])
  using reader = WalReader.open(folder.path)
  expect(reader.entries(orders)).toHaveLength(1)
  for (const name of await readdir(folder.path)) await rm(join(folder.path, name))
  await run(folder.path, [[captured(7)]])
  expect(reader.entries(orders).map(({ baseOffset }) => baseOffset)).toEqual([7])
})

test('a name that no file of the WAL has is none of its files', async () => {
  await using folder = await tempFolder('wal')
  for (const name of ['007.wal', '0.wal', '99999999999999999999.wal']) await writeFile(join(folder.path, name), '')
  expect(listFiles(folder.path, 'wal')).toEqual([]) // a reader waited for ever for 7.wal
})

test('of a commit that was cut after it had counted, the frames that are whole are read', async () => {
  await using folder = await tempFolder('wal')
  await run(folder.path, [range(8).map(i => captured(i, { size: 5000 }))])
  await run(folder.path, [[captured(20)]])
  await truncate(join(folder.path, '1.wal'), positions(folder.path)[7]! + 200)
  expect(found(folder.path)).toEqual([...range(7), 20])
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  expect(wal.recovery).toMatchObject({ batches: 8 })
})

test('commits that counted and are overwritten at the end of the newest file are damage, not a torn tail', async () => {
  await using folder = await tempFolder('wal')
  await run(folder.path, [[captured(0)]])
  await using model = await tempFolder('wal')
  await run(
    model.path,
    range(9).map(i => [captured(i)])
  )
  const from = (await readFile(join(folder.path, '1.wal'))).length
  await damage(model.path, bytes => void bytes.fill(0xff, from))
  await using wal = await Wal.open({ directory: model.path, maxBytes })
  expect(wal.recovery).toMatchObject({ batches: 1, tornBytes: 0, damage: [{ code: 'WAL_CORRUPT' }] })
})

test('a batch is not acknowledged because of a copy that has become unreadable', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  const batch = captured(0, { size: 5000 })
  await wal.append([batch])
  await damage(folder.path, bytes => void (bytes[3000]! ^= 1))
  await wal.append([batch])
  using reader = WalReader.open(folder.path)
  const records = reader.entries(orders).flatMap(entry => {
    try {
      return [reader.read(entry)]
    } catch {
      return []
    }
  })
  expect(records).toHaveLength(1)
})

test('a frame whose head has become unreadable does not fail the append of the same batch', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  await wal.append([captured(0)])
  const [first] = positions(folder.path)
  await damage(folder.path, bytes => void (bytes[first!]! ^= 1))
  await wal.append([captured(0)])
  expect(wal.health).toEqual({ ok: true })
})

test('a file that cannot be deleted refuses no appends, and is deleted when it can be', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes, fileBytes: 50_000 })
  for (const i of range(20)) await wal.append([captured(i, { size: 10_000 })])
  using reader = WalReader.open(folder.path)
  const rows = reader.entries(orders)
  const changes: boolean[] = []
  wal.onHealthChange(({ ok }) => changes.push(ok))
  const [path, away] = ['1.wal', 'away'].map(name => join(folder.path, name)) as [string, string]
  await rename(path, away)
  await mkdir(path)
  wal.release(rows.filter(({ file }) => file < 3))
  await until(async () => !(await readdir(folder.path)).includes('2.wal'), { what: 'the other file is deleted' })
  for (const i of range(5)) await wal.append([captured(100 + i)])
  expect(changes).toEqual([])
  await rmdir(path)
  await rename(away, path)
  wal.release(rows.filter(({ file }) => file === 3))
  await until(() => wal.bytes === wal.heldBytes, { what: 'it is deleted' })
  expect(await readdir(folder.path)).not.toContain('1.wal')
})

test('a release of what a reader found after damage lets go of no other frame', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  const [a, b, c] = ['a', 'b', 'c'].map(other) as [StreamKey, StreamKey, StreamKey]
  await wal.append([a, b, c].map((stream, i) => captured(i, { stream })))
  const [first] = positions(folder.path)
  await damage(folder.path, bytes => void bytes.fill(0, first! - 1, first! + 20))
  using reader = WalReader.open(folder.path)
  wal.release(reader.entries(c))
  expect(wal.streams().map(({ key }) => key.topic)).toEqual(['a', 'b'])
})

test('a commit whose mark is damaged keeps the time of its append', async () => {
  await using folder = await tempFolder('wal')
  await run(folder.path, [[captured(0)]])
  using reader = WalReader.open(folder.path)
  const [entry] = reader.entries(orders)
  await damageMark(folder.path)
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  expect(wal.streams()).toMatchObject([{ oldestAppend: entry!.appendedMs }])
})
