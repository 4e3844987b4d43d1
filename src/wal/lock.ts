// One process at a time works on a WAL folder. SQLite takes the lock, since Node has no call for it: `lock.db`, which nothing
// but SQLite may open (closing any other handle of it would drop the lock), in a transaction that never ends.
import { mkdirSync, statfsSync } from 'node:fs'
import Database from 'better-sqlite3'
import { MillraceError } from '../errors.ts'
import { lockPath, sizeOf } from './files.ts'

/** How long a lock may be waited for: a reader that looks whether a worker runs holds it for a moment. */
const LOCK_WAIT_MS = 500

/** File systems of other machines, by the number that statfs gives: locks and fsync cannot be trusted there. */
const networkFileSystems = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB2']
])

export interface FolderLock {
  release(): void
}

/**
 * Makes this process the folder's only writer until the lock is released; a process that dies lets go by itself. Makes the
 * folder where it is missing. Throws DATA_LOCKED, CONFIG_INVALID on a network file system, and what the system says.
 */
export function lockFolder(directory: string): FolderLock {
  mkdirSync(directory, { recursive: true })
  const network = networkFileSystems.get(statfsSync(directory).type)
  if (network !== undefined) {
    throw new MillraceError('CONFIG_INVALID', `the WAL folder ${directory} is on ${network}`, {
      hint: 'Put data.dir on a local disk.'
    })
  }
  const db = new Database(lockPath(directory), { timeout: LOCK_WAIT_MS })
  try {
    db.pragma('journal_mode = memory') // nothing is ever written to it
    db.exec('begin exclusive')
    return { release: () => void db.close() }
  } catch (cause) {
    db.close()
    if (!isBusy(cause)) throw cause
    throw new MillraceError('DATA_LOCKED', `another process works on the WAL folder ${directory}`, {
      hint: 'Stop it, or give this worker a data.dir of its own.',
      cause
    })
  }
}

/** True while some process, this one included, holds the folder's lock. */
export function isLocked(directory: string): boolean {
  if (sizeOf(lockPath(directory)) === undefined) return false
  const db = new Database(lockPath(directory), { readonly: true, timeout: 0 })
  try {
    db.prepare('select count(*) from sqlite_schema').get()
    return false
  } catch (error) {
    if (isBusy(error)) return true
    throw error
  } finally {
    db.close()
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')
}
