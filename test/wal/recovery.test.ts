import { copyFile, cp, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { expect, test } from 'vitest'
import { WalReader } from '../../src/wal/reader.ts'
import { Wal } from '../../src/wal/wal.ts'
import { checkFile } from '../../src/wal/wal-check.ts'
import { runToEnd } from '../support/child.ts'
import type { TempFolder } from '../support/temp.ts'
import { tempFolder } from '../support/temp.ts'
import { appendsIn } from './appends.ts'
import { captured, orders } from './batches.ts'

const maxBytes = 1024 ** 3
const appender = new URL('./appender.ts', import.meta.url).pathname
const SLOT = 24 + 16_384

/** A folder as an earlier run left it: ten commits of one batch of about 50 KB. */
async function leftFolder(): Promise<TempFolder> {
  const folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  for (let i = 0; i < 10; i++) await wal.append([captured(i, { size: 50_000 })])
  return folder
}

async function flip(path: string, position: number): Promise<void> {
  const file = await open(path, 'r+')
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, position)
  buffer[0]! ^= 1
  await file.write(buffer, 0, 1, position)
  await file.close()
}

async function contents(directory: string): Promise<Record<string, string>> {
  const names = (await readdir(directory)).filter(name => name !== 'lock.db').sort()
  const files = await Promise.all(
    names.map(async name => [name, (await readFile(join(directory, name))).toString('hex')])
  )
  return Object.fromEntries(files)
}

async function openFails(directory: string): Promise<unknown> {
  const before = await contents(directory)
  const error = await Wal.open({ directory, maxBytes }).then(
    wal => wal.close().then(() => 'it opened'),
    error => error
  )
  expect(await contents(directory)).toEqual(before)
  return error
}

const bases = (directory: string) => {
  using reader = WalReader.open(directory)
  return reader.entries(orders).map(({ baseOffset }) => baseOffset)
}

test('a process that exits without closing leaves its files whole, and nothing moved out of a -wal', async () => {
  // Which handle a dying thread closes first is a matter of chance: several times.
  for (let round = 0; round < 6; round++) {
    await using folder = await tempFolder('wal')
    const { stdout, stderr } = await runToEnd(process.execPath, [appender, folder.path, '0', 'exit'])
    expect(stderr.toString()).toBe('')
    const confirmed = stdout.toString().split('\n').slice(0, -1).length
    expect(confirmed).toBeGreaterThan(0)
    const names = await readdir(folder.path)
    for (const name of names.filter(name => /^\d+\.db$/.test(name))) {
      expect(names).toContain(`${name}-wal`)
      expect((await stat(join(folder.path, name))).size).toBe(3 * 16_384)
    }
    expect(appendsIn(folder.path).size).toBeGreaterThanOrEqual(confirmed)
    await (await Wal.open({ directory: folder.path, maxBytes })).close()
  }
})

test('a second process is told that the folder is taken', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  await wal.append([captured(0)])
  const { stderr } = await runToEnd(process.execPath, [appender, folder.path, '0'])
  expect(stderr.toString()).toContain('DATA_LOCKED')
  expect(stderr.toString()).toContain(folder.path)
  await expect(Wal.open({ directory: folder.path, maxBytes })).rejects.toMatchObject({ code: 'DATA_LOCKED' })
  await wal.append([captured(1)])
  expect(bases(folder.path)).toEqual([0, 1])
})

test('a flipped bit in a -wal is refused with its position, where SQLite would drop what follows', async () => {
  await using folder = await leftFolder()
  await using copy = await tempFolder('wal')
  const path = join(folder.path, '1.db-wal')
  await flip(path, 32 + 14 * SLOT + 5000)
  await cp(folder.path, copy.path, { recursive: true })
  await rm(join(copy.path, '1.db-shm'), { force: true })

  expect(await openFails(folder.path)).toMatchObject({
    code: 'WAL_CORRUPT',
    message: expect.stringContaining(`${path} is damaged at byte ${32 + 14 * SLOT}`),
    hint: expect.stringContaining('Nothing was changed')
  })
  expect(() => bases(folder.path)).toThrow(expect.objectContaining({ code: 'WAL_CORRUPT' }))

  const sqlite = new Database(join(copy.path, '1.db'), { readonly: true })
  const { rows } = sqlite.prepare<[], { rows: number }>('select count(*) rows from frame').get()!
  expect(sqlite.pragma('integrity_check', { simple: true })).toBe('ok')
  expect(rows).toBeLessThan(10)
  sqlite.close()
})

test('a flipped bit is refused wherever it is, up to the last commit', async () => {
  await using folder = await leftFolder()
  const path = join(folder.path, '1.db-wal')
  const { size } = await stat(path)
  const positions = [0, 9, 17, 25, 33, 37, 41, 49, size - SLOT + 5, size - SLOT + 9, size - 1]
  for (let slot = 32; slot < size; slot += 5 * SLOT) positions.push(slot + 24, slot + 8, slot + SLOT - 1)
  for (const position of positions) {
    await flip(path, position)
    expect(() => checkFile(folder.path, 1), `byte ${position}`).toThrow(
      expect.objectContaining({ code: 'WAL_CORRUPT' })
    )
    await flip(path, position)
  }
  expect(checkFile(folder.path, 1)).toEqual({ committedBytes: size, tornBytes: 0 })
})

test('a -wal that ends in the middle of a transaction has a torn tail, wherever it ends', async () => {
  await using folder = await leftFolder()
  const path = join(folder.path, '1.db-wal')
  const whole = await readFile(path)
  for (const cut of [1, SLOT - 1, SLOT, SLOT + 1, 2 * SLOT + 24]) {
    await writeFile(path, whole.subarray(0, whole.length - cut))
    const { committedBytes, tornBytes } = checkFile(folder.path, 1)
    expect(committedBytes + tornBytes).toBe(whole.length - cut)
    expect(tornBytes).toBeGreaterThan(0)
    expect(tornBytes).toBeLessThan(5 * SLOT)
  }
  await truncate(path, whole.length - SLOT)
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  expect(wal.streams()).toMatchObject([{ lastOffset: 8 }])
  await wal.append([captured(9, { size: 50_000 })])
  expect(bases(folder.path)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
})

test('holes that a power cut left in the last transaction are a torn tail, holes before it are damage', async () => {
  await using folder = await leftFolder()
  const path = join(folder.path, '1.db-wal')
  const whole = await readFile(path)
  const hole = (start: number) => Buffer.from(whole).fill(0, start, start + SLOT)
  await writeFile(path, hole(whole.length - 2 * SLOT))
  expect(checkFile(folder.path, 1).tornBytes).toBeGreaterThan(0)
  await writeFile(path, hole(whole.length - 12 * SLOT))
  expect(() => checkFile(folder.path, 1)).toThrow(/commits stand behind it/)
})

test('a .db of zero length beside its -wal is refused, and both are left alone', async () => {
  await using folder = await leftFolder()
  await truncate(join(folder.path, '1.db'), 0)
  const wal = (await stat(join(folder.path, '1.db-wal'))).size
  expect(await openFails(folder.path)).toMatchObject({
    code: 'WAL_CORRUPT',
    message: expect.stringContaining(`1.db is empty or missing beside a -wal of ${wal} bytes`)
  })
  await rm(join(folder.path, '1.db'))
  expect(await openFails(folder.path)).toMatchObject({ code: 'WAL_CORRUPT' })
})

test('a .db without its -wal is refused', async () => {
  await using folder = await leftFolder()
  await rm(join(folder.path, '1.db-wal'))
  expect(await openFails(folder.path)).toMatchObject({
    code: 'WAL_CORRUPT',
    message: expect.stringContaining('1.db has no -wal file')
  })
})

test('a .db into which another SQLite program moved the whole -wal is read as it is', async () => {
  await using folder = await leftFolder()
  const sqlite = new Database(join(folder.path, '1.db'))
  sqlite.prepare('select count(*) from frame').get()
  sqlite.close()
  expect(await readdir(folder.path)).not.toContain('1.db-wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  expect(wal.streams()).toMatchObject([{ unreleasedBatches: 10 }])
  using reader = WalReader.open(folder.path)
  expect([...reader.verifyAll()].filter(({ error }) => error !== undefined)).toEqual([])
})

test('creations and deletions that a crash interrupted are finished', async () => {
  await using folder = await leftFolder()
  const at = (name: string) => join(folder.path, name)
  await copyFile(at('1.db'), at('0.gone'))
  await copyFile(at('1.db-wal'), at('0.db-wal'))
  await writeFile(at('7.draft'), 'half')
  await writeFile(at('7.draft-wal'), '')
  await writeFile(at('8.db-wal'), '')
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  expect(wal.streams()).toMatchObject([{ unreleasedBatches: 10 }])
  const names = (await readdir(folder.path)).filter(name => !name.endsWith('-shm') && name !== 'lock.db').sort()
  expect(names).toEqual(['1.db', '1.db-wal', '2.db', '2.db-wal'])
})
