// What happens before the first append: the folder is locked, leftovers of an interrupted creation or deletion are removed,
// every file of an earlier run is checked before SQLite sees it, and what its rows say is read into memory.
import { mkdirSync, rmSync, statfsSync } from 'node:fs'
import Database from 'better-sqlite3'
import { MillraceError } from '../errors.ts'
import { isSqliteError, openReadonly } from './database.ts'
import { bytesOnDisk, draftPath, gonePath, listFolder, lockPath, shmPath, sizeOf, walPath } from './files.ts'
import { FrameIndex } from './frame-index.ts'
import type { RecoveredFile, StoredRow } from './messages.ts'
import type { StreamKey } from './stream.ts'
import { streamId } from './stream.ts'
import { checkFile } from './wal-check.ts'

/** How long a lock may be waited for: a reader that looks whether a worker runs holds it for a moment. */
const LOCK_WAIT_MS = 500

/** File systems of other machines, by the number that statfs gives: SQLite's locks and fsync cannot be trusted there. */
const networkFileSystems = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB2']
])

/**
 * Makes this process the folder's only writer until the handle is closed; a process that dies lets go by itself.
 * Throws DATA_LOCKED, or CONFIG_INVALID on a network file system.
 */
export function lockFolder(directory: string): Database.Database {
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
    return db
  } catch (cause) {
    db.close()
    if (!isSqliteError(cause, 'SQLITE_BUSY')) throw cause
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
    if (isSqliteError(error, 'SQLITE_BUSY')) return true
    throw error
  } finally {
    db.close()
  }
}

/** Finishes what a crash interrupted: a file that never took an append, or one whose deletion had begun. */
export function removeLeftovers(directory: string): void {
  const found = listFolder(directory)
  for (const file of found.draft) {
    for (const suffix of ['', '-wal', '-shm']) rmSync(draftPath(directory, file) + suffix, { force: true })
  }
  for (const file of found.gone) {
    rmSync(walPath(directory, file), { force: true })
    rmSync(shmPath(directory, file), { force: true })
    rmSync(gonePath(directory, file))
  }
  const databases = new Set(found.db)
  for (const file of listFolder(directory)['db-wal']) {
    if (!databases.has(file) && sizeOf(walPath(directory, file)) === 0) rmSync(walPath(directory, file))
  }
}

/** A file that takes appends no more: the handle that keeps it as it is, and where its rows are. */
export interface LiveFile {
  readonly file: number
  readonly anchor: Database.Database
  readonly lookup: Database.Statement<[number], RowFacts>
  readonly index: FrameIndex
}

export interface RowFacts {
  readonly last: number
  readonly crc: number
  readonly flags: number
  readonly bytes: number
}

/** Opens the handle that holds a file and its (still empty) index. */
export function holdFile(directory: string, file: number): LiveFile {
  const anchor = openReadonly(directory, file)
  const lookup = anchor.prepare<[number], RowFacts>('select last, crc, flags, bytes from frame where id = ?')
  return { file, anchor, lookup, index: new FrameIndex() }
}

/** The streams that both threads know, by number. */
export class StreamTable {
  readonly keys: StreamKey[] = []
  readonly #numbers = new Map<string, number>()

  numberOf(key: StreamKey): number {
    const id = streamId(key)
    let number = this.#numbers.get(id)
    if (number === undefined) {
      number = this.keys.push(key) - 1
      this.#numbers.set(id, number)
    }
    return number
  }
}

export interface Recovered {
  readonly live: LiveFile[]
  readonly files: RecoveredFile[]
  /** The number that the next file gets. */
  readonly next: number
}

/**
 * Checks and opens all files of earlier runs. Throws WAL_CORRUPT for the first one that cannot be opened without loss;
 * no file has been changed then, and none is left open.
 */
export function recoverFiles(directory: string, streams: StreamTable): Recovered {
  removeLeftovers(directory)
  const found = listFolder(directory)
  const numbers = [...new Set([...found.db, ...found['db-wal']])].sort((a, b) => a - b)
  for (const file of numbers) checkFile(directory, file)
  const live: LiveFile[] = []
  try {
    const files = numbers.map(file => {
      const held = holdFile(directory, file)
      live.push(held)
      return { file, bytesOnDisk: bytesOnDisk(directory, file), rows: readRows(held, streams) }
    })
    return { live, files, next: (numbers.at(-1) ?? 0) + 1 }
  } catch (error) {
    for (const { anchor } of live) anchor.close()
    throw error
  }
}

/** What the columns before the blob say, in order of the ids; fills the file's index. */
function readRows({ anchor, index, file }: LiveFile, streams: StreamTable): StoredRow[] {
  const numbers = new Map<number, number>()
  for (const { id, key } of streamsOf(anchor)) numbers.set(id, streams.numberOf(key))
  const select =
    'select id, stream, base baseOffset, last lastOffset, bytes, appended_ms appendedMs from frame order by id'
  return anchor
    .prepare<[], StoredRow>(select)
    .all()
    .map((row, place) => {
      const stream = numbers.get(row.stream)
      if (row.id !== place + 1 || stream === undefined) {
        throw new MillraceError('WAL_CORRUPT', `file ${file}.db: row ${row.id} is out of place or has no stream`)
      }
      index.add(stream, row.baseOffset, row.lastOffset, row.id)
      return { ...row, stream }
    })
}

/** The streams that a file names, with their numbers in that file. */
export function streamsOf(db: Database.Database): { id: number; key: StreamKey }[] {
  const select = 'select id, cluster clusterId, topic, topic_id topicId, partition from stream order by id'
  return db
    .prepare<[], StreamKey & { id: number }>(select)
    .all()
    .map(({ id, ...key }) => ({ id, key }))
}
