// A file of which little is needed does not keep its space: what is needed is copied to the newest file.
import { copyFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { settle } from '../../src/sealing/settle.ts'
import { FrameFlag } from '../../src/wal/frame.ts'
import type { WalEntry } from '../../src/wal/reader.ts'
import { WalReader } from '../../src/wal/reader.ts'
import type { CapturedBatch } from '../../src/wal/wal.ts'
import { Wal } from '../../src/wal/wal.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { captured, expected, orders } from './batches.ts'

const quiet = { ...orders, topic: 'quiet', topicId: 'EBESExQVFhcYGRobHB0eHw' }
const { FETCHED, PROVISIONAL } = FrameFlag
const options = { maxBytes: 1024 ** 3, fileBytes: 1_000_000 }

/** The quiet partition's batches: captured, fetched beside it, and one in doubt. */
const quietBatches: readonly CapturedBatch[] = [
  captured(3, { stream: quiet, size: 1_000 }),
  captured(4, { stream: quiet, size: 1_000, flags: FETCHED }),
  captured(5, { stream: quiet, size: 1_000, flags: PROVISIONAL })
]

/** Puts batches into the newest file, then goes on with a busy partition until so many more files have begun. */
async function fill(wal: Wal, directory: string, quietly: readonly CapturedBatch[], more = 3): Promise<void> {
  await wal.append(quietly)
  const newest = () => entriesOf(directory, orders).at(-1)?.file ?? 1
  const last = newest() + more
  for (let i = entriesOf(directory, orders).length; newest() < last; i++) {
    await wal.append([captured(i, { size: 100_000 })])
  }
}

/** Releases what the busy partition has in files before this one. */
function releaseBusy(wal: Wal, directory: string, before: number): void {
  wal.release(entriesOf(directory, orders).filter(({ file }) => file < before))
}

const entriesOf = (directory: string, stream = quiet): WalEntry[] => {
  using reader = WalReader.open(directory)
  return reader.entries(stream)
}

const files = async (directory: string) => (await readdir(directory)).filter(name => /^\d+\.wal$/.test(name)).sort()

test('what is needed of such a file is copied as it is, and the file deleted', async () => {
  await using folder = await tempFolder('wal')
  const directory = folder.path
  const before: { entries: WalEntry[]; states: unknown[] } = { entries: [], states: [] }
  {
    await using wal = await Wal.open({ directory, ...options })
    await fill(wal, directory, quietBatches)
    releaseBusy(wal, directory, 3)
    before.entries = entriesOf(directory)
    before.states = wal.streams()
    // Copied later, so that the time of the copy is another one.
    await until(() => Date.now() > before.entries[0]!.appendedMs + 20, { what: 'time passes', interval: 5 })
    expect(await files(directory)).toContain('1.wal')
    await wal.freeSparseFile()
    await until(async () => !(await files(directory)).includes('1.wal'), { what: 'the file is deleted' })
    expect(wal.streams()).toEqual(before.states)
    expect(wal.isReleased(1, 1)).toBe(true)

    const moved = entriesOf(directory)
    expect(moved.map(({ file, id, position, ...facts }) => facts)).toEqual(
      before.entries.map(({ file, id, position, ...facts }) => facts)
    )
    expect(Math.min(...moved.map(({ file }) => file))).toBe(4)
    using reader = WalReader.open(directory)
    const bytes = moved.map(entry => {
      const record = reader.read(entry)
      return record.version === 2 ? record.batch : Buffer.alloc(0)
    })
    expect(Buffer.concat(bytes).equals(Buffer.concat(quietBatches.map(expected)))).toBe(true)
    expect([...reader.verifyAll()].filter(({ error }) => error)).toEqual([])

    await wal.append(quietBatches) // known still
    await wal.freeSparseFile() // nothing is left to do
    expect(entriesOf(directory)).toEqual(moved)
  }
  await using wal = await Wal.open({ directory, ...options })
  expect(wal.streams()).toContainEqual(before.states[0])
  wal.release(entriesOf(directory))
  expect(wal.streams().map(({ key }) => key.topic)).not.toContain('quiet')
})

test('an append does not wait until all of it is copied', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes: 1024 ** 3, fileBytes: 20_000_000 })
  const quietly = Array.from({ length: 15 }, (_, i) => captured(i, { stream: quiet, size: 100_000 }))
  await wal.append(quietly)
  for (let i = 0; wal.bytes < 61_000_000; i++) {
    await wal.append([captured(i, { size: 1_000_000 })])
  }
  releaseBusy(wal, folder.path, 2)
  const done: string[] = []
  const note = (what: string) => () => void done.push(what)
  const moving = wal.freeSparseFile().then(note('all is copied'))
  await wal.append([captured(1_000)]).then(note('appended'))
  await moving
  expect(done).toEqual(['appended', 'all is copied'])
  await until(async () => !(await files(folder.path)).includes('1.wal'), { what: 'the file is deleted' })
  expect(entriesOf(folder.path).map(({ baseOffset }) => baseOffset)).toEqual(
    quietly.map(({ baseOffset }) => baseOffset)
  )
})

test('one quiet partition beside a busy one does not make the WAL grow', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, ...options })
  using reader = WalReader.open(folder.path)
  let most = 0
  for (let i = 0; i < 200; i++) {
    await wal.append([captured(i, { size: 100_000 }), captured(i, { size: 500, stream: quiet })])
    wal.release(reader.entries(orders, i))
    await wal.freeSparseFile()
    most = Math.max(most, wal.bytes)
  }
  expect(wal.streams()).toMatchObject([{ key: quiet, firstOffset: 0, lastOffset: 199, unreleasedBatches: 200 }])
  await until(() => wal.bytes === wal.heldBytes, { what: 'what was copied is deleted' })
  expect(reader.entries(quiet).map(({ baseOffset }) => baseOffset)).toEqual(Array.from({ length: 200 }, (_, i) => i))
  expect(most).toBeLessThan(6_000_000)
})

test('a file stays while a tenth of it is needed, and while it is one of the newest two', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, ...options })
  const quietly = (offset: number, size: number) => [captured(offset, { stream: quiet, size })]
  const filesOfQuiet = () => entriesOf(folder.path).map(({ file }) => file)
  await fill(wal, folder.path, quietly(0, 150_000), 1)
  await fill(wal, folder.path, quietly(1, 50_000), 1)
  releaseBusy(wal, folder.path, 3)
  await wal.freeSparseFile()
  expect(filesOfQuiet()).toEqual([1, 2])
  await fill(wal, folder.path, [], 1)
  await wal.freeSparseFile()
  await until(() => !filesOfQuiet().includes(2), { what: 'the second file is deleted' })
  expect(filesOfQuiet()).toEqual([1, 4])
})

test('killed between copy and deletion, it has the rows twice, and they count once', async () => {
  await using folder = await tempFolder('wal')
  const directory = join(folder.path, 'wal')
  const kept = join(folder.path, 'kept.wal')
  {
    await using wal = await Wal.open({ directory, ...options })
    await fill(wal, directory, quietBatches)
    releaseBusy(wal, directory, 3)
    await copyFile(join(directory, '1.wal'), kept)
    await wal.freeSparseFile()
    await until(async () => !(await files(directory)).includes('1.wal'), { what: 'the file is deleted' })
  }
  await copyFile(kept, join(directory, '1.wal'))

  await using wal = await Wal.open({ directory, ...options })
  const twice = entriesOf(directory)
  expect(twice.map(({ baseOffset }) => baseOffset)).toEqual([3, 3, 4, 4, 5, 5])
  const { line, holes } = settle(twice, { from: 3, to: 6 })
  expect(line.map(({ baseOffset, flags }) => [baseOffset, flags])).toEqual([
    [3, 0],
    [4, FETCHED]
  ])
  expect(holes).toEqual([{ from: 5, to: 6 }]) // the one in doubt, as without the copy
  await wal.append(quietBatches)
  expect(entriesOf(directory)).toEqual(twice)

  // After a restart all counts as needed until the archive has been asked.
  wal.release(entriesOf(directory, orders))
  await wal.freeSparseFile()
  await until(async () => !(await files(directory)).includes('1.wal'), { what: 'the file is deleted' })
  wal.release(entriesOf(directory))
  expect(wal.streams()).toEqual([])
})
