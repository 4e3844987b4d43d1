// Bits that flip in stored frames, where SQLite notices nothing (its checksums fit, or are not looked at while the file is in use):
// reported by position and stream, and everything around them is still read.
import { readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { expect, test } from 'vitest'
import type { FrameCheck } from '../../src/wal/reader.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { Wal } from '../../src/wal/wal.ts'
import { tempFolder } from '../support/temp.ts'
import { captured, expected, orders } from './batches.ts'

const maxBytes = 1024 ** 3
const PAGE = 16_384
const SLOT = 24 + PAGE
const other = { ...orders, topic: 'parcels' }
/** Batches of two streams in turn. */
const batch = (i: number, size: number) => captured(i, { size, stream: i % 2 === 0 ? orders : other })

test('a flip in a frame, whatever part of it, is reported by file, row, stream and offset, and the others are still read', async () => {
  await using folder = await tempFolder('wal')
  const count = 60
  {
    await using wal = await Wal.open({ directory: folder.path, maxBytes })
    for (let i = 0; i < count; i++) await wal.append([batch(i, 300)])
  }
  // From the magic to the last byte of the batch, in every third row.
  const damaged = Array.from({ length: count / 3 }, (_, i) => i * 3)
  rewriteBodies(join(folder.path, '1.db'), damaged, (body, i) => {
    body[Math.floor((i / count) * body.length)]! ^= 1 << (i % 8)
  })

  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  expect(wal.health.ok).toBe(true)
  const { bad, good } = verified(folder.path, 300)
  expect(good).toEqual(Array.from({ length: count }, (_, i) => i).filter(i => !damaged.includes(i)))
  expect(bad).toHaveLength(damaged.length)
  for (const [place, { key, entry, error }] of bad.entries()) {
    const i = damaged[place]!
    const { topic } = batch(i, 0).stream
    expect(key).toMatchObject({ topic })
    expect(entry).toMatchObject({ id: i + 1, baseOffset: i })
    expect(error).toMatchObject({ code: 'WAL_CORRUPT' })
    expect(error!.message).toContain(`1.db row ${i + 1} (${topic}-0, offset ${i}): `)
    using reader = WalReader.open(folder.path)
    expect(() => reader.read(entry!)).toThrow(expect.objectContaining({ code: 'WAL_CORRUPT' }))
  }
})

test('a frame under another row than its own is reported', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  await wal.append([0, 1, 2, 3, 4, 5].map(i => batch(i, 300)))
  await wal.close()
  const columns = ['stream = 1 - stream', 'base = base + 1', 'last = last + 1', 'flags = 1', 'stream = 7']
  change(join(folder.path, '1.db'), db => {
    for (const [i, set] of columns.entries()) db.exec(`update frame set ${set} where id = ${i + 1}`)
  })
  const { bad, good } = verified(folder.path, 300)
  expect(good).toEqual([5])
  expect(bad.map(({ entry }) => entry!.id)).toEqual([1, 2, 3, 4, 5])
  const messages = bad.map(({ error }) => error!.message)
  for (const message of messages.slice(0, 4)) expect(message).toContain('holds the frame of another row, of ')
  expect(messages[4]).toContain('row 5 (unknown stream 7, offset 4) names no stream of the file')
})

test.for([
  { count: 12, size: 20_000, rowsOfPage: 5 },
  { count: 150, size: 300, rowsOfPage: 40 }
])(
  'a flip in a file in use is reported by its place, and hides no more than its page: $count batches of $size bytes',
  async ({ count, size, rowsOfPage }) => {
    await using folder = await tempFolder('wal')
    await using wal = await Wal.open({ directory: folder.path, maxBytes })
    for (let i = 0; i < count; i++) await wal.append([batch(i, size)])
    const path = join(folder.path, '1.db-wal')
    const whole = readFileSync(path)
    await using file = await open(path, 'r+')
    for (const [page, slot] of lastSlots(whole)) {
      for (const place of [0, 3, 5, 8, 9, 12, 17, 100, 5000, 12_000, PAGE - 50, PAGE - 1]) {
        const position = slot + 24 + place
        await file.write(Buffer.of(whole[position]! ^ (1 << (place % 8))), 0, 1, position)
        const { bad, good } = verified(folder.path, size)
        await file.write(whole, position, 1, position)
        const what = `page ${page}, byte ${place}`
        // Page 1 names the tables, 2 the streams, 3 the way to the rows: SQLite may find nothing without them.
        if (page > 3) expect(good.length, what).toBeGreaterThanOrEqual(count - rowsOfPage)
        const opened = bad.every(({ error }) => !error!.message.includes('1.db: '))
        if (opened) expect(bad.at(-1)!.error!.message, what).toContain(`${path} is damaged at byte ${slot}`)
        if (good.length < count - rowsOfPage) expect(bad.length, what).toBeGreaterThan(0)
      }
    }
    expect(verified(folder.path, size)).toMatchObject({ bad: [], good: { length: count } })
  }
)

test('a file that is being written is not taken for a damaged one', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  const appends = Array.from({ length: 300 }, (_, i) => wal.append([batch(i, 100_000)]))
  let done = false
  const all = Promise.all(appends).then(() => (done = true))
  while (!done) {
    expect(verified(folder.path, 100_000).bad).toEqual([])
    await new Promise(setImmediate)
  }
  await all
})

test('a file that cannot be opened is reported, and those beside it are read', async () => {
  await using folder = await tempFolder('wal')
  for (const i of [0, 1, 2]) {
    await using wal = await Wal.open({ directory: folder.path, maxBytes })
    await wal.append([batch(i, 300)])
  }
  const path = join(folder.path, '2.db-wal')
  const file = await open(path, 'r+')
  await file.write(Buffer.of(readFileSync(path)[32 + SLOT - 1]! ^ 1), 0, 1, 32 + SLOT - 1)
  await file.close()
  const { bad, good } = verified(folder.path, 300)
  expect(good).toEqual([0, 2])
  expect(bad).toMatchObject([{ file: 2, error: { code: 'WAL_CORRUPT' } }])
  expect(bad[0]!.error!.message).toContain('2.db-wal is damaged at byte 32')
  await expect(Wal.open({ directory: folder.path, maxBytes })).rejects.toMatchObject({ code: 'WAL_CORRUPT' })
})

/** The outcomes that are errors, and the offsets of the frames that are read as they were appended. */
function verified(directory: string, size: number): { bad: FrameCheck[]; good: number[] } {
  using reader = WalReader.open(directory)
  const bad: FrameCheck[] = []
  const good: number[] = []
  for (const outcome of reader.verifyAll()) {
    if (outcome.error !== undefined) {
      bad.push(outcome)
      continue
    }
    const { baseOffset } = outcome.entry!
    const record = reader.read(outcome.entry!)
    const { stream } = batch(baseOffset, 0)
    expect(outcome.key).toEqual(stream)
    if (record.version !== 2 || !record.batch.equals(expected(batch(baseOffset, size)))) {
      throw new Error(`other bytes are read at offset ${baseOffset}, and no error`)
    }
    good.push(baseOffset)
  }
  return { bad, good }
}

/** Where the newest version of each page begins in a -wal. */
function lastSlots(wal: Buffer): Map<number, number> {
  const slots = new Map<number, number>()
  for (let at = 32; at < wal.length; at += SLOT) slots.set(wal.readUInt32BE(at), at)
  return slots
}

/** Changes stored frames through SQLite, so that its checksums fit; by index, row `i + 1`. */
function rewriteBodies(path: string, rows: readonly number[], flip: (body: Buffer, i: number) => void): void {
  change(path, db => {
    const read = db.prepare<[number], { body: Buffer }>('select body from frame where id = ?')
    const write = db.prepare('update frame set body = ? where id = ?')
    for (const i of rows) {
      const { body } = read.get(i + 1)!
      flip(body, i)
      write.run(body, i + 1)
    }
  })
}

function change(path: string, work: (db: Database.Database) => void): void {
  const db = new Database(path)
  db.pragma('wal_autocheckpoint = 0')
  work(db)
  const holder = new Database(path, { readonly: true }) // the last to close leaves the -wal alone only if it may not write
  holder.pragma('user_version')
  db.close()
  holder.close()
}
