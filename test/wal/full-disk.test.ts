import { execFileSync } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { CapturedBatch } from '../../src/wal/messages.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { Wal } from '../../src/wal/wal.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { captured, orders } from './batches.ts'

const canMount = process.platform === 'linux' && process.getuid?.() === 0 && tryMount()

function tryMount(): boolean {
  try {
    execFileSync('unshare', ['--mount', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** A file system of its own with room for `mebibytes`. */
async function smallDisk(mebibytes: number) {
  const folder = await tempFolder('disk')
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'millrace-test', folder.path])
  return {
    path: folder.path,
    async [Symbol.asyncDispose]() {
      execFileSync('umount', [folder.path])
      await folder.dispose()
    }
  }
}

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

function readBases(directory: string): number[] {
  using reader = WalReader.open(directory)
  return reader.entries(orders).map(({ baseOffset }) => baseOffset)
}
