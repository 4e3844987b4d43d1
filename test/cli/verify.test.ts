// `millrace verify` with a worker file: what is captured but not archived yet is verified too.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Wal } from '../../src/wal/wal.ts'
import { millrace } from '../support/millrace.ts'
import { tempFolder } from '../support/temp.ts'
import { captured } from '../wal/batches.ts'

test('verifies the frames of the WAL, and names the one that is damaged', async () => {
  await using folder = await tempFolder('verify')
  const config = join(folder.path, 'worker.yaml')
  const connectors = join(folder.path, 'connectors')
  const directory = join(folder.path, 'data', 'wal')
  await mkdir(connectors)
  await mkdir(join(folder.path, 'archive'))
  await writeFile(
    config,
    `bootstrap.servers: 127.0.0.1:9092\ndata.dir: ${join(folder.path, 'data')}\nconnectors.dir: ${connectors}\n`
  )
  await writeFile(
    join(connectors, 'archive.yaml'),
    `name: archive\nconnector.class: file-archive\narchive.url: file:${join(folder.path, 'archive')}\n`
  )
  await mkdir(directory, { recursive: true })
  const wal = await Wal.open({ directory, maxBytes: 2 ** 30 })
  await wal.append([captured(0), captured(1), captured(2)])
  await wal.close()

  expect(await millrace(['verify', '--config', config])).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^ok +WAL +3 batches, \d+B\n$/),
    stderr: ''
  })

  const path = join(directory, '1.wal')
  const bytes = await readFile(path)
  bytes[bytes.indexOf(Buffer.concat(captured(1).chunks).subarray(61))]! ^= 1 // its records
  await writeFile(path, bytes)
  const damaged = await millrace(['verify', '--config', config])
  expect(damaged.code).toBe(1)
  expect(damaged.stdout).toMatch(
    /^WRONG +WAL +3 batches, \d+B\nfault: wal\/1\.wal, offset 1: .*frame 2, at byte \d+, fails its CRC; it says it is of orders-0, offset 1/
  )
  const json = await millrace(['verify', '--config', config, '--json'])
  expect(JSON.parse(json.stdout)).toMatchObject({ wal: { frames: 3, faults: [{ object: 'wal/1.wal', offset: 1 }] } })
  expect(await millrace(['verify', '--config', config, '--topic', 'others'])).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('0 batches')
  })
})
