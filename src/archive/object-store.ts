// Opens the store that an archive URL names, and finds out whether it keeps the promise on which the archive rests.
import { createHash, randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MillraceError } from '../errors.ts'
import { openFileStore } from './file-store.ts'
import type { S3Options } from './s3-client.ts'
import type { ObjectStore } from './store-contract.ts'

export type { S3Options } from './s3-client.ts'
export type { ByteRange, ObjectInfo, ObjectSource, ObjectStore } from './store-contract.ts'

/** How a store is opened. */
export interface StoreAccess {
  /** False for those who only read: nothing is made, and a folder that is not there is an error. True unless told. */
  create?: boolean | undefined
  /** With `create: false`: a folder that is not there holds nothing yet, and is no error. */
  mayBeAbsent?: boolean | undefined
}

export interface StoreOptions extends StoreAccess {
  /** For `s3:` URLs. */
  s3?: S3Options | undefined
}

/**
 * Opens `file:<folder>` (a relative one from the working directory) or `s3://<bucket>/<prefix>`, and asks it one cheap question.
 * Throws CONFIG_INVALID for any other URL, STORE_FAILED if the store cannot be reached or (a folder to be created) written.
 */
export async function openObjectStore(url: string, options: StoreOptions = {}): Promise<ObjectStore> {
  const [, scheme, rest] = /^(file|s3):(.+)$/s.exec(url) ?? []
  if (scheme === 'file' && rest !== undefined) {
    return await openFileStore(url, resolve(rest.startsWith('//') ? localPath(url) : rest), options)
  }
  const [, bucket, prefix] = /^\/\/([^/]+)((?:\/[^/]+)*)\/?$/s.exec(rest ?? '') ?? []
  if (scheme !== 's3' || bucket === undefined || prefix === undefined) throw wrongUrl(url)
  // Loaded only where it is used: the SDK is a third of all that a worker would have in memory.
  const { openS3Store } = await import('./s3-store.ts')
  return await openS3Store(url, { bucket, prefix: prefix === '' ? '' : `${prefix.slice(1)}/` }, options.s3 ?? {})
}

function localPath(url: string): string {
  try {
    return fileURLToPath(url)
  } catch (cause) {
    throw wrongUrl(url, cause)
  }
}

function wrongUrl(url: string, cause?: unknown): MillraceError {
  const message = `archive URL: must be file:<folder> or s3://<bucket>/<prefix> (got ${url})`
  return new MillraceError('CONFIG_INVALID', message, { cause })
}

/** How many puts of the probe race for one key. */
const RACERS = 8

/**
 * Proves that the store can be written, never overwrites, lets exactly one of several puts win, and lists at once and in key
 * order; for a worker at its start. Works under `_probe/` and leaves nothing there.
 * Throws STORE_FAILED (not retriable) if the store breaks one of these promises, or whatever the store throws.
 */
export async function probeStore(store: ObjectStore): Promise<void> {
  const folder = `_probe/${randomUUID()}/`
  // In this order bytewise, and the other way round where a store sorts folder by folder.
  const [twice, race] = [`${folder}a-b`, `${folder}a/b`]
  const put = (key: string, text: string) => {
    const body = Buffer.from(text)
    return store.putIfAbsent(key, body, createHash('sha256').update(body).digest('hex'))
  }
  try {
    const answers = [await put(twice, 'first'), await put(twice, 'second')]
    const kept = (await store.get(twice)).toString()
    if (answers.join() !== 'stored,exists' || kept !== 'first') throw broken(store, 'overwrites objects that are there')
    const names = Array.from({ length: RACERS }, (_, racer) => `racer ${racer}`)
    const outcomes = await Promise.all(names.map(name => put(race, name)))
    const winner = (await store.get(race)).toString()
    if (names.filter((_, racer) => outcomes[racer] === 'stored').join() !== winner) {
      throw broken(
        store,
        `let ${outcomes.filter(outcome => outcome === 'stored').length} of ${RACERS} puts at once win`
      )
    }
    const listed = (await Array.fromAsync(store.list(folder))).map(({ key }) => key)
    if (listed.join() !== `${twice},${race}`)
      throw broken(store, 'does not list what it holds in the order of the keys')
  } finally {
    await Promise.all([store.delete(twice), store.delete(race)])
  }
}

function broken(store: ObjectStore, what: string): MillraceError {
  return new MillraceError('STORE_FAILED', `${store.url} cannot hold an archive: it ${what}`, {
    retriable: false,
    hint: 'Use a store with conditional puts (If-None-Match: *) and consistent listing, such as AWS S3 or a current MinIO, or a folder.'
  })
}
