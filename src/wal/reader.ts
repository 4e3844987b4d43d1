// Reads the WAL from other threads and other processes, beside the thread that writes it. It opens the files readonly, so it
// never moves anything out of a `-wal`; files that are deleted meanwhile are archived, and left out.
import type Database from 'better-sqlite3'
import { isMillraceError, MillraceError } from '../errors.ts'
import { isSqliteError, openReadonly } from './database.ts'
import { dbPath, listFolder, sizeOf } from './files.ts'
import type { WalRecord } from './frame.ts'
import { decodeFrame } from './frame.ts'
import type { IndexedRow } from './frame-index.ts'
import { FrameIndex } from './frame-index.ts'
import { isLocked, streamsOf } from './recovery.ts'
import type { StreamKey } from './stream.ts'
import { streamId } from './stream.ts'
import { checkFile } from './wal-check.ts'

/** What is known of a frame without reading it. */
export interface WalEntry {
  readonly file: number
  readonly id: number
  readonly baseOffset: number
  readonly lastOffset: number
  /** The batch's own CRC-32C. */
  readonly crc: number
  readonly flags: number
  /** Bytes of the batch. */
  readonly bytes: number
  readonly appendedMs: number
}

/** The outcome for one frame, or for a file that cannot be opened at all. */
export interface FrameCheck {
  readonly file: number
  readonly key?: StreamKey
  readonly entry?: WalEntry
  readonly error?: MillraceError
}

const entryColumns = `id, base baseOffset, last lastOffset, crc, flags, bytes, appended_ms appendedMs`
type EntryRow = Omit<WalEntry, 'file'>

interface OpenFile {
  readonly file: number
  readonly db: Database.Database
  readonly index: FrameIndex
  readonly streams: Map<string, { id: number; key: StreamKey }>
  readonly entry: Database.Statement<[number], EntryRow>
  readonly body: Database.Statement<[number], { body: Buffer }>
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
   * Throws WAL_CORRUPT that names the file and the row, OBJECT_MISSING when the file is gone: the archive holds it then.
   */
  read(entry: WalEntry): WalRecord {
    const open = this.#open.get(entry.file) ?? this.#tryOpen(entry.file)
    if (open !== undefined) return this.#decode(open, entry)
    throw new MillraceError('OBJECT_MISSING', `${dbPath(this.#directory, entry.file)} has been deleted`, {
      hint: 'Its batches were archived: read them from the archive.'
    })
  }

  /** Reads every frame and yields the outcome for each, also behind corrupt ones. */
  *verifyAll(): Generator<FrameCheck> {
    for (const file of listFolder(this.#directory).db) {
      const open = this.#openOrError(file)
      if (open instanceof MillraceError) yield { file, error: open }
      else if (open !== undefined) yield* this.#verifyFile(open)
    }
  }

  *#verifyFile(open: OpenFile): Generator<FrameCheck> {
    this.#index(open)
    for (const { key, id } of open.streams.values()) {
      for (const row of open.index.near(id, 0, Number.MAX_SAFE_INTEGER)) {
        const entry = { file: open.file, ...open.entry.get(row.id)! }
        const error = corruption(() => this.#decode(open, entry, key))
        yield { file: open.file, key, entry, ...(error && { error }) }
      }
    }
  }

  #decode(open: OpenFile, entry: WalEntry, key?: StreamKey): WalRecord {
    const of = key === undefined ? '' : ` (${key.topic}-${key.partition}, offset ${entry.baseOffset})`
    const where = `${dbPath(this.#directory, open.file)} row ${entry.id}${of}`
    const row = open.body.get(entry.id)
    if (row === undefined) throw new MillraceError('WAL_CORRUPT', `${where} is missing`)
    const record = decodeFrame(row.body, where)
    const offset = record.version === 2 ? record.baseOffset : record.offset
    if (offset !== entry.baseOffset || record.flags !== entry.flags) {
      throw new MillraceError('WAL_CORRUPT', `${where} holds the frame of another row, at offset ${offset}`)
    }
    return record
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
    const files = listFolder(this.#directory).db
    const newest = files.at(-1)
    this.#closeAllBut(files)
    return files.flatMap(file => {
      const open = this.#open.get(file) ?? this.#tryOpen(file)
      if (open === undefined) return []
      if (!open.complete) this.#index(open)
      open.complete = file !== newest
      return [open]
    })
  }

  #index(open: OpenFile): void {
    for (const { id, stream, base, last } of open.after.iterate(open.indexedThrough)) {
      open.index.add(stream, base, last, id)
      open.indexedThrough = id
    }
    for (const stream of streamsOf(open.db)) open.streams.set(streamId(stream.key), stream)
  }

  #openOrError(file: number): OpenFile | MillraceError | undefined {
    try {
      return this.#open.get(file) ?? this.#tryOpen(file)
    } catch (error) {
      if (isMillraceError(error, 'WAL_CORRUPT')) return error
      throw error
    }
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
        body: db.prepare<[number], { body: Buffer }>('select body from frame where id = ?'),
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

/** What SQLite itself finds wrong with a row's pages counts as corruption too. */
function corruption(check: () => unknown): MillraceError | undefined {
  try {
    check()
    return undefined
  } catch (error) {
    if (isMillraceError(error, 'WAL_CORRUPT')) return error
    if (isSqliteError(error, 'SQLITE_CORRUPT')) {
      return new MillraceError('WAL_CORRUPT', 'SQLite cannot read the row', { cause: error })
    }
    throw error
  }
}
