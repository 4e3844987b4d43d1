// `millrace verify` with a worker file: what is captured but not archived yet is verified too.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'better-sqlite3'
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

  // The last to close leaves the -wal alone only if it may not write.
  const keeper = new Database(join(directory, '1.db'), { readonly: true })
  keeper.prepare('select count(*) from frame').get()
  const db = new Database(join(directory, '1.db'))
  const { body } = db.prepare<[], { body: Buffer }>('select body from frame where id = 2').get()!
  body[body.length - 1]! ^= 1
  db.prepare('update frame set body = ? where id = 2').run(body)
  db.close()
  keeper.close()
  const damaged = await millrace(['verify', '--config', config])
  expect(damaged.code).toBe(1)
  expect(damaged.stdout).toMatch(/^WRONG +WAL +3 batches, \d+B\nfault: wal\/1\.db, offset 1: .*CRC mismatch/)
  const json = await millrace(['verify', '--config', config, '--json'])
  expect(JSON.parse(json.stdout)).toMatchObject({ wal: { frames: 3, faults: [{ object: 'wal/1.db', offset: 1 }] } })
  expect(await millrace(['verify', '--config', config, '--topic', 'others'])).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('0 batches')
  })
})
