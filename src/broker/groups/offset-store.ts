// Committed offsets on disk, in one SQLite file for any number of scopes (a cluster, an archive): what a group that is away
// comes back to. A change counts as made when its promise has resolved, and is then safe from a crash.
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { MillraceError, messageOf } from '../../errors.ts'

export interface CommittedOffset {
  readonly topic: string
  readonly partition: number
  /** The topic that this was committed for: another one of the same name has no committed offsets. */
  readonly topicId: string
  readonly offset: number
  /** -1 where the client did not tell it. */
  readonly leaderEpoch: number
  readonly metadata: string
}

/** Kept in `user_version`; any change of the table is a new number. */
const SCHEMA_VERSION = 1

const schema = `
  CREATE TABLE IF NOT EXISTS committed (
    scope TEXT NOT NULL, group_id TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, topic_id TEXT NOT NULL,
    offset INTEGER NOT NULL, leader_epoch INTEGER NOT NULL, metadata TEXT NOT NULL, committed_ms INTEGER NOT NULL,
    PRIMARY KEY (scope, group_id, topic, partition)
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = ${SCHEMA_VERSION};
`

const columns = 'topic, partition, topic_id AS topicId, offset, leader_epoch AS leaderEpoch, metadata'

export class OffsetStore implements Disposable {
  readonly #path: string
  readonly #db: Database.Database
  readonly #put: Database.Statement
  readonly #remove: Database.Statement
  readonly #removeGroup: Database.Statement
  readonly #all: Database.Statement<[string, string], CommittedOffset>
  readonly #groups: Database.Statement<[string], string>
  readonly #hasGroup: Database.Statement<[string, string]>
  /** What the next transaction does, and its end. */
  #changes: (() => void)[] = []
  #commit: Promise<void> | undefined

  private constructor(file: string, db: Database.Database) {
    this.#path = file
    this.#db = db
    this.#put = db.prepare('INSERT OR REPLACE INTO committed VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)')
    this.#remove = db.prepare('DELETE FROM committed WHERE scope = ? AND group_id = ? AND topic = ? AND partition = ?')
    this.#removeGroup = db.prepare('DELETE FROM committed WHERE scope = ? AND group_id = ?')
    this.#all = db.prepare(`SELECT ${columns} FROM committed WHERE scope = ? AND group_id = ?`)
    this.#groups = db.prepare<[string], string>('SELECT DISTINCT group_id FROM committed WHERE scope = ?').pluck()
    this.#hasGroup = db.prepare('SELECT 1 FROM committed WHERE scope = ? AND group_id = ? LIMIT 1')
  }

  /**
   * Opens the file, or makes it. Several processes may have it open, each for scopes of its own.
   * Throws WAL_CORRUPT for a file of a later version.
   */
  static open(file: string): OffsetStore {
    mkdirSync(path.dirname(file), { recursive: true })
    const db = new Database(file)
    try {
      const version = db.pragma('user_version', { simple: true })
      if (version !== 0 && version !== SCHEMA_VERSION) {
        throw new MillraceError(
          'WAL_CORRUPT',
          `${file} has version ${version}, this Millrace reads ${SCHEMA_VERSION}`,
          {
            hint: 'A newer Millrace may have written it: start that one, or move the file away.'
          }
        )
      }
      db.pragma('journal_mode = WAL')
      db.pragma('synchronous = FULL')
      db.pragma('fullfsync = on') // macOS: fsync alone stops at the drive's cache
      if (version === 0) db.exec(schema)
      return new OffsetStore(file, db)
    } catch (error) {
      db.close()
      throw error
    }
  }

  /** All offsets of a group, by topic and partition. */
  offsets(scope: string, group: string): CommittedOffset[] {
    return this.#all.all(scope, group)
  }

  /** The groups that have offsets, by name. */
  groups(scope: string): string[] {
    return this.#groups.all(scope)
  }

  has(scope: string, group: string): boolean {
    return this.#hasGroup.get(scope, group) !== undefined
  }

  /** Stores offsets in place of earlier ones. Rejects with WAL_FAILED when the disk does not take them. */
  put(scope: string, group: string, offsets: readonly CommittedOffset[]): Promise<void> {
    return this.#change(() => {
      for (const { topic, partition, topicId, offset, leaderEpoch, metadata } of offsets) {
        this.#put.run(scope, group, topic, partition, topicId, offset, leaderEpoch, metadata, Date.now())
      }
    })
  }

  /** Deletes the offsets of some partitions. Rejects as `put` does. */
  remove(scope: string, group: string, partitions: readonly { topic: string; partition: number }[]): Promise<void> {
    return this.#change(() => {
      for (const { topic, partition } of partitions) this.#remove.run(scope, group, topic, partition)
    })
  }

  /** Deletes all offsets of a group. Rejects as `put` does. */
  removeGroup(scope: string, group: string): Promise<void> {
    return this.#change(() => this.#removeGroup.run(scope, group))
  }

  /** Changes of the same turn of the event loop share a transaction, so that many groups cost one fsync. */
  #change(change: () => void): Promise<void> {
    this.#changes.push(change)
    this.#commit ??= turn().then(() => this.#write())
    return this.#commit
  }

  #write(): void {
    const changes = this.#changes
    this.#changes = []
    this.#commit = undefined
    try {
      this.#db.transaction(() => {
        for (const change of changes) change()
      })()
    } catch (cause) {
      throw new MillraceError('WAL_FAILED', `${this.#path} could not be written: ${messageOf(cause)}`, { cause })
    }
  }

  /** What is not stored by now never is: its promise rejects. */
  [Symbol.dispose](): void {
    this.#db.close()
  }
}
