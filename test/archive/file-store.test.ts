// What only a folder store has: files that a crash leaves, a folder that is not there, a path that could lead out of it.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { openObjectStore } from '../../src/archive/object-store.ts'
import { keysOf, putText, sha256Of } from '../support/object-store-contract.ts'
import { tempFolder } from '../support/temp.ts'

const DAY_MS = 86_400_000

test('keeps objects as plain files, and no temporary ones', async () => {
  await using folder = await tempFolder('store')
  await using store = await openObjectStore(`file:${folder.path}`)
  await putText(store, 'topic/0/object', 'body')
  await putText(store, 'topic/0/object', 'other')
  await expect(store.putIfAbsent('wrong', Buffer.from('x'), sha256Of(Buffer.from('y')))).rejects.toThrow()
  expect(await readFile(join(folder.path, 'topic/0/object'), 'utf8')).toBe('body')
  expect(await readdir(join(folder.path, '.tmp'))).toEqual([])
})

test('a file on the same disk becomes the object without being written again', async () => {
  await using folder = await tempFolder('store')
  await using store = await openObjectStore(`file:${join(folder.path, 'store')}`)
  const source = join(folder.path, 'segment')
  await writeFile(source, 'body')
  const sha256 = sha256Of(Buffer.from('body'))
  expect(await store.putIfAbsent('object', { path: source }, sha256)).toBe('stored')
  expect((await stat(join(folder.path, 'store/object'))).ino).toBe((await stat(source)).ino)
  expect(await store.putIfAbsent('object', { path: source }, sha256)).toBe('stored')
  await expect(store.putIfAbsent('wrong', { path: source }, sha256Of(Buffer.from('x')))).rejects.toThrow(/SHA-256/)
  await rm(source)
  expect((await store.get('object')).toString()).toBe('body')
  expect(await readdir(join(folder.path, 'store/.tmp'))).toEqual([])
})

const OTHER_DISK = '/dev/shm'

test.skipIf(!existsSync(OTHER_DISK))(`a file on another disk, as ${OTHER_DISK} is, is copied`, async () => {
  await using folder = await tempFolder('store')
  await using store = await openObjectStore(`file:${folder.path}`)
  const away = await mkdtemp(join(OTHER_DISK, 'millrace-'))
  try {
    await writeFile(join(away, 'segment'), 'body')
    const sha256 = sha256Of(Buffer.from('body'))
    expect(await store.putIfAbsent('object', { path: join(away, 'segment') }, sha256)).toBe('stored')
  } finally {
    await rm(away, { recursive: true })
  }
  expect((await store.get('object')).toString()).toBe('body')
})

test('takes a relative folder from the working directory, and file:// URLs', async () => {
  await using folder = await tempFolder('store')
  const path = join(folder.path, 'with space')
  await using store = await openObjectStore(`file:${relative(process.cwd(), path)}`)
  await putText(store, 'object', 'body')
  await using same = await openObjectStore(`file://${folder.path}/with%20space`)
  expect((await same.get('object')).toString()).toBe('body')
})

test('never lists what crashed puts left, and sweeps it when a day old', async () => {
  await using folder = await tempFolder('store')
  const temp = join(folder.path, '.tmp')
  await mkdir(temp)
  for (const [name, age] of [
    ['old', 1.1 * DAY_MS],
    ['new', 0.9 * DAY_MS]
  ] as const) {
    await writeFile(join(temp, name), 'half')
    const time = new Date(Date.now() - age)
    await utimes(join(temp, name), time, time)
  }
  await using store = await openObjectStore(`file:${folder.path}`)
  expect(await keysOf(store.list(''))).toEqual([])
  expect(await keysOf(store.list('.'))).toEqual([])
  expect(await readdir(temp)).toEqual(['new'])
})

test('a put that is killed at any moment leaves the whole object or none', async () => {
  await using folder = await tempFolder('store')
  const module = join(import.meta.dirname, '../../src/archive/object-store.ts')
  // Puts objects of 1 MiB until it is killed; says when each is stored.
  const script = `
    import { createHash } from 'node:crypto'
    const { openObjectStore } = await import(${JSON.stringify(module)})
    const store = await openObjectStore(${JSON.stringify(`file:${folder.path}`)})
    const body = Buffer.alloc(1024 * 1024, 'x')
    const sha256 = createHash('sha256').update(body).digest('hex')
    for (let index = 0; ; index += 1) {
      await store.putIfAbsent('run/' + process.pid + '/' + index, body, sha256)
      process.stdout.write(process.pid + '/' + index + '\\n')
    }`
  const sha256 = sha256Of(Buffer.alloc(1024 * 1024, 'x'))
  const said: string[] = []
  for (const lines of [1, 3, 5]) {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit']
    })
    const heard: string[] = []
    for await (const line of createInterface(child.stdout)) if (heard.push(line) === lines) child.kill('SIGKILL')
    expect(heard.length).toBeGreaterThanOrEqual(lines)
    said.push(...heard)
  }
  await using store = await openObjectStore(`file:${folder.path}`)
  const keys = await keysOf(store.list('run/'))
  expect(keys).toEqual(expect.arrayContaining(said.map(name => `run/${name}`)))
  for (const key of keys) expect((await store.head(key))?.sha256).toBe(sha256)
})

test('reads nothing outside its folder, whatever the key', async () => {
  await using folder = await tempFolder('store')
  await writeFile(join(folder.path, 'secret'), 'secret')
  await using store = await openObjectStore(`file:${folder.path}/archive`)
  for (const key of ['../secret', 'a/../../secret', `${folder.path}/secret`, './../secret']) {
    await expect(store.get(key)).rejects.toMatchObject({ code: 'STORE_FAILED' })
    await expect(putText(store, key, 'x')).rejects.toMatchObject({ code: 'STORE_FAILED' })
    await expect(store.delete(key)).rejects.toMatchObject({ code: 'STORE_FAILED' })
  }
  expect(await readFile(join(folder.path, 'secret'), 'utf8')).toBe('secret')
  await symlink(join(folder.path, 'secret'), join(folder.path, 'archive/link'))
  expect(await keysOf(store.list(''))).toEqual([])
})

test('removes the folders that a delete leaves empty, never its own', async () => {
  await using folder = await tempFolder('store')
  await using store = await openObjectStore(`file:${folder.path}/archive`)
  await putText(store, 'a/b/c', 'x')
  await putText(store, 'a/d', 'x')
  await store.delete('a/b/c')
  expect(await readdir(join(folder.path, 'archive/a'))).toEqual(['d'])
  await store.delete('a/d')
  expect(await readdir(join(folder.path, 'archive'))).toEqual(['.tmp'])
})

test('makes no folder for a reader, and says which is missing', async () => {
  await using folder = await tempFolder('store')
  const path = join(folder.path, 'typo')
  const opened = openObjectStore(`file:${path}`, { create: false })
  await expect(opened).rejects.toMatchObject({ code: 'STORE_FAILED', message: expect.stringContaining(path) })
  await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' })
})

test('says so when a file stands where a folder is needed', async () => {
  await using folder = await tempFolder('store')
  await using store = await openObjectStore(`file:${folder.path}/archive`)
  await putText(store, 'a', 'x')
  const hint = 'A file stands where a folder is needed.'
  await expect(putText(store, 'a/b', 'y')).rejects.toMatchObject({ code: 'STORE_FAILED', hint })
  await expect(openObjectStore(`file:${folder.path}/archive/a`)).rejects.toMatchObject({ code: 'STORE_FAILED', hint })
})
