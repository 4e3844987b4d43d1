// Whoever follows the WAL from another thread sees each frame once, while files grow, are damaged and are deleted.
import { existsSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { WalFollower } from '../../src/wal/follower.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { Wal } from '../../src/wal/wal.ts'
import { flipBit } from '../support/flip.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { captured, orders } from './batches.ts'

/** The base offsets of all frames that have come, by file and id. */
function followed(follower: WalFollower): number[] {
  return follower.look().flatMap(({ read }) => [...follower.frames(read.file)].map(({ baseOffset }) => baseOffset))
}

test('each frame is seen once, over looks, commits and files', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes: 2 ** 30, fileBytes: 4096 })
  using follower = new WalFollower(folder.path)
  const seen: number[] = []
  const sent = Array.from({ length: 200 }, (_, offset) => offset)
  const appending = sent.map(offset => wal.append([captured(offset)]))
  for (let done = false; !done; ) {
    done = await Promise.race([
      Promise.all(appending).then(() => true),
      new Promise<false>(go => setImmediate(go, false))
    ])
    seen.push(...followed(follower))
  }
  expect(seen.toSorted((a, b) => a - b)).toEqual(sent)
  expect(followed(follower)).toEqual([])
  expect(follower.look().every(({ bytesAhead }) => bytesAhead === 0)).toBe(true)
  expect(follower.look().map(({ isSettled }) => isSettled)).toEqual([
    ...follower
      .look()
      .slice(1)
      .map(() => true),
    false
  ])
})

test('a frame whose head is damaged is left out, and hides no other', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes: 2 ** 30 })
  for (const offset of [0, 1, 2]) await wal.append([captured(offset)])
  using reader = WalReader.open(folder.path)
  await flipBit(join(folder.path, '1.wal'), reader.entries(orders)[1]!.position)
  using follower = new WalFollower(folder.path)
  expect(followed(follower)).toEqual([0, 2])
})

test('a file that is deleted is closed before the next look', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes: 2 ** 30, fileBytes: 1024 })
  for (let offset = 0; offset < 30; offset++) await wal.append([captured(offset)])
  using follower = new WalFollower(folder.path)
  const [first] = follower.look()
  const { file, path } = first!.read
  {
    using reader = WalReader.open(folder.path)
    wal.release(reader.entries(orders).filter(entry => entry.file === file))
  }
  await until(() => !existsSync(path), { what: 'the first file is deleted' })
  follower.closeDeleted()
  expect(follower.has(file)).toBe(false)
  expect([...follower.frames(file)]).toEqual([])
  if (process.platform !== 'linux') return
  const held = () =>
    readdirSync('/proc/self/fd').filter(fd => {
      try {
        return readlinkSync(join('/proc/self/fd', fd)) === `${path} (deleted)`
      } catch {
        return false // the one that lists them
      }
    })
  await until(() => held().length === 0, { what: 'nobody holds it' })
})
