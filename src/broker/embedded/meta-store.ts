// What the embedded broker must know beside its logs, in one SQLite file: its cluster id, its topics, where their logs begin
// after the oldest records were forgotten, and which producer ids were given out. A change is on the disk when its call returns.
import { randomUUID } from 'node:crypto'
import Database from 'better-sqlite3'
import { MillraceError, messageOf } from '../../errors.ts'
import type { TopicSettings } from './topic-configs.ts'

export interface StoredTopic {
  readonly name: string
  readonly topicId: string
  readonly partitionCount: number
  readonly settings: TopicSettings
}

export interface LogStart {
  readonly topicId: string
  readonly partition: number
  readonly offset: number
}

/** Kept in `user_version`; any change of the tables is a new number. */
const SCHEMA_VERSION = 1

const schema = `
  create table broker (id integer primary key check (id = 1), cluster_id text not null, next_producer_id integer not null) strict;
  create table topic (
    topic_id text primary key, name text not null unique, partition_count integer not null, settings text not null
  ) strict, without rowid;
  create table log_start (
    topic_id text not null, partition integer not null, offset integer not null, primary key (topic_id, partition)
  ) strict, without rowid;
  pragma user_version = ${SCHEMA_VERSION};
`

export class MetaStore implements Disposable {
  readonly clusterId: string
  readonly #path: string
  readonly #db: Database.Database

  private constructor(path: string, db: Database.Database) {
    this.#path = path
    this.#db = db
    this.clusterId = this.#clusterId()
  }

  /** Opens the file, or makes it with a new cluster id. Throws WAL_FAILED, and CONFIG_INVALID for one of a later version. */
  static open(path: string): MetaStore {
    const db = new Database(path)
    try {
      db.pragma('journal_mode = wal')
      db.pragma('synchronous = full')
      db.pragma('fullfsync = on') // macOS: fsync alone stops at the drive's cache
      const version = db.pragma('user_version', { simple: true })
      if (version === 0) db.transaction(() => db.exec(schema))()
      else if (version !== SCHEMA_VERSION) {
        throw new MillraceError('CONFIG_INVALID', `${path} has version ${version}, not ${SCHEMA_VERSION}`, {
          hint: 'A newer Millrace may have written it: start that one, or name another data.dir.'
        })
      }
      return new MetaStore(path, db)
    } catch (error) {
      db.close()
      throw error instanceof MillraceError ? error : failed(path, error)
    }
  }

  #clusterId(): string {
    const select = this.#db.prepare<[], string>('select cluster_id from broker').pluck()
    this.#db.prepare('insert or ignore into broker values (1, ?, 0)').run(newId())
    return select.get()!
  }

  topics(): StoredTopic[] {
    const select =
      'select name, topic_id topicId, partition_count partitionCount, settings from topic order by name collate binary'
    return this.#db
      .prepare<[], Omit<StoredTopic, 'settings'> & { settings: string }>(select)
      .all()
      .map(({ settings, ...topic }) => ({ ...topic, settings: JSON.parse(settings) as TopicSettings }))
  }

  logStarts(): LogStart[] {
    return this.#db.prepare<[], LogStart>('select topic_id topicId, partition, offset from log_start').all()
  }

  /** Throws WAL_FAILED, as all that follow; nothing has changed then. */
  addTopic({ topicId, name, partitionCount, settings }: StoredTopic): void {
    const insert = this.#db.prepare('insert into topic (topic_id, name, partition_count, settings) values (?, ?, ?, ?)')
    this.#change(() => insert.run(topicId, name, partitionCount, JSON.stringify(settings)))
  }

  setPartitionCount(topicId: string, count: number): void {
    this.#change(() => this.#db.prepare('update topic set partition_count = ? where topic_id = ?').run(count, topicId))
  }

  removeTopic(topicId: string): void {
    this.#change(() => {
      this.#db.prepare('delete from topic where topic_id = ?').run(topicId)
      this.#db.prepare('delete from log_start where topic_id = ?').run(topicId)
    })
  }

  setLogStarts(starts: readonly LogStart[]): void {
    const put = this.#db.prepare('insert or replace into log_start (topic_id, partition, offset) values (?, ?, ?)')
    this.#change(() => {
      for (const { topicId, partition, offset } of starts) put.run(topicId, partition, offset)
    })
  }

  /** The first of so many producer ids, which nobody else gets. */
  takeProducerIds(count: number): number {
    const take = this.#db
      .prepare<[number], number>('update broker set next_producer_id = next_producer_id + ? returning next_producer_id')
      .pluck()
    return this.#change(() => take.get(count)!) - count
  }

  #change<T>(work: () => T): T {
    try {
      return this.#db.transaction(work).immediate()
    } catch (error) {
      throw failed(this.#path, error)
    }
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }
}

/** A random id in Kafka's form, 22 characters; none that begins with a dash, which command lines would take for an option. */
export function newId(): string {
  for (;;) {
    const id = Buffer.from(randomUUID().replaceAll('-', ''), 'hex').toString('base64url')
    if (!id.startsWith('-')) return id
  }
}

function failed(path: string, cause: unknown): MillraceError {
  return new MillraceError('WAL_FAILED', `${path} could not be used: ${messageOf(cause)}`, { cause })
}
