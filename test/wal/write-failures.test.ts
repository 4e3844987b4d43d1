// What keeps the WAL from writing, besides a full disk: every waiting append fails, none of them counts as stored, health says
// so, and the WAL goes on by itself.
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { listFiles } from '../../src/wal/files.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { Wal } from '../../src/wal/wal.ts'
import { runOrThrow } from '../support/child.ts'
import { canInject, injectArgs } from '../support/inject.ts'
import { canMount, readOnlyOver } from '../support/small-disk.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { appendOf, appendsIn } from './appends.ts'
import type { Survived } from './survivor.ts'

const survivor = new URL('./survivor.ts', import.meta.url).pathname
const maxBytes = 1024 ** 3

test.skipIf(!canInject).for([
  ['fdatasync', 'EIO', 'EIO: i/o error'],
  ['pwritev', 'EIO', 'EIO: i/o error'],
  ['pwritev', 'EROFS', 'EROFS: read-only file system'],
  ['pwritev', 'ENOSPC', 'ENOSPC: no space left on device']
] as const)(
  'when %s fails with %s (needs strace), four appends fail as one, and the WAL goes on in the next file',
  async ([call, errno, message]) => {
    await using folder = await tempFolder('wal')
    const inject = injectArgs({ call, errno, path: join(folder.path, '1.wal'), when: '30' })
    const output = await runOrThrow('strace', [...inject, process.execPath, survivor, folder.path])
    const { stored, refused, health } = JSON.parse(output.toString()) as Survived
    expect(refused).toHaveLength(4)
    for (const refusal of refused) {
      expect(refusal).toMatchObject({ code: 'WAL_FAILED', retriable: true, healthy: false })
      expect(refusal.message).toContain(message)
    }
    expect(health).toEqual([false, true])
    expect(stored.length).toBeGreaterThan(10)
    expect(listFiles(folder.path, 'wal')).toEqual([1, 2])
    await expectStored(folder.path, { stored, refused: refused.map(({ number }) => number) })
  }
)

test.skipIf(!canInject)(
  'what waits for the transaction after the one that fails, fails too (needs strace)',
  async () => {
    await using folder = await tempFolder('wal')
    const inject = injectArgs({ call: 'fdatasync', errno: 'EIO', path: join(folder.path, '1.wal'), when: '10' })
    const lanes = ['12', '6000000'] // a transaction takes three of them
    const output = await runOrThrow('strace', [...inject, process.execPath, survivor, folder.path, ...lanes])
    const { refused, health } = JSON.parse(output.toString()) as Survived
    expect(refused).toHaveLength(12)
    expect(health).toEqual([false, true])
  }
)

test.skipIf(!canInject)(
  'while the files that should come next fail too (needs strace), nothing is stored',
  async () => {
    await using folder = await tempFolder('wal')
    const inject = injectArgs({ call: 'fdatasync', errno: 'EIO', when: '30..32' })
    const output = await runOrThrow('strace', [...inject, process.execPath, survivor, folder.path])
    const { stored, refused, health } = JSON.parse(output.toString()) as Survived
    expect(refused).toHaveLength(4)
    expect(health).toEqual([false, true])
    expect(listFiles(folder.path, 'wal')).toEqual([1, 4])
    expect(listFiles(folder.path, 'draft')).toEqual([])
    await expectStored(folder.path, { stored, refused: refused.map(({ number }) => number) })
  }
)

test.skipIf(!canMount)(
  'on a folder that has become read-only (needs root) appends fail when the next file is due, and go on when it is writable',
  async () => {
    await using folder = await tempFolder('wal')
    const stored: number[] = []
    const refused: number[] = []
    {
      await using wal = await Wal.open({ directory: folder.path, maxBytes, fileBytes: 300_000 })
      const changes: boolean[] = []
      wal.onHealthChange(({ ok }) => changes.push(ok))
      let next = 0
      const append = async () => {
        const number = next++
        await wal.append(appendOf(number)).catch(error => {
          refused.push(number)
          throw error
        })
        stored.push(number)
      }
      await append()
      {
        using _cover = readOnlyOver(folder.path)
        const fill = async () => {
          for (;;) await append()
        }
        const outcomes = await Promise.allSettled([fill(), fill(), fill()])
        for (const outcome of outcomes) {
          expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'WAL_FAILED', retriable: true } })
        }
        expect(wal.health).toMatchObject({ ok: false, error: { code: 'WAL_FAILED' } })
        await expect(append()).rejects.toMatchObject({ code: 'WAL_FAILED' })
      }
      await until(() => wal.health.ok, { what: 'the WAL is healthy again' })
      for (let i = 0; i < 10; i++) await append()
      expect(changes).toEqual([false, true])
    }
    await expectStored(folder.path, { stored, refused })
  }
)

test.skipIf(!canMount)('a WAL is not opened in a read-only folder (needs root), and the error says why', async () => {
  await using folder = await tempFolder('wal')
  await (await Wal.open({ directory: folder.path, maxBytes })).close()
  const before = await readdir(folder.path)
  {
    using _cover = readOnlyOver(folder.path)
    await expect(Wal.open({ directory: folder.path, maxBytes })).rejects.toMatchObject({
      code: 'WAL_FAILED',
      message: expect.stringContaining(folder.path)
    })
  }
  expect(await readdir(folder.path)).toEqual(before)
  await (await Wal.open({ directory: folder.path, maxBytes })).close()
})

/** What was stored is there now and after a start; what was refused is there whole (the disk has it all the same) or not at all. */
async function expectStored(directory: string, { stored, refused }: { stored: number[]; refused: number[] }) {
  const check = () => {
    const found = appendsIn(directory)
    expect([...new Set(stored).difference(found)]).toEqual([])
    expect([...found.difference(new Set([...stored, ...refused]))]).toEqual([])
    using reader = WalReader.open(directory)
    expect([...reader.verifyAll()].filter(({ error }) => error !== undefined)).toEqual([])
  }
  check()
  await using _wal = await Wal.open({ directory, maxBytes })
  check()
}
