// The promises of ObjectStore as tests, the same for every store.

import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ObjectInfo, ObjectStore } from '../../src/archive/object-store.ts'
import { probeStore } from '../../src/archive/object-store.ts'
import { tempFolder } from './temp.ts'

export function sha256Of(body: Buffer): string {
  return createHash('sha256').update(body).digest('hex')
}

/** Puts a text with its right SHA-256. */
export function putText(store: ObjectStore, key: string, text: string): Promise<'stored' | 'exists'> {
  const body = Buffer.from(text)
  return store.putIfAbsent(key, body, sha256Of(body))
}

/** The keys of a listing, in its order. */
export async function keysOf(listing: AsyncIterable<ObjectInfo>): Promise<string[]> {
  return (await Array.fromAsync(listing)).map(({ key }) => key)
}

/** Declares the contract's tests for a store; `openStore` opens one that no one else writes to, and is called once. */
export function objectStoreContract(name: string, openStore: () => Promise<ObjectStore>): void {
  describe(`the contract of ObjectStore: ${name}`, () => {
    let store: ObjectStore
    /** A folder of keys of its own for each test. */
    const folder = () => `${randomUUID()}/`
    beforeAll(async () => {
      store = await openStore()
    })
    afterAll(async () => await store?.[Symbol.asyncDispose]())

    test('stores an object once and says what it is', async () => {
      const key = `${folder()}object`
      expect(await putText(store, key, 'first')).toBe('stored')
      expect(await store.head(key)).toEqual({ key, size: 5, sha256: sha256Of(Buffer.from('first')) })
      expect((await store.get(key)).toString()).toBe('first')
    })

    test('keeps what is there against another body', async () => {
      const key = `${folder()}object`
      await putText(store, key, 'first')
      expect(await putText(store, key, 'second')).toBe('exists')
      expect((await store.get(key)).toString()).toBe('first')
    })

    test('takes a second put of the same bytes for its own', async () => {
      const key = `${folder()}object`
      await putText(store, key, 'same')
      expect(await putText(store, key, 'same')).toBe('stored')
    })

    test('lets exactly one of eight different bodies win', async () => {
      for (let round = 0; round < 5; round += 1) {
        const key = `${folder()}raced`
        const bodies = Array.from({ length: 8 }, (_, racer) => `racer ${racer} `.repeat(1000))
        const outcomes = await Promise.all(bodies.map(body => putText(store, key, body)))
        const winners = bodies.filter((_, racer) => outcomes[racer] === 'stored')
        expect(winners).toEqual([(await store.get(key)).toString()])
      }
    })

    test('says stored to all of eight puts of the same body', async () => {
      const key = `${folder()}raced`
      const outcomes = await Promise.all(Array.from({ length: 8 }, () => putText(store, key, 'the same')))
      expect(outcomes).toEqual(Array.from({ length: 8 }, () => 'stored'))
    })

    test('gives ranges, the end exclusive, and no more than there is', async () => {
      const key = `${folder()}digits`
      await putText(store, key, '0123456789')
      const range = async (start: number, end: number) => (await store.get(key, { start, end })).toString()
      expect(await range(0, 10)).toBe('0123456789')
      expect(await range(3, 4)).toBe('3')
      expect(await range(8, 100)).toBe('89')
      expect(await range(10, 20)).toBe('')
      expect(await range(50, 60)).toBe('')
      expect(await range(5, 5)).toBe('')
      expect(await range(7, 5)).toBe('')
    })

    test('gives the tail and the whole size', async () => {
      const key = `${folder()}digits`
      await putText(store, key, '0123456789')
      const tail = async (bytes: number) => {
        const { data, size } = await store.tail(key, bytes)
        return [data.toString(), size]
      }
      expect(await tail(3)).toEqual(['789', 10])
      expect(await tail(10)).toEqual(['0123456789', 10])
      expect(await tail(1000)).toEqual(['0123456789', 10])
      expect(await tail(0)).toEqual(['', 10])
    })

    test('holds an empty object', async () => {
      const key = `${folder()}empty`
      expect(await putText(store, key, '')).toBe('stored')
      expect((await store.head(key))?.size).toBe(0)
      expect((await store.get(key)).length).toBe(0)
      expect((await store.get(key, { start: 0, end: 5 })).length).toBe(0)
      const { data, size } = await store.tail(key, 5)
      expect([data.length, size]).toEqual([0, 0])
    })

    test('says so when an object is absent', async () => {
      const key = `${folder()}absent`
      const missing = expect.objectContaining({ code: 'OBJECT_MISSING', message: expect.stringContaining(key) })
      expect(await store.head(key)).toBeNull()
      await expect(store.get(key)).rejects.toEqual(missing)
      await expect(store.get(key, { start: 0, end: 1 })).rejects.toEqual(missing)
      await expect(store.get(key, { start: 1, end: 1 })).rejects.toEqual(missing)
      await expect(store.tail(key, 1)).rejects.toEqual(missing)
      await expect(store.tail(key, 0)).rejects.toEqual(missing)
      await store.delete(key)
    })

    test('takes neither the folder of an object nor what would lie in it for an object', async () => {
      const top = folder()
      await putText(store, `${top}a/b`, 'body')
      expect(await store.head(`${top}a`)).toBeNull()
      expect(await store.head(`${top}a/b/c`)).toBeNull()
      await expect(store.get(`${top}a`)).rejects.toMatchObject({ code: 'OBJECT_MISSING' })
      await store.delete(`${top}a`)
      expect((await store.get(`${top}a/b`)).toString()).toBe('body')
    })

    test('deletes, after which the key is free', async () => {
      const top = folder()
      await putText(store, `${top}sub/gone`, 'first')
      await putText(store, `${top}kept`, 'kept')
      await store.delete(`${top}sub/gone`)
      expect(await store.head(`${top}sub/gone`)).toBeNull()
      expect(await keysOf(store.list(top))).toEqual([`${top}kept`])
      expect(await putText(store, `${top}sub/gone`, 'second')).toBe('stored')
      expect((await store.get(`${top}sub/gone`)).toString()).toBe('second')
    })

    test('lets puts and deletes meet in one folder', async () => {
      const top = folder()
      const rounds = Array.from({ length: 40 }, async (_, index) => {
        const key = `${top}shared/${index % 8}-${index}`
        expect(await putText(store, key, key)).toBe('stored')
        await store.delete(key)
      })
      await Promise.all(rounds)
      expect(await keysOf(store.list(top))).toEqual([])
    })

    test('lists in the order of the UTF-8 bytes of whole keys', async () => {
      const top = folder()
      // 'a-b' < 'a/b' though a folder 'a' sorts before 'a-b'; U+FF5E < U+1F600 though UTF-16 sorts them the other way.
      const keys = ['A', 'a-b', 'a.b', 'a/-', 'a/b', 'a/b-/c', 'a/b0', 'a0', 'a=b', 'ab/c', 'ä', '～', '😀', '😀x/y']
      const shuffled = keys.toSorted((left, right) =>
        sha256Of(Buffer.from(left)).localeCompare(sha256Of(Buffer.from(right)))
      )
      for (const key of shuffled) await putText(store, top + key, key)
      const inOrder = keys.map(key => Buffer.from(top + key)).sort(Buffer.compare)
      expect(await keysOf(store.list(top))).toEqual(inOrder.map(key => key.toString()))
      for (const [index, key] of inOrder.entries()) {
        const rest = inOrder.slice(index + 1).map(key => key.toString())
        expect(await keysOf(store.list(top, key.toString())), `after ${key}`).toEqual(rest)
      }
    })

    test('lists what begins with a prefix, be it a folder or not', async () => {
      const top = folder()
      for (const key of ['a', 'ab/1', 'ab/2', 'abc', 'b/1']) await putText(store, top + key, key)
      const list = async (prefix: string, startAfter?: string) => {
        const keys = await keysOf(store.list(top + prefix, startAfter === undefined ? undefined : top + startAfter))
        return keys.map(key => key.slice(top.length))
      }
      expect(await list('a')).toEqual(['a', 'ab/1', 'ab/2', 'abc'])
      expect(await list('ab')).toEqual(['ab/1', 'ab/2', 'abc'])
      expect(await list('ab/')).toEqual(['ab/1', 'ab/2'])
      expect(await list('ab/2')).toEqual(['ab/2'])
      expect(await list('x/')).toEqual([])
      expect(await list('', 'ab/1')).toEqual(['ab/2', 'abc', 'b/1'])
      // What startAfter names need not be there.
      expect(await list('', 'ab/')).toEqual(['ab/1', 'ab/2', 'abc', 'b/1'])
      expect(await list('', 'ab/10')).toEqual(['ab/2', 'abc', 'b/1'])
      expect(await list('b', 'ab/1')).toEqual(['b/1'])
      expect(await list('a', 'b')).toEqual([])
      const listed = await Array.fromAsync(store.list(`${top}ab/2`))
      expect(listed).toEqual([{ key: `${top}ab/2`, size: 4, sha256: null, tag: expect.any(String) }])
      expect(await Array.fromAsync(store.list(`${top}ab/2`))).toEqual(listed)
      expect(await keysOf(store.list(''))).toEqual(expect.arrayContaining([`${top}a`, `${top}b/1`]))
    })

    test('lists more than a page', async () => {
      const top = folder()
      const keys = Array.from({ length: 1100 }, (_, index) => `${top}${String(index).padStart(20, '0')}.tar.gz`)
      const queue = keys.values()
      const putter = async () => {
        for (const key of queue) await putText(store, key, 'x')
      }
      await Promise.all(Array.from({ length: 16 }, putter))
      expect(await keysOf(store.list(top))).toEqual(keys)
      expect(await keysOf(store.list(top, keys[49]))).toEqual(keys.slice(50))
    })

    test('holds keys with spaces, signs and any script', async () => {
      const top = folder()
      const keys = [
        'with space',
        'k=v',
        'a+b',
        '50%25',
        'a&b<c>"d\'',
        '#?;:@,$!*()',
        '~',
        'größe/日本語',
        '.hidden',
        '...'
      ]
      for (const key of keys) {
        expect(await putText(store, top + key, key), key).toBe('stored')
        expect((await store.get(top + key)).toString()).toBe(key)
        expect((await store.head(top + key))?.size).toBe(Buffer.byteLength(key))
      }
      expect(new Set(await keysOf(store.list(top)))).toEqual(new Set(keys.map(key => top + key)))
      for (const key of keys) await store.delete(top + key)
      expect(await keysOf(store.list(top))).toEqual([])
    })

    test.each(['', '/', '/a', 'a/', 'a//b', '.', '..', 'a/../b', '../a', 'a/./b', 'a\0b', 'a\nb', '\ud800', '.tmp/a'])(
      'refuses the key %j',
      async key => {
        const refused = {
          code: 'STORE_FAILED',
          retriable: false,
          message: expect.stringContaining(JSON.stringify(key))
        }
        await expect(putText(store, key, 'x')).rejects.toMatchObject(refused)
        await expect(store.head(key)).rejects.toMatchObject(refused)
        await expect(store.get(key)).rejects.toMatchObject(refused)
        await expect(store.tail(key, 1)).rejects.toMatchObject(refused)
        await expect(store.delete(key)).rejects.toMatchObject(refused)
      }
    )

    test('streams a file of 20 MiB', async () => {
      await using local = await tempFolder('source')
      const path = join(local.path, 'segment')
      const body = randomBytes(20 * 1024 * 1024)
      await writeFile(path, body)
      const key = `${folder()}large`
      expect(await store.putIfAbsent(key, { path }, sha256Of(body))).toBe('stored')
      expect(await store.putIfAbsent(key, { path }, sha256Of(body))).toBe('stored')
      const other = join(local.path, 'other')
      await writeFile(other, Buffer.alloc(body.length))
      expect(await store.putIfAbsent(key, { path: other }, sha256Of(Buffer.alloc(body.length)))).toBe('exists')
      expect(await store.head(key)).toEqual({ key, size: body.length, sha256: sha256Of(body) })
      expect((await store.get(key)).equals(body)).toBe(true)
      const middle = await store.get(key, { start: 10_000_001, end: 15_000_000 })
      expect(middle.equals(body.subarray(10_000_001, 15_000_000))).toBe(true)
      const { data, size } = await store.tail(key, 65_536)
      expect([data.equals(body.subarray(-65_536)), size]).toEqual([true, body.length])
    })

    test('fails when a source cannot be read', async () => {
      await using local = await tempFolder('source')
      // A folder can be opened, but not read.
      const put = store.putIfAbsent(`${folder()}object`, { path: local.path }, '0'.repeat(64))
      await expect(put).rejects.toMatchObject({ code: 'STORE_FAILED', message: expect.stringContaining('EISDIR') })
    })

    test('names a source file that is not there', async () => {
      const path = join('not', 'there')
      const put = store.putIfAbsent(`${folder()}object`, { path }, '0'.repeat(64))
      await expect(put).rejects.toMatchObject({ code: 'STORE_FAILED', message: expect.stringContaining(path) })
    })

    test('refuses bytes that do not have the SHA-256, and stores nothing', async () => {
      await using local = await tempFolder('source')
      const path = join(local.path, 'segment')
      const body = randomBytes(3 * 1024 * 1024)
      await writeFile(path, body)
      const [top, other] = [folder(), sha256Of(Buffer.from('other'))]
      const refused = { code: 'STORE_FAILED', retriable: false, message: expect.stringContaining('SHA-256') }
      await expect(store.putIfAbsent(`${top}buffer`, body, other)).rejects.toMatchObject(refused)
      await expect(store.putIfAbsent(`${top}file`, { path }, other)).rejects.toMatchObject(refused)
      expect(await keysOf(store.list(top))).toEqual([])
      expect(await store.head(`${top}buffer`)).toBeNull()
      expect(await store.head(`${top}file`)).toBeNull()
    })

    test('passes the probe, which leaves nothing behind', async () => {
      await probeStore(store)
      expect(await keysOf(store.list('_probe/'))).toEqual([])
    })
  })
}
