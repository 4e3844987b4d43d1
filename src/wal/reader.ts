// Reads the WAL from other threads and other processes, beside the thread that writes it. It opens the files readonly, so it
// never moves anything out of a `-wal`; files that are deleted meanwhile are archived, and left out.
import type Database from 'better-sqlite3'
import { isMillraceError, MillraceError } from '../errors.ts'
import { isSqliteError, openReadonly } from './database.ts'
import { dbPath, listFolder, sizeOf } from './files.ts'
import type { WalRecord } from './frame.ts'
import type { IndexedRow } from './frame-index.ts'
import { FrameIndex } from './frame-index.ts'
import { isLocked, streamsOf } from './recovery.ts'
import type { EntryRow, FrameCheck, WalEntry } from './rows.ts'
import { entryColumns, orCorruption, readFrame, verifyRows } from './rows.ts'
import type { StreamKey } from './stream.ts'
import { streamId } from './stream.ts'
import { checkFile } from './wal-check.ts'

export type { FrameCheck, WalEntry } from './rows.ts'

interface OpenFile {
  readonly file: number
  readonly db: Database.Database
  readonly index: FrameIndex
  readonly streams: Map<string, { id: number; key: StreamKey }>
  readonly entry: Database.Statement<[number], EntryRow>
  readonly body: Database.Statement<[number], { body: unknown }>
  readonly after: Database.Statement<[number], { id: number; stream: number; base: number; last: number }>
  indexedThrough: number
  /** Takes appends no more, and is indexed whole. */
  complete: boolean
}

export class WalReader implements Disposable {
  readonly #directory: string
  readonly #open = new Map<number, OpenFile>()

  private constructor(directory: string) {
    this.#directory = directory
  }

  /** A reader of the folder that holds `<n>.db`. Nothing is opened yet. */
  static open(directory: string): WalReader {
    return new WalReader(directory)
  }

  /** Every stream that the files name. Throws WAL_CORRUPT when a file of an earlier run is damaged. */
  streams(): StreamKey[] {
    const keys = new Map<string, StreamKey>()
    for (const { streams } of this.#refresh()) for (const [id, { key }] of streams) keys.set(id, key)
    return [...keys.values()]
  }

  /**
   * The frames that hold an offset from `fromOffset` on and below `toOffset`, by base offset, then file, then id; no more
   * of them than it takes for their batches to exceed `maxBytes`. Sees everything whose append has resolved before the call.
   * Throws as `streams`.
   */
  entries(
    key: StreamKey,
    fromOffset = 0,
    toOffset = Number.MAX_SAFE_INTEGER,
    maxBytes = Number.POSITIVE_INFINITY
  ): WalEntry[] {
    const id = streamId(key)
    const found: WalEntry[] = []
    let bytes = 0
    const rows = this.#refresh().flatMap(open => {
      const stream = open.streams.get(id)
      return stream === undefined ? [] : [rowsOf(open, stream.id, fromOffset, toOffset)]
    })
    for (const { open, row } of byBase(rows)) {
      const facts = open.entry.get(row.id)
      if (facts === undefined || facts.lastOffset < fromOffset) continue
      found.push({ file: open.file, ...facts })
      bytes += facts.bytes
      if (bytes > maxBytes) break
    }
    return found
  }

  /**
   * Reads a frame and checks it. Works for entries of files deleted since, until the next look at the folder.
   * Throws WAL_CORRUPT that names the file and the row, OBJECT_MISSING when the file is gone: the archive or a newer file holds it then.
   */
  read(entry: WalEntry): WalRecord {
    const open = this.#open.get(entry.file) ?? this.#tryOpen(entry.file)
    if (open !== undefined) {
      return readFrame(() => open.body.get(entry.id), entry, `${dbPath(this.#directory, open.file)} row ${entry.id}`)
    }
    throw new MillraceError('OBJECT_MISSING', `${dbPath(this.#directory, entry.file)} has been deleted`, {
      hint: 'Its batches were archived, or copied to a newer file: look for them again.'
    })
  }

  /** Reads every frame and yields the outcome for each, by file and row, also behind what cannot be read. */
  *verifyAll(): Generator<FrameCheck> {
    for (const file of listFolder(this.#directory).db) {
      const path = dbPath(this.#directory, file)
      const open = orCorruption(() => this.#open.get(file) ?? this.#tryOpen(file), path)
      if (open instanceof MillraceError) yield { file, error: open }
      else if (open !== undefined) {
        yield* verifyRows(open.db, file, path)
        const error = this.#damage(file)
        if (error !== undefined) yield { file, error }
      }
    }
  }

  /**
   * What a start would refuse in a file that is in use, where SQLite does not look at checksums. In the middle of a write the
   * end of a `-wal` can look damaged: only what is found twice is.
   */
  #damage(file: number): MillraceError | undefined {
    const check = () => {
      const outcome = orCorruption(() => checkFile(this.#directory, file), dbPath(this.#directory, file))
      return outcome instanceof MillraceError ? outcome : undefined
    }
    const error = check()
    return error !== undefined && check()?.message === error.message ? error : undefined
  }

  /** Closes the files that were deleted meanwhile: until then they take their space. Every look at the folder does it. */
  closeDeleted(): void {
    this.#closeAllBut(listFolder(this.#directory).db)
  }

  #closeAllBut(files: readonly number[]): void {
    for (const [file, { db }] of this.#open) {
      if (files.includes(file)) continue
      db.close()
      this.#open.delete(file)
    }
  }

  /** Opens what is new, lets go of what was deleted, and indexes the rows that have come since. */
  #refresh(): OpenFile[] {
    for (;;) {
      const files = listFolder(this.#directory).db
      const newest = files.at(-1)
      this.#closeAllBut(files)
      const opened = files.flatMap(file => {
        const open = this.#open.get(file) ?? this.#tryOpen(file)
        if (open === undefined) return []
        if (!open.complete) this.#index(open)
        open.complete = file !== newest
        return [open]
      })
      // What was needed of a file that is gone by now may lie in one that was not listed yet.
      if (opened.length === files.length) return opened
    }
  }

  #index(open: OpenFile): void {
    for (const { id, stream, base, last } of open.after.iterate(open.indexedThrough)) {
      open.index.add(stream, base, last, id)
      open.indexedThrough = id
    }
    for (const stream of streamsOf(open.db)) open.streams.set(streamId(stream.key), stream)
  }

  /** Undefined when the file is gone. A file that no worker holds is checked before SQLite sees it. */
  #tryOpen(file: number): OpenFile | undefined {
    if (sizeOf(dbPath(this.#directory, file)) === undefined) return undefined
    try {
      if (!isLocked(this.#directory)) checkFile(this.#directory, file)
      const db = openReadonly(this.#directory, file)
      const open = {
        file,
        db,
        index: new FrameIndex(),
        streams: new Map(),
        entry: db.prepare<[number], EntryRow>(`select ${entryColumns} from frame where id = ?`),
        body: db.prepare<[number], { body: unknown }>('select body from frame where id = ?'),
        after: db.prepare<[number], any>('select id, stream, base, last from frame where id > ? order by id'),
        indexedThrough: 0,
        complete: false
      }
      this.#open.set(file, open)
      return open
    } catch (error) {
      const gone = sizeOf(dbPath(this.#directory, file)) === undefined
      if (gone && (isMillraceError(error, 'WAL_CORRUPT') || isSqliteError(error, 'SQLITE_CANTOPEN'))) return undefined
      throw error
    }
  }

  /** Closes all files; whatever is called next opens them again. */
  close(): void {
    for (const { db } of this.#open.values()) db.close()
    this.#open.clear()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

interface FileRow {
  readonly open: OpenFile
  readonly row: IndexedRow
}

function* rowsOf(open: OpenFile, stream: number, from: number, to: number): Generator<FileRow> {
  for (const row of open.index.near(stream, from, to)) yield { open, row }
}

/** Merges rows that each come by base; the earlier file's come first where bases are equal. */
function* byBase(files: readonly Iterator<FileRow>[]): Generator<FileRow> {
  const heads = files.map(rows => rows.next().value as FileRow | undefined)
  for (;;) {
    let least = -1
    heads.forEach((head, i) => {
      if (head !== undefined && (least < 0 || head.row.base < heads[least]!.row.base)) least = i
    })
    if (least < 0) return
    yield heads[least]!
    heads[least] = files[least]!.next().value
  }
}
