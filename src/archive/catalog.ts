// A local memory of archived segments, so that a walk need not read each of them again. It is a cache: everything in it can
// be read from the store, and objects never change, so what it holds is true as long as the object is there. It is
// begun anew where a power loss has torn it.
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
  readonly size: number
  /** SHA-256 of the object, hex; null where only its manifest was read. */
  readonly sha256: string | null
  readonly manifest: SegmentManifest
}

/** Changes whenever a row of an older Millrace cannot be taken as it is; such a catalog is begun anew. */
const CATALOG_VERSION = 1

/** Of a KiB or two each, more with many gaps. */
const MAX_PARSED = 4096

export class Catalog implements Disposable {
  readonly #file: string | null
  readonly #archive: string
  readonly #onDamage: (error: unknown) => void
  #tables: Tables | null = null
  /** Rows that were asked for, parsed: a walk looks up every segment. */
  readonly #rows = new Map<string, CatalogRow>()

  private constructor(file: string | null, archive: string, onDamage: (error: unknown) => void) {
    this.#file = file
    this.#archive = archive
    this.#onDamage = onDamage
  }

  /**
   * Opens the catalog in `file` for the archive at this URL, or one in memory for a single command. A file that turns out to be
   * damaged, now or later, is deleted and begun anew; `onDamage` is told why.
   */
  static open(file: string | null, archiveUrl: string, onDamage: (error: unknown) => void = () => {}): Catalog {
    const catalog = new Catalog(file, archiveUrl, onDamage)
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
      return this.#remember(key, { ...row, manifest: JSON.parse(row.manifest) as SegmentManifest })
    })
  }

  put(key: string, { size, sha256, manifest }: CatalogRow): void {
    this.#ask(({ putSegment }) => putSegment.run(this.#archive, key, size, sha256, JSON.stringify(manifest)))
    this.#remember(key, { size, sha256, manifest })
  }

  #remember(key: string, row: CatalogRow): CatalogRow {
    this.#rows.set(key, row)
    if (this.#rows.size > MAX_PARSED) this.#rows.delete(this.#rows.keys().next().value!)
    return row
  }

  batches(key: string): ArchivedBatch[] | undefined {
    const row = this.#ask(({ getBatches }) => getBatches.get(this.#archive, key))
    return row && unpack(row.packed)
  }

  putBatches(key: string, batches: readonly ArchivedBatch[]): void {
    this.#ask(({ putBatches }) => putBatches.run(this.#archive, key, pack(batches)))
  }

  #ask<T>(question: (tables: Tables) => T): T {
    try {
      return question((this.#tables ??= openTables(this.#file)))
    } catch (error) {
      if (!isDamage(error)) throw error
      this.#onDamage(error)
      this.#beginAnew()
      return question((this.#tables ??= openTables(this.#file)))
    }
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
  readonly getSegment: Database.Statement<[string, string], { size: number; sha256: string | null; manifest: string }>
  readonly putSegment: Database.Statement<[string, string, number, string | null, string]>
  readonly getBatches: Database.Statement<[string, string], { packed: Buffer }>
  readonly putBatches: Database.Statement<[string, string, Buffer]>
}

function openTables(file: string | null): Tables {
  const db = new Database(file ?? ':memory:')
  try {
    // A lost cache costs time, not data: no fsync for it.
    db.pragma('journal_mode = WAL')
    db.pragma('synchronous = OFF')
    if (db.pragma('user_version', { simple: true }) !== CATALOG_VERSION) {
      db.exec('DROP TABLE IF EXISTS segment; DROP TABLE IF EXISTS batches')
      db.pragma(`user_version = ${CATALOG_VERSION}`)
    }
    db.exec(`
      CREATE TABLE IF NOT EXISTS segment (
        archive TEXT NOT NULL, key TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT, manifest TEXT NOT NULL,
        PRIMARY KEY (archive, key)
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS batches (
        archive TEXT NOT NULL, key TEXT NOT NULL, packed BLOB NOT NULL,
        PRIMARY KEY (archive, key)
      ) WITHOUT ROWID`)
    return {
      db,
      getSegment: db.prepare('SELECT size, sha256, manifest FROM segment WHERE archive = ? AND key = ?'),
      putSegment: db.prepare('INSERT OR REPLACE INTO segment VALUES (?, ?, ?, ?, ?)'),
      getBatches: db.prepare('SELECT packed FROM batches WHERE archive = ? AND key = ?'),
      putBatches: db.prepare('INSERT OR REPLACE INTO batches VALUES (?, ?, ?)')
    }
  } catch (error) {
    db.close()
    throw error
  }
}

/** What SQLite says of pages that a power loss has torn, and JSON.parse of a manifest in one: SQLite does not look at text. */
function isDamage(error: unknown): boolean {
  if (error instanceof SyntaxError) return true
  return error instanceof Database.SqliteError && /^SQLITE_(CORRUPT|NOTADB)/.test(error.code)
}

function pack(batches: readonly ArchivedBatch[]): Buffer {
  const numbers = new Float64Array(batches.length * 3)
  batches.forEach(({ baseOffset, lastOffset, crc }, i) => {
    numbers.set([baseOffset, lastOffset, crc], i * 3)
  })
  return Buffer.from(numbers.buffer)
}

function unpack(packed: Buffer): ArchivedBatch[] {
  const numbers = new Float64Array(packed.buffer.slice(packed.byteOffset, packed.byteOffset + packed.length))
  return Array.from({ length: numbers.length / 3 }, (_, i) => ({
    baseOffset: numbers[i * 3]!,
    lastOffset: numbers[i * 3 + 1]!,
    crc: numbers[i * 3 + 2]!
  }))
}
