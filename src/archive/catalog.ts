// A local memory of archived segments, so that a walk need not read each of them again. It is a cache: everything in it can be
// read from the store, so what becomes of it is nobody's failure. An object never changes, but an archive may be removed and begun
// anew, or go back to an earlier state: each row says of which object it is.
import { rmSync } from 'node:fs'
import Database from 'better-sqlite3'
import type { SegmentManifest } from '../segment/manifest.ts'

/** Which batch an archived segment holds at an offset, and with which CRC-32C. */
export interface ArchivedBatch {
  readonly baseOffset: number
  readonly lastOffset: number
  readonly crc: number
}

export interface CatalogRow {
  readonly manifest: SegmentManifest
  /** Of the object whose manifest it is, as a listing has them. */
  readonly size: number
  readonly tag: string | undefined
}

/** The one process that may begin a catalog anew. */
export interface CatalogOwner {
  /** The file was damaged, as by a power loss, and is begun anew. */
  damaged(error: unknown): void
  /** It cannot be read or written, as on a full disk. Told once, however often it happens. */
  failed(error: unknown): void
}

/** Changes whenever a row of an older Millrace cannot be taken as it is; such a catalog is begun anew. */
const CATALOG_VERSION = 2

/** Of a KiB or two each, more with many gaps. */
const MAX_PARSED = 4096

export class Catalog implements Disposable {
  readonly #file: string | null
  readonly #archive: string
  readonly #owner: CatalogOwner | null
  #hasFailed = false
  #tables: Tables | null = null
  /** Rows that were asked for, parsed: a walk looks up every segment. */
  readonly #rows = new Map<string, CatalogRow>()
  /** What was put last: it is asked for next, and may not have got into the file. */
  #newest: { readonly key: string; readonly logSha256: string; readonly batches: readonly ArchivedBatch[] } | null =
    null

  private constructor(file: string | null, archive: string, owner: CatalogOwner | null) {
    this.#file = file
    this.#archive = archive
    this.#owner = owner
  }

  /**
   * Opens the catalog in `file` for the archive at this URL, or one in memory for a single command. With an owner, a file that turns
   * out to be damaged, now or later, is deleted and begun anew. All others go without one that is damaged, not there, or of another
   * version, for it may be the owner who has just begun it. What cannot be asked knows nothing, and what cannot be put is not known.
   */
  static open(file: string | null, archiveUrl: string, owner: CatalogOwner | null = null): Catalog {
    const catalog = new Catalog(file, archiveUrl, owner)
    catalog.#ask(() => {})
    return catalog
  }

  get(key: string): CatalogRow | undefined {
    const parsed = this.#rows.get(key)
    if (parsed !== undefined) return parsed
    return this.#ask(({ getSegment }) => {
      const row = getSegment.get(this.#archive, key)
      if (row === undefined) return undefined
      // Checked when it was put here: a walk looks up every segment, so it is not checked again.
      const manifest = JSON.parse(row.manifest) as SegmentManifest
      return this.#remember(key, { manifest, size: row.size, tag: row.tag ?? undefined })
    })
  }

  put(key: string, { manifest, size, tag }: CatalogRow): void {
    this.#ask(({ putSegment }) => putSegment.run(this.#archive, key, size, tag ?? null, JSON.stringify(manifest)))
    this.#remember(key, { manifest, size, tag })
  }

  #remember(key: string, row: CatalogRow): CatalogRow {
    this.#rows.set(key, row)
    if (this.#rows.size > MAX_PARSED) this.#rows.delete(this.#rows.keys().next().value!)
    return row
  }

  /** The batches of a segment, if they are those of a log with this SHA-256. */
  batches(key: string, logSha256: string): readonly ArchivedBatch[] | undefined {
    if (this.#newest?.key === key && this.#newest.logSha256 === logSha256) return this.#newest.batches
    return this.#ask(({ getBatches }) => {
      const row = getBatches.get(this.#archive, key, logSha256)
      return row && unpack(row.packed)
    })
  }

  putBatches(key: string, logSha256: string, batches: readonly ArchivedBatch[]): void {
    this.#newest = { key, logSha256, batches }
    this.#ask(({ putBatches }) => putBatches.run(this.#archive, key, logSha256, pack(batches)))
  }

  /** Undefined where the catalog cannot be asked. */
  #ask<T>(question: (tables: Tables) => T): T | undefined {
    try {
      try {
        return this.#askOnce(question)
      } catch (error) {
        if (!isDamage(error) || this.#owner === null) throw error
        this.#owner.damaged(error)
        this.#beginAnew()
        return this.#askOnce(question)
      }
    } catch (error) {
      if (!isDamage(error) && !isFailure(error)) throw error
      // On a full disk it may still be read.
      if (!isFull(error)) this[Symbol.dispose]()
      if (!this.#hasFailed) this.#owner?.failed(error)
      this.#hasFailed = true
      return undefined
    }
  }

  #askOnce<T>(question: (tables: Tables) => T): T {
    this.#tables ??= openTables(this.#file, this.#file === null || this.#owner !== null)
    return question(this.#tables)
  }

  #beginAnew(): void {
    this[Symbol.dispose]()
    this.#rows.clear()
    if (this.#file === null) return
    // The database first: beside one that is not there SQLite believes nothing of the others.
    for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(this.#file + suffix, { force: true })
  }

  [Symbol.dispose](): void {
    this.#tables?.db.close()
    this.#tables = null
  }
}

interface Tables {
  readonly db: Database.Database
  readonly getSegment: Database.Statement<[string, string], { size: number; tag: string | null; manifest: string }>
  readonly putSegment: Database.Statement<[string, string, number, string | null, string]>
  readonly getBatches: Database.Statement<[string, string, string], { packed: Buffer }>
  readonly putBatches: Database.Statement<[string, string, string, Buffer]>
}

function openTables(file: string | null, mayBegin: boolean): Tables {
  const db = new Database(file ?? ':memory:', { fileMustExist: !mayBegin })
  try {
    const isBegun = db.pragma('user_version', { simple: true }) === CATALOG_VERSION
    if (!isBegun && !mayBegin) throw new Database.SqliteError('the catalog is of another version', 'SQLITE_MISMATCH')
    // A lost cache costs time, not data: no fsync for it.
    db.pragma('journal_mode = WAL')
    db.pragma('synchronous = OFF')
    if (!isBegun) {
      db.exec('DROP TABLE IF EXISTS segment; DROP TABLE IF EXISTS batches')
      db.pragma(`user_version = ${CATALOG_VERSION}`)
    }
    if (mayBegin) db.exec(schema)
    return {
      db,
      getSegment: db.prepare('SELECT size, tag, manifest FROM segment WHERE archive = ? AND key = ?'),
      putSegment: db.prepare('INSERT OR REPLACE INTO segment VALUES (?, ?, ?, ?, ?)'),
      getBatches: db.prepare('SELECT packed FROM batches WHERE archive = ? AND key = ? AND logSha256 = ?'),
      putBatches: db.prepare('INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?)')
    }
  } catch (error) {
    db.close()
    throw error
  }
}

const schema = `
  CREATE TABLE IF NOT EXISTS segment (
    archive TEXT NOT NULL, key TEXT NOT NULL, size INTEGER NOT NULL, tag TEXT, manifest TEXT NOT NULL,
    PRIMARY KEY (archive, key)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS batches (
    archive TEXT NOT NULL, key TEXT NOT NULL, logSha256 TEXT NOT NULL, packed BLOB NOT NULL,
    PRIMARY KEY (archive, key)
  ) WITHOUT ROWID`

/**
 * What SQLite says of pages that a power loss has torn, or of tables that another version has put there; and what is said of a
 * manifest or of batches in such pages, since SQLite does not look into these.
 */
function isDamage(error: unknown): boolean {
  if (error instanceof SyntaxError) return true
  return error instanceof Database.SqliteError && /^SQLITE_(CORRUPT|NOTADB|ERROR$)/.test(error.code)
}

/** Of SQLite, or of removing a file. */
function isFailure(error: unknown): boolean {
  return error instanceof Database.SqliteError || (error as NodeJS.ErrnoException).syscall !== undefined
}

function isFull(error: unknown): boolean {
  return error instanceof Database.SqliteError && error.code === 'SQLITE_FULL'
}

const BATCH_BYTES = 3 * Float64Array.BYTES_PER_ELEMENT

function pack(batches: readonly ArchivedBatch[]): Buffer {
  const numbers = new Float64Array(batches.length * 3)
  batches.forEach(({ baseOffset, lastOffset, crc }, i) => {
    numbers.set([baseOffset, lastOffset, crc], i * 3)
  })
  return Buffer.from(numbers.buffer)
}

/** Throws SyntaxError, as JSON.parse does. */
function unpack(packed: Buffer): ArchivedBatch[] {
  if (packed.length % BATCH_BYTES !== 0) throw new SyntaxError(`${packed.length} bytes are no whole batches`)
  const numbers = new Float64Array(packed.buffer.slice(packed.byteOffset, packed.byteOffset + packed.length))
  return Array.from({ length: numbers.length / 3 }, (_, i) => ({
    baseOffset: numbers[i * 3]!,
    lastOffset: numbers[i * 3 + 1]!,
    crc: numbers[i * 3 + 2]!
  }))
}
