// A folder of files that can be had again, under a byte budget, the least lately used going first. Processes may share it: a
// file gets its name when it is whole, its name has its checksum, and whatever goes wrong only means that it is not there.
import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { crc32c } from '@node-rs/crc32'
import { keepWithin } from './oldest-first.ts'

/** How often it is written down that a file was used. */
const TOUCH_MS = 60_000

/** A name of our own for whatever a key has in it, then a checksum. */
const pattern = /^([0-9a-f]{32})-([0-9a-f]{8})$/

export class CachedFiles {
  readonly #directory: string
  readonly #maxBytes: number
  #listed: { readonly mtimeMs: number; readonly checksums: ReadonlyMap<string, string> } | null = null
  /** Files that this process has checked, and when it said last that they are used. */
  readonly #checked = new Map<string, number>()

  /** The folder is made when something is put into it. */
  constructor(directory: string, maxBytes: number) {
    this.#directory = directory
    this.#maxBytes = maxBytes
  }

  /** The path of a file that is there, whole. Another process may drop it at any time. */
  find(key: string): string | null {
    return unlessFailed(() => {
      const name = nameOf(key)
      const checksum = this.#list().get(name)
      if (checksum === undefined) return null
      const file = path.join(this.#directory, `${name}-${checksum}`)
      const touched = this.#checked.get(file)
      if (touched === undefined && checksumOf(readFileSync(file)) !== checksum) {
        rmSync(file, { force: true })
        return null
      }
      if (Date.now() - (touched ?? 0) > TOUCH_MS) {
        this.#checked.set(file, Date.now())
        utimesSync(file, new Date(), new Date())
      }
      return file
    })
  }

  /** Keeps a file, unless it is larger than all that may be kept. */
  put(key: string, contents: Buffer): void {
    if (contents.length > this.#maxBytes) return
    const temporary = path.join(this.#directory, `${randomUUID()}.tmp`)
    unlessFailed(() => {
      try {
        mkdirSync(this.#directory, { recursive: true })
        writeFileSync(temporary, contents, { flag: 'wx' })
        renameSync(temporary, path.join(this.#directory, `${nameOf(key)}-${checksumOf(contents)}`))
      } finally {
        rmSync(temporary, { force: true })
      }
      keepWithin(this.#directory, this.#maxBytes)
      return null
    })
  }

  /** The checksums by name; the folder is read again when something was put into it or taken from it. */
  #list(): ReadonlyMap<string, string> {
    const { mtimeMs } = statSync(this.#directory)
    if (this.#listed?.mtimeMs !== mtimeMs) {
      const found = readdirSync(this.#directory).flatMap(name => {
        const match = pattern.exec(name)
        return match === null ? [] : [[match[1]!, match[2]!] as const]
      })
      this.#listed = { mtimeMs, checksums: new Map(found) }
    }
    return this.#listed.checksums
  }
}

function nameOf(key: string): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 32)
}

function checksumOf(contents: Buffer): string {
  return crc32c(contents).toString(16).padStart(8, '0')
}

/** A cache that cannot be read or written, since the disk is full or belongs to somebody else, is as good as none. */
function unlessFailed<T>(work: () => T | null): T | null {
  try {
    return work()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
    return null
  }
}
