import { readdirSync, readlinkSync, rmSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { listFiles, walPath } from '../../src/wal/files.ts'
import type { CapturedBatch } from '../../src/wal/messages.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { Wal } from '../../src/wal/wal.ts'
import { runOrThrow } from '../support/child.ts'
import { canMount, smallDisk } from '../support/small-disk.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { appendsIn } from './appends.ts'
import { captured, orders } from './batches.ts'
import type { Survived } from './survivor.ts'

const survivor = new URL('./survivor.ts', import.meta.url).pathname

test.skipIf(!canMount)(
  'a full disk (needs root): appends fail as one, none is half there, and the WAL goes on when there is room',
  async () => {
    await using disk = await smallDisk(6)
    const filler = join(disk.path, 'filler')
    await writeFile(filler, Buffer.alloc(4_000_000))
    const directory = join(disk.path, 'wal')
    const stored: number[] = []
    let next = 0
    {
      await using wal = await Wal.open({ directory, maxBytes: 1024 ** 3 })
      const changes: boolean[] = []
      wal.onHealthChange(({ ok }) => changes.push(ok))
      const append = async () => {
        const offset = next++
        const batch: CapturedBatch = captured(offset, { size: 100_000 })
        await wal.append([batch])
        stored.push(offset)
      }
      const fill = async () => {
        for (;;) await append()
      }
      const outcomes = await Promise.allSettled([fill(), fill(), fill()])
      for (const outcome of outcomes) {
        expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'WAL_FAILED', retriable: true } })
      }
      expect(outcomes[0]).toMatchObject({ reason: { message: expect.stringContaining(directory) } })
      expect(wal.health).toMatchObject({ ok: false, error: { code: 'WAL_FAILED' } })
      await expect(append()).rejects.toMatchObject({ code: 'WAL_FAILED' })
      expect(stored.length).toBeGreaterThan(5)
      expect(readBases(directory)).toEqual(stored.toSorted((a, b) => a - b))

      await rm(filler)
      await until(() => wal.health.ok, { what: 'the WAL is healthy again' })
      for (let i = 0; i < 10; i++) await append()
      expect(changes).toEqual([false, true])
      expect(readBases(directory)).toEqual(stored.toSorted((a, b) => a - b))
    }
    await using wal = await Wal.open({ directory, maxBytes: 1024 ** 3 })
    expect(wal.streams()).toMatchObject([{ unreleasedBatches: stored.length }])
    using reader = WalReader.open(directory)
    expect([...reader.verifyAll()].filter(({ error }) => error !== undefined)).toEqual([])
  }
)

test.skipIf(!canMount)(
  'a full disk (needs root): what was appended before its failure was heard of is not stored, though there is room by then',
  async () => {
    await using disk = await smallDisk(12)
    const directory = join(disk.path, 'wal')
    await using wal = await Wal.open({ directory, maxBytes: 1024 ** 3 })
    await wal.append([captured(0)])
    const filler = join(disk.path, 'filler')
    await writeFile(filler, Buffer.alloc(11_000_000))
    const handles = openHandles(walPath(directory, 1))
    const failing = wal.append([captured(1, { size: 2_000_000 })])
    // Nothing is heard of the WAL thread until the next await: it fails, closes its writer, and goes on in a new file.
    spinUntil(() => openHandles(walPath(directory, 1)) < handles)
    rmSync(filler)
    spinUntil(() => listFiles(directory, 'wal').length > 1)
    const outcomes = await Promise.allSettled([failing, wal.append([captured(2)])])
    for (const outcome of outcomes)
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'WAL_FAILED' } })
    await until(() => wal.health.ok, { what: 'the failure is heard of, and its end' })
    await wal.append([captured(3)])
    expect(readBases(directory)).toEqual([0, 3])
  }
)

test.skipIf(process.platform === 'win32')(
  'at the limit of ulimit -f appends fail as one, none is half there, and the WAL goes on in the next file',
  async () => {
    await using folder = await tempFolder('wal')
    const limited = ['-c', 'ulimit -f 2000; exec "$@"', 'sh', process.execPath, survivor, folder.path]
    const { stored, refused, health } = JSON.parse((await runOrThrow('sh', limited)).toString()) as Survived
    expect(refused).toHaveLength(4)
    for (const refusal of refused)
      expect(refusal).toMatchObject({ code: 'WAL_FAILED', retriable: true, healthy: false })
    expect(health).toEqual([false, true])
    expect(listFiles(folder.path, 'wal')).toEqual([1, 2])
    expect(appendsIn(folder.path)).toEqual(new Set(stored))
    await using _wal = await Wal.open({ directory: folder.path, maxBytes: 1024 ** 3 })
    expect(appendsIn(folder.path)).toEqual(new Set(stored))
  }
)

/** How often this process has a file open. */
function openHandles(path: string): number {
  return readdirSync('/proc/self/fd').filter(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path
    } catch {
      return false // closed meanwhile
    }
  }).length
}

/** Waits without letting anything else of this thread run. */
function spinUntil(condition: () => boolean): void {
  const deadline = Date.now() + 10_000
  while (!condition()) if (Date.now() > deadline) throw new Error('waited in vain')
}

function readBases(directory: string): number[] {
  using reader = WalReader.open(directory)
  return reader.entries(orders).map(({ baseOffset }) => baseOffset)
}
