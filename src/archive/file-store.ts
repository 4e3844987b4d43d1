// Objects as plain files below a folder: written under a temporary name, made durable, then linked to the final name, which
// the file system allows once. A file that is to become an object is not written but linked, where it lies on the same disk.
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, existsSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { access, constants, link, mkdir, open, readdir, rm, rmdir, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { MillraceError, messageOf } from '../errors.ts'
import { SYNC_BYTES } from '../sync-bytes.ts'
import type { ByteRange, ObjectInfo, ObjectSource, ObjectStore } from './store-contract.ts'
import { checkKey, compareKeys, objectMissing, TEMP_FOLDER, wrongDigest } from './store-contract.ts'

/** Leftovers of a crash are swept when older; no put takes a day. */
const LEFTOVER_AGE_MS = 86_400_000
/** A put starts again when a delete removed its empty folder under it; so often in a row is a fault. */
const LINK_ATTEMPTS = 20
/** How many files of a folder are asked for their sizes together: each waits for a thread and for the event loop. */
const STATS_AT_ONCE = 64

/**
 * Opens the folder `root` (absolute) as a store. With `create` it is made if need be, must be writable, and the leftovers of
 * crashed puts in it are swept; without, it must exist, or `mayBeAbsent`: then it holds nothing. Throws STORE_FAILED.
 */
export async function openFileStore(
  url: string,
  root: string,
  { create = true, mayBeAbsent = false }: { create?: boolean | undefined; mayBeAbsent?: boolean | undefined }
): Promise<ObjectStore> {
  const isThere = await attempt(`open ${root}`, async () => {
    if (create) await prepare(root)
    else if (mayBeAbsent && !existsSync(root)) return false
    else await readdir(root)
    return true
  })
  return new FileStore(url, root, isThere)
}

async function prepare(root: string): Promise<void> {
  const temp = join(root, TEMP_FOLDER)
  const made = await mkdir(temp, { recursive: true })
  if (made !== undefined) await syncFolders(dirname(temp), dirname(made))
  await access(root, constants.W_OK)
  await access(temp, constants.W_OK)
  for (const name of await readdir(temp)) {
    const path = join(temp, name)
    const found = await unlessMissing(stat(path))
    if (found !== null && Date.now() - found.mtimeMs > LEFTOVER_AGE_MS) await rm(path, { force: true })
  }
}

class FileStore implements ObjectStore {
  readonly url: string
  readonly #root: string
  /** Once the folder has been seen, it is an error when it is not there any more. */
  #isThere: boolean

  constructor(url: string, root: string, isThere: boolean) {
    this.url = url
    this.#root = root
    this.#isThere = isThere
  }

  async putIfAbsent(key: string, source: ObjectSource, sha256: string): Promise<'stored' | 'exists'> {
    const path = this.#path(key)
    const temp = join(this.#root, TEMP_FOLDER, randomUUID())
    return await attempt(`put ${path}`, async () => {
      try {
        const digest = (await isLinked(source, temp)) ? await syncedDigest(temp) : await writeDurably(temp, source)
        if (digest !== sha256) throw wrongDigest(key, sha256)
        return await this.#link(temp, path, sha256)
      } finally {
        await rm(temp, { force: true })
      }
    })
  }

  async #link(temp: string, path: string, sha256: string): Promise<'stored' | 'exists'> {
    for (let tried = 1; ; tried += 1) {
      try {
        await mkdir(dirname(path), { recursive: true })
        await link(temp, path)
        await syncFolders(dirname(path), this.#root)
        return 'stored'
      } catch (error) {
        if (tried === LINK_ATTEMPTS || (codeOf(error) !== 'EEXIST' && codeOf(error) !== 'ENOENT')) throw error
      }
      const there = await fingerprint(path)
      if (there === null) continue
      // Whoever linked it may have died before this; only then is "stored" also true after a power cut.
      await syncFolders(dirname(path), this.#root)
      return there.sha256 === sha256 ? 'stored' : 'exists'
    }
  }

  async head(key: string): Promise<ObjectInfo | null> {
    const path = this.#path(key)
    const found = await attempt(`read ${path}`, () => fingerprint(path))
    return found && { key, ...found }
  }

  async get(key: string, range?: ByteRange): Promise<Buffer> {
    return await this.#read(key, size => range ?? { start: 0, end: size }).then(({ data }) => data)
  }

  async tail(key: string, bytes: number): Promise<{ data: Buffer; size: number }> {
    return await this.#read(key, size => ({ start: Math.max(0, size - bytes), end: size }))
  }

  async #read(key: string, rangeIn: (size: number) => ByteRange): Promise<{ data: Buffer; size: number }> {
    const path = this.#path(key)
    return await attempt(`read ${path}`, async () => {
      await using file = await openObject(path)
      if (file === null) throw objectMissing(this.url, key)
      const { size } = await file.stat()
      const { start, end } = rangeIn(size)
      const data = Buffer.alloc(Math.max(0, Math.min(end, size) - start))
      for (let filled = 0; filled < data.length; ) {
        const { bytesRead } = await file.read(data, filled, data.length - filled, start + filled)
        if (bytesRead === 0) throw new Error('the file became shorter while it was read')
        filled += bytesRead
      }
      return { data, size }
    })
  }

  list(prefix: string, startAfter?: string): AsyncIterable<ObjectInfo> {
    return this.#walk('', prefix, startAfter ?? '')
  }

  async *#walk(folder: string, prefix: string, startAfter: string): AsyncGenerator<ObjectInfo> {
    const path = join(this.#root, folder)
    const reading = readdir(path, { withFileTypes: true })
    const entries = await attempt(`list ${path}`, async () =>
      folder === '' && this.#isThere ? await reading : await unlessMissing(reading)
    )
    if (entries !== null) this.#isThere = true
    // With its slash a folder sorts where its keys belong: `a-b` comes before `a/b`, though `a` comes before `a-b`.
    const names = (entries ?? [])
      .filter(entry => entry.isDirectory() || entry.isFile())
      .map(entry => (entry.isDirectory() ? `${folder}${entry.name}/` : `${folder}${entry.name}`))
      .sort(compareKeys)
    const wanted = names.filter(name => {
      const isFolder = name.endsWith('/')
      if (name === `${TEMP_FOLDER}/`) return false
      if (!name.startsWith(prefix) && !(isFolder && prefix.startsWith(name))) return false
      return compareKeys(name, startAfter) > 0 || (isFolder && startAfter.startsWith(name))
    })
    for (let at = 0; at < wanted.length; ) {
      if (wanted[at]!.endsWith('/')) {
        yield* this.#walk(wanted[at++]!, prefix, startAfter)
        continue
      }
      const files = wanted.slice(at, at + STATS_AT_ONCE)
      const end = files.findIndex(name => name.endsWith('/'))
      if (end >= 0) files.length = end
      at += files.length
      for (const found of await Promise.all(files.map(key => this.#find(key)))) if (found !== null) yield found
    }
  }

  async #find(key: string): Promise<ObjectInfo | null> {
    const found = await attempt(`list ${key}`, () => unlessMissing(stat(join(this.#root, key))))
    return found && { key, size: found.size, sha256: null, tag: String(found.mtimeMs) }
  }

  async delete(key: string): Promise<void> {
    const path = this.#path(key)
    await attempt(`delete ${path}`, async () => {
      // A folder of that name is no object.
      const found = await unlessMissing(stat(path))
      if (found?.isFile()) await unlessMissing(unlink(path))
      for (let folder = dirname(path); folder !== this.#root; folder = dirname(folder)) {
        const removed = await rmdir(folder).then(
          () => true,
          () => false // it holds something, or is gone: either way there is nothing to tidy
        )
        if (!removed) break
      }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #path(key: string): string {
    checkKey(key)
    return join(this.#root, key)
  }
}

/** Gives a file another name, where it lies on a disk that can: what is archived has no need to be written once more. */
async function isLinked(source: ObjectSource, name: string): Promise<boolean> {
  if (Buffer.isBuffer(source)) return false
  return await link(source.path, name).then(
    () => true,
    () => false // the copy that is made instead says what is wrong, if anything is
  )
}

/** Makes a file durable; gives its SHA-256, in hex. */
async function syncedDigest(path: string): Promise<string | undefined> {
  await using file = await open(path)
  await file.sync()
  return (await fingerprint(path))?.sha256
}

/** Writes and fsyncs a new file; gives the SHA-256 of what was written, in hex. */
async function writeDurably(path: string, source: ObjectSource): Promise<string> {
  const hash = createHash('sha256')
  await using file = await open(path, 'wx')
  let unsynced = 0
  for await (const chunk of Buffer.isBuffer(source) ? [source] : createReadStream(source.path)) {
    hash.update(chunk)
    await file.writeFile(chunk)
    unsynced += chunk.length
    if (unsynced < SYNC_BYTES) continue
    await file.datasync()
    unsynced = 0
  }
  await file.sync()
  return hash.digest('hex')
}

/** The size and SHA-256 of an object's file, by reading it; null if there is none. */
async function fingerprint(path: string): Promise<{ size: number; sha256: string } | null> {
  await using file = await openObject(path)
  if (file === null) return null
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of file.createReadStream({ autoClose: false })) {
    hash.update(chunk)
    size += chunk.length
  }
  return { size, sha256: hash.digest('hex') }
}

async function openObject(path: string): Promise<FileHandle | null> {
  const file = await unlessMissing(open(path))
  if (file === null || (await file.stat()).isFile()) return file
  await file.close()
  return null
}

/** Makes the names in `folder` durable, and its own in the folders above, up to and including `top`. */
async function syncFolders(folder: string, top: string): Promise<void> {
  const handle = await unlessMissing(open(folder))
  try {
    await handle?.sync()
  } finally {
    await handle?.close()
  }
  if (folder !== top) await syncFolders(dirname(folder), top)
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

/** Null for a path that is not there, also because what should be its folder is a file. */
async function unlessMissing<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return null
    throw error
  }
}

const hints: Record<string, string> = {
  ENOENT: 'Check the path: is the volume mounted?',
  EACCES: 'Let the user that Millrace runs as read and write this folder.',
  EROFS: 'The file system is mounted read-only.',
  ENOSPC: 'The disk is full: free some space.',
  EDQUOT: 'The disk quota is used up.',
  EPERM: 'The archive needs a file system with hard links (not FAT, nor some network shares) that this user may write.',
  ENOTSUP: 'The archive needs a file system with hard links (not FAT, nor some network shares).',
  EEXIST: 'A file stands where a folder is needed.',
  ENOTDIR: 'A file stands where a folder is needed.',
  ENAMETOOLONG: 'Each part of a key may have 255 bytes on most file systems.'
}

async function attempt<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof MillraceError) throw error
    const hint = hints[codeOf(error) ?? '']
    throw new MillraceError('STORE_FAILED', `could not ${what}: ${messageOf(error)}`, { hint, cause: error })
  }
}
