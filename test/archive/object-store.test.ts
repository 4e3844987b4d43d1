// Which URLs open a store, and what the probe finds in a store that breaks its promises.

import { expect, test } from 'vitest'
import type { ObjectStore } from '../../src/archive/object-store.ts'
import { openObjectStore, probeStore } from '../../src/archive/object-store.ts'
import { keysOf } from '../support/object-store-contract.ts'
import { tempFolder } from '../support/temp.ts'

test.each([
  '',
  'file:',
  's3:',
  's3://',
  's3:///prefix',
  's3://bucket//prefix',
  'http://host/x',
  './data',
  'file://host/x'
])('does not take %j for a store', async url => {
  const message = `archive URL: must be file:<folder> or s3://<bucket>/<prefix> (got ${url})`
  await expect(openObjectStore(url)).rejects.toMatchObject({ code: 'CONFIG_INVALID', message })
})

/** A real folder store, of which one method is another. */
function spoilt(store: ObjectStore, methods: Partial<ObjectStore>): ObjectStore {
  return {
    url: store.url,
    putIfAbsent: (...args) => store.putIfAbsent(...args),
    head: key => store.head(key),
    get: (...args) => store.get(...args),
    tail: (...args) => store.tail(...args),
    list: (...args) => store.list(...args),
    delete: key => store.delete(key),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
    ...methods
  }
}

const faults: Record<string, (store: ObjectStore) => Partial<ObjectStore>> = {
  'overwrites objects that are there': store => ({
    putIfAbsent: async (key, source, sha256) => {
      await store.delete(key)
      return await store.putIfAbsent(key, source, sha256)
    }
  }),
  'let 8 of 8 puts at once win': store => ({
    // As a store does that looks first and then puts.
    putIfAbsent: async (...args) =>
      (await store.head(args[0])) === null ? await store.putIfAbsent(...args).then(() => 'stored') : 'exists'
  }),
  'does not list what it holds in the order of the keys': store => ({
    list: async function* (prefix) {
      yield* (await Array.fromAsync(store.list(prefix))).reverse()
    }
  })
}

test.each(Object.keys(faults))('the probe refuses a store that %s', async fault => {
  await using folder = await tempFolder('store')
  await using store = await openObjectStore(`file:${folder.path}`)
  const message = `${store.url} cannot hold an archive: it ${fault}`
  const refused = { code: 'STORE_FAILED', retriable: false, message }
  await expect(probeStore(spoilt(store, faults[fault]!(store)))).rejects.toMatchObject(refused)
  expect(await keysOf(store.list(''))).toEqual([])
})
