// The WAL's files as the thread holds them: one takes appends, the others are kept for duplicates until they are deleted.
// Synchronous by design; the thread around it decides when.
import { rmSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import type Database from 'better-sqlite3'
import { createDatabase, openForAppend } from './database.ts'
import { bytesOnDisk, dbPath, gonePath, shmPath, sizeOf, syncPath, walPath } from './files.ts'
import type { AppendRequest, FileState, FrameRef, RecoveredFile, StoredRow, ThreadOptions } from './messages.ts'
import type { LiveFile, RowFacts } from './recovery.ts'
import { holdFile, recoverFiles, StreamTable } from './recovery.ts'

/** A frame whose CRCs are checked and filled in. */
export interface SealedFrame {
  readonly ref: FrameRef
  readonly bytes: Buffer
  /** The batch's own CRC. */
  readonly crc: number
}

export interface SealedAppend {
  readonly request: AppendRequest
  readonly frames: readonly SealedFrame[]
}

type NewRow = StoredRow & RowFacts

interface Writer extends LiveFile {
  readonly db: Database.Database
  readonly insertFrame: Database.Statement
  readonly insertStream: Database.Statement
  /** The streams that the file names. */
  readonly named: Set<number>
}

export class WalStore {
  readonly streams = new StreamTable()
  readonly recovered: readonly RecoveredFile[]
  readonly #directory: string
  readonly #fileBytes: number
  /** Oldest first; the newest is the writer's, unless a write failed. */
  readonly #live: LiveFile[]
  readonly #highest = new Map<number, number>()
  #next: number
  #writer: Writer | undefined

  /** Recovers what is there and begins a new file. Throws WAL_CORRUPT, or SQLite's and the system's own errors. */
  constructor({ directory, fileBytes }: ThreadOptions) {
    this.#directory = directory
    this.#fileBytes = fileBytes
    const { live, files, next } = recoverFiles(directory, this.streams)
    this.#live = live
    this.#next = next
    this.recovered = files
    for (const { rows } of files) for (const row of rows) this.#raise(row)
    try {
      this.rotate()
    } catch (error) {
      this.close()
      throw error
    }
  }

  get newest(): FileState {
    const { file } = this.#live.at(-1)!
    return { file, bytesOnDisk: bytesOnDisk(this.#directory, file) }
  }

  /** Stores the frames in one transaction and returns the rows that are new. After a throw the file takes no more. */
  commit(appends: readonly SealedAppend[]): StoredRow[] {
    const writer = this.#writerWithRoom()
    const rows = new NewRows()
    try {
      writer.db.exec('begin immediate')
      const appendedMs = Date.now()
      for (const { request, frames } of appends) {
        for (const frame of frames) {
          if (!request.keepRepeats && (rows.has(frame) || this.#has(frame))) continue
          rows.add(this.#insert(writer, frame, appendedMs))
        }
      }
      writer.db.exec('commit')
    } catch (error) {
      this.#retire()
      throw error
    }
    return this.#stored(writer, rows.all)
  }

  /**
   * Copies rows of a file that takes appends no more into the newest, in one transaction, with the times of their appends;
   * returns the copies. Until the older file is deleted they are there twice, as if appended twice.
   * Throws as `commit`, and SQLite's error for what cannot be read; then nothing has changed.
   */
  move(file: number, rows: readonly StoredRow[]): StoredRow[] {
    const { anchor } = this.#live.find(live => live.file === file)!
    const select = anchor.prepare<[number], { crc: number; flags: number; body: Buffer }>(
      'select crc, flags, body from frame where id = ?'
    )
    const found = rows.map(row => ({ ...row, ...select.get(row.id)! }))
    const writer = this.#writerWithRoom()
    try {
      writer.db.exec('begin immediate')
      const copies = found.map(({ stream, baseOffset, lastOffset, flags, bytes, crc, body, appendedMs }) => {
        const ref = { stream, baseOffset, lastOffset, flags, start: 0, batch: body.length - bytes, end: body.length }
        return this.#insert(writer, { ref, bytes: body, crc }, appendedMs)
      })
      writer.db.exec('commit')
      return this.#stored(writer, copies)
    } catch (error) {
      this.#retire()
      throw error
    }
  }

  /** Takes note of rows that a commit has stored. */
  #stored(writer: Writer, rows: readonly NewRow[]): StoredRow[] {
    for (const row of rows) {
      writer.index.add(row.stream, row.baseOffset, row.lastOffset, row.id)
      writer.named.add(row.stream)
      this.#raise(row)
    }
    return rows.map(({ crc, flags, last, ...row }) => row)
  }

  #writerWithRoom(): Writer {
    const writer = this.#writer
    if (writer === undefined || (sizeOf(walPath(this.#directory, writer.file)) ?? 0) >= this.#fileBytes) this.rotate()
    return this.#writer!
  }

  #insert(writer: Writer, { ref, bytes, crc }: SealedFrame, appendedMs: number): NewRow {
    const { stream, baseOffset, lastOffset, flags } = ref
    const batchBytes = ref.end - ref.batch
    if (!writer.named.has(stream)) {
      const { clusterId, topic, topicId, partition } = this.streams.keys[stream]!
      writer.insertStream.run(stream, clusterId, topic, topicId, partition)
    }
    const { lastInsertRowid } = writer.insertFrame.run(
      stream,
      baseOffset,
      lastOffset,
      crc,
      flags,
      batchBytes,
      appendedMs,
      bytes
    )
    return {
      id: Number(lastInsertRowid),
      stream,
      baseOffset,
      lastOffset,
      last: lastOffset,
      crc,
      flags,
      bytes: batchBytes,
      appendedMs
    }
  }

  /** Whether a live file holds the same batch. Above the highest offset nothing can; the newest file is asked first. */
  #has(frame: SealedFrame): boolean {
    const { stream, baseOffset } = frame.ref
    if (baseOffset > (this.#highest.get(stream) ?? -1)) return false
    return this.#live.toReversed().some(({ index, lookup }) =>
      index.at(stream, baseOffset).some(id => {
        const row = lookup.get(id)
        return row !== undefined && isSame(row, frame)
      })
    )
  }

  #raise({ stream, lastOffset }: StoredRow): void {
    this.#highest.set(stream, Math.max(lastOffset, this.#highest.get(stream) ?? -1))
  }

  /** Begins the next file and closes the writer of the one before. After a throw everything is as it was. */
  rotate(): void {
    const file = this.#next++
    createDatabase(this.#directory, file)
    const db = openForAppend(this.#directory, file)
    try {
      const insertFrame = db.prepare(
        'insert into frame (stream, base, last, crc, flags, bytes, appended_ms, body) values (?, ?, ?, ?, ?, ?, ?, ?)'
      )
      const insertStream = db.prepare(
        'insert or ignore into stream (id, cluster, topic, topic_id, partition) values (?, ?, ?, ?, ?)'
      )
      const writer = { ...holdFile(this.#directory, file), db, insertFrame, insertStream, named: new Set<number>() }
      this.#retire()
      this.#live.push(writer)
      this.#writer = writer
    } catch (error) {
      rmSync(dbPath(this.#directory, file)) // before the close, which would delete the -wal and leave half a file
      db.close()
      for (const path of [walPath, shmPath]) rmSync(path(this.#directory, file), { force: true })
      throw error
    }
  }

  /** Closes the writer of the newest file; its anchor keeps the `-wal` as it is. */
  #retire(): void {
    this.#writer?.db.close() // rolls back what is open
    this.#writer = undefined
  }

  /**
   * Deletes a file that takes appends no more. The first rename is what decides: a restart in the middle goes on from
   * there. The unlinking, which frees the space, is done outside this thread.
   */
  async delete(file: number): Promise<void> {
    const place = this.#live.findIndex(live => live.file === file)
    const held = this.#live[place]
    if (held === undefined || file === this.#writer?.file) throw new Error(`file ${file} cannot be deleted`)
    const directory = this.#directory
    await rename(dbPath(directory, file), gonePath(directory, file))
    this.#live.splice(this.#live.indexOf(held), 1)
    held.anchor.close()
    syncPath(directory)
    await rm(walPath(directory, file))
    await rm(shmPath(directory, file), { force: true })
    syncPath(directory)
    await rm(gonePath(directory, file))
  }

  /** Closes all files and leaves every `-wal` where it is. */
  close(): void {
    this.#retire()
    for (const { anchor } of this.#live.splice(0)) anchor.close()
  }
}

/** The rows of the transaction that is being made, which no index knows yet. */
class NewRows {
  readonly all: NewRow[] = []
  readonly #places = new Map<string, NewRow[]>()

  add(row: NewRow): void {
    this.all.push(row)
    const place = `${row.stream} ${row.baseOffset}`
    this.#places.set(place, [...(this.#places.get(place) ?? []), row])
  }

  has(frame: SealedFrame): boolean {
    const rows = this.#places.get(`${frame.ref.stream} ${frame.ref.baseOffset}`)
    return rows?.some(row => isSame(row, frame)) ?? false
  }
}

/**
 * The same batch, whatever bytes 0..8 and 12..16 say (base offset and leader epoch): its CRC covers the rest. Other flags
 * make another row, since they tell what is known of the batch: that the broker's own log has it.
 */
function isSame(row: RowFacts, { ref, crc }: SealedFrame): boolean {
  return row.crc === crc && row.last === ref.lastOffset && row.bytes === ref.end - ref.batch && row.flags === ref.flags
}
