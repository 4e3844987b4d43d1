import { statfsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { WalReader } from '../../src/wal/reader.ts'
import { Wal } from '../../src/wal/wal.ts'
import { canMount, smallDisk } from '../support/small-disk.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { captured, orders } from './batches.ts'

const MiB = 2 ** 20
const maxBytes = 1024 ** 3

test('a disk that has less free than the reserve takes nothing from the first moment, and says why and what helps', async () => {
  await using folder = await tempFolder('wal')
  await using wal = await Wal.open({ directory: folder.path, maxBytes, reserveBytes: 2 ** 60 })
  expect(wal.health).toMatchObject({ ok: false, error: { code: 'WAL_FULL', retriable: true } })
  const refusal = await wal.append([captured(0)]).catch(error => error)
  expect(refusal).toMatchObject({ code: 'WAL_FULL', retriable: true })
  expect(refusal.message).toMatch(/disk\.reserve/)
  expect(refusal.message).toContain(folder.path)
  expect(refusal.message).toMatch(/down to \d+ MiB free, and the WAL leaves 1099511627776 MiB to sealing/)
  expect(refusal.message).toMatch(/free space on it/)
  expect(wal.streams()).toEqual([])
  await wal.append([captured(0)], { beyondLimit: true }) // what sealing needs
  expect(wal.streams()).toHaveLength(1)
})

test.skipIf(!canMount)(
  'the reserve is not touched (needs root), and it goes on by itself when there is room',
  async () => {
    await using disk = await smallDisk(128)
    const directory = join(disk.path, 'wal')
    await using wal = await Wal.open({ directory, maxBytes, reserveBytes: 48 * MiB, fileBytes: 4 * MiB })
    const changes: boolean[] = []
    wal.onHealthChange(({ ok }) => changes.push(ok))
    const free = () => {
      const { bavail, bsize } = statfsSync(disk.path)
      return bavail * bsize
    }
    // Much at once, so that what is refused was on its way to the thread already.
    const outcomes: PromiseSettledResult<void>[] = []
    let offset = 0
    while (wal.health.ok) {
      const some = Array.from({ length: 64 }, () => wal.append([captured(offset++, { size: MiB })]))
      outcomes.push(...(await Promise.allSettled(some)))
    }
    const stored = outcomes.filter(({ status }) => status === 'fulfilled').length
    expect(stored).toBeGreaterThan(70)
    expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'WAL_FULL' } })
    // Asked for after every 16 MiB.
    expect(free()).toBeGreaterThan(48 * MiB - 2 * 16 * MiB)
    await expect(wal.append([captured(offset)])).rejects.toMatchObject({ code: 'WAL_FULL' })

    {
      using reader = WalReader.open(directory)
      wal.release(reader.entries(orders))
    }
    await until(() => wal.health.ok, { what: 'the space of what was released is back' })
    await wal.append([captured(offset)])
    expect(changes).toEqual([false, true])

    const filler = join(disk.path, 'filler')
    changes.length = 0
    await writeFile(filler, Buffer.alloc(free() - 40 * MiB))
    await until(() => !wal.health.ok, { what: 'another one has filled the disk' })
    await rm(filler)
    await until(() => wal.health.ok, { what: 'the other one has gone' })
    await wal.append([captured(offset + 1)])
    expect(changes).toEqual([false, true])

    await writeFile(filler, Buffer.alloc(free() - 40 * MiB))
    await using elsewhere = await Wal.open({ directory: join(disk.path, 'other'), maxBytes, reserveBytes: 48 * MiB })
    const heard: boolean[] = []
    elsewhere.onHealthChange(({ ok }) => heard.push(ok))
    await rm(filler)
    await until(() => heard.length > 0, { what: 'the other WAL tells that it takes batches' })
    expect(heard).toEqual([true])
  }
)
