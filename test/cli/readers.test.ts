// Commands that read: they make nothing, and say so when there is nothing to be found.
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { batchAt, smallArchive } from '../archive/small-archive.ts'
import { streamOf } from '../search/world.ts'
import { millrace } from '../support/millrace.ts'
import { tempFolder } from '../support/temp.ts'

const ORDERS = 'b3JkZXJzLW9yZGVycy1vcg'

test('in an empty folder they find nothing, make nothing, and verify is not content', async () => {
  await using folder = await tempFolder('readers')
  const run = (...args: string[]) => millrace(args, { cwd: folder.path })
  const empty = 'nothing found: nothing is captured or archived yet\n'
  expect(await run('search', 'grain')).toEqual({ code: 0, stdout: '', stderr: empty })
  expect(await run('search', 'grain', '--json')).toEqual({ code: 0, stdout: '', stderr: empty })
  expect(await run('read', '--topic', 'orders')).toEqual({
    code: 1,
    stdout: '',
    stderr: 'there is nothing of orders-0\n'
  })
  expect(await run('replay', '--topic', 'orders')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('file:./data/archive holds no topic orders')
  })
  expect(await run('verify')).toEqual({
    code: 3,
    stdout: '',
    stderr: expect.stringMatching(
      /^could not open .*data\/archive: ENOENT.*\nCheck the path: is the volume mounted\?\n$/
    )
  })
  expect(await readdir(folder.path)).toEqual([])
})

test('of an archive they need no right to write: nothing is added to it', async () => {
  await using folder = await tempFolder('readers')
  const connectors = join(folder.path, 'config', 'connectors')
  await mkdir(connectors, { recursive: true })
  await mkdir(join(folder.path, 'archive'))
  const file = 'name: archive\nconnector.class: file-archive\narchive.url: file:./archive\n'
  await writeFile(join(connectors, 'archive.yaml'), file)
  const run = (...args: string[]) => millrace(args, { cwd: folder.path })
  expect((await run('search', 'grain')).code).toBe(0)
  expect(await run('verify')).toEqual({ code: 0, stdout: '', stderr: 'there is nothing to verify\n' })
  expect(await readdir(join(folder.path, 'archive'))).toEqual([])
  await writeFile(join(connectors, 'archive.yaml'), file.replace('./archive', './config/connectors/archive.yaml'))
  expect(await run('search', 'grain')).toMatchObject({ code: 3, stderr: expect.stringMatching(/^could not open /) })
})

test('where another cluster cannot be reached, replay says which file has its keys', async () => {
  await using small = await smallArchive()
  await small.append(streamOf('orders', ORDERS, 0), { nextOffset: 2, batches: [batchAt(0, 1)] })
  const target = ['--bootstrap', '127.0.0.1:1', '--dry-run']
  expect(await millrace(['replay', '--topic', 'orders', '--archive', small.url, ...target])).toEqual({
    code: 3,
    stdout: '',
    stderr: expect.stringMatching(
      /^.*127\.0\.0\.1:1.*\n.*\?.* For --bootstrap, keys such as security\.protocol stand in the file of --command-config\.\n$/
    )
  })
})

test('a search without hits says so, and why where it can be told', async () => {
  await using small = await smallArchive()
  await small.append(streamOf('orders', ORDERS, 0), { nextOffset: 2, batches: [batchAt(0, 1)] })
  const search = async (...args: string[]) => {
    const { code, stdout, stderr } = await millrace(['search', ...args, '--archive', small.url])
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
    return stderr
  }
  expect(await search('xylophone')).toBe('nothing found\n')
  expect(await search('xylophone', '--json')).toBe('nothing found\n')
  expect(await search('record', '--topic-id', 'nonsense')).toBe(
    'nothing found: there is no topic with the id nonsense\n'
  )
  expect(await search('record', '--topic', 'xylophone')).toBe('nothing was captured of a topic xylophone\n')
})
