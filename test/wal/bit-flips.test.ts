// Bits that flip in stored frames: reported by position and stream, and everything around them is still read.
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { FrameCheck } from '../../src/wal/reader.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { Wal } from '../../src/wal/wal.ts'
import { tempFolder } from '../support/temp.ts'
import { captured, expected, orders } from './batches.ts'

const maxBytes = 1024 ** 3
const other = { ...orders, topic: 'parcels' }
/** Batches of two streams in turn. */
const batch = (i: number, size: number) => captured(i, { size, stream: i % 2 === 0 ? orders : other })
const range = (count: number) => Array.from({ length: count }, (_, i) => i)

/** A folder with one file, which holds so many batches, three a commit. */
async function oneFile(count: number, size: number) {
  const folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  for (let i = 0; i < count; i += 3) await wal.append(range(3).map(n => batch(i + n, size)))
  return {
    ...folder,
    path: folder.path,
    file: join(folder.path, '1.wal'),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]()
  }
}

/** Where the frames lie. */
function framesOf(directory: string): { from: number; to: number }[] {
  using reader = WalReader.open(directory)
  return [...reader.verifyAll()].map(({ entry }) => {
    const from = entry!.position
    return { from, to: from + entry!.bytes + frameOverhead(reader, entry!) }
  })
}

function frameOverhead(reader: WalReader, entry: NonNullable<FrameCheck['entry']>): number {
  const { stream } = reader.read(entry)
  return 12 + 2 + stream.clusterId.length + 2 + stream.topic.length + 16 + 4 + 20
}

test('a flip anywhere in a file is reported, and hides no frame but the one that it is in', async () => {
  await using folder = await oneFile(12, 20)
  const whole = await readFile(folder.file)
  const frames = framesOf(folder.path)
  expect(frames).toHaveLength(12)
  for (let position = 0; position < whole.length; position++) {
    const bytes = Buffer.from(whole)
    bytes[position]! ^= 1 << (position % 8)
    await writeFile(folder.file, bytes)
    const hit = frames.findIndex(({ from, to }) => position >= from && position < to)
    const { bad, good } = verified(folder.path, 20)
    expect(good, `byte ${position}`).toEqual(range(12).filter(i => i !== hit))
    expect(bad, `byte ${position}`).toHaveLength(1)
    expect(bad[0]!.error!.message).toContain(folder.file)
  }
})

test('whatever is overwritten, the frames around it are read', async () => {
  await using folder = await oneFile(60, 300)
  const whole = await readFile(folder.file)
  const frames = framesOf(folder.path)
  const damage = fc.record({
    start: fc.nat(whole.length - 1),
    length: fc.integer({ min: 1, max: 3000 }),
    fill: fc.constantFrom('zeros', 'noise')
  })
  await fc.assert(
    fc.asyncProperty(damage, async ({ start, length, fill }) => {
      const bytes = Buffer.from(whole)
      const end = Math.min(start + length, bytes.length)
      bytes.set(fill === 'zeros' ? Buffer.alloc(end - start) : randomBytes(end - start), start)
      await writeFile(folder.file, bytes)
      const hit = frames.map(({ from, to }) => !bytes.subarray(from, to).equals(whole.subarray(from, to)))
      const { bad, good } = verified(folder.path, 300)
      expect(good).toEqual(range(60).filter(i => !hit[i]))
      // Zeros up to the end are what a power cut leaves of a commit that was never finished.
      const isHole = fill === 'zeros' && end === bytes.length
      if (hit.includes(true) && !isHole) expect(bad.length).toBeGreaterThan(0)
    }),
    { numRuns: 300 }
  )
})

test('a start names file, position, stream and offset of what it cannot read, and goes on with all else', async () => {
  await using folder = await oneFile(60, 300)
  const bytes = await readFile(folder.file)
  const frames = framesOf(folder.path)
  const damaged = [4, 5, 31, 59]
  for (const i of damaged) bytes[frames[i]!.to - 1]! ^= 4
  await writeFile(folder.file, bytes)

  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  expect(wal.health.ok).toBe(true)
  expect(wal.recovery).toMatchObject({ files: 1, batches: 56, tornBytes: 0 })
  expect(wal.recovery.damage.map(({ message }) => message)).toEqual(
    damaged.map(i => {
      const { topic } = batch(i, 0).stream
      return `${folder.file}: frame ${i + 1}, at byte ${frames[i]!.from}, fails its CRC; it says it is of ${topic}-0, offset ${i}`
    })
  )
  // What is damaged stays needed until it is archived from elsewhere.
  expect(wal.streams()).toMatchObject([{ unreleasedBatches: 30 }, { unreleasedBatches: 30 }])
  using reader = WalReader.open(folder.path)
  const entries = [...reader.entries(orders), ...reader.entries(other)]
  const needed = entries.filter(({ file, id }) => !wal.isReleased(file, id))
  expect(needed.map(({ baseOffset }) => baseOffset).sort((a, b) => a - b)).toEqual(
    range(60).filter(i => !damaged.includes(i))
  )
  // What is appended once more, as a fetch from the broker does, is stored.
  await wal.append(damaged.map(i => batch(i, 300)))
  expect(verified(folder.path, 300).good.sort((a, b) => a - b)).toEqual(range(60))
})

test('a frame that stands where another one was is refused when it is read', async () => {
  await using folder = await oneFile(3, 300)
  using reader = WalReader.open(folder.path)
  const [first, third] = reader.entries(orders)
  expect(() => reader.read({ ...first!, position: third!.position })).toThrow(
    `${folder.file}: frame 1, at byte ${third!.position} is another one, of orders-0 at offset 2`
  )
})

test('a file that is being written is not taken for a damaged one', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes })
  const appends = range(300).map(i => wal.append([batch(i, 100_000)]))
  let done = false
  const all = Promise.all(appends).then(() => (done = true))
  while (!done) {
    expect(verified(folder.path, 100_000).bad).toEqual([])
    await new Promise(setImmediate)
  }
  await all
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
