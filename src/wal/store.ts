// The WAL's files as the thread holds them: one takes appends, the others are kept for duplicates until they are deleted.
// Synchronous by design: the thread has nothing else to do, and a change of threads costs as much as a small write.
import { closeSync, fdatasyncSync, ftruncateSync } from 'node:fs'
import { rename, unlink } from 'node:fs/promises'
import { isMillraceError } from '../errors.ts'
import { giveBack } from '../give-back.ts'
import { FileIndex } from './file-index.ts'
import { createFile, writeAll } from './file-writing.ts'
import { damagedPath, syncPath, walPath } from './files.ts'
import { WalRecord } from './frame.ts'
import { HeadReader } from './frame-head.ts'
import { encodeMark, FILE_HEADER_BYTES, markBytes } from './layout.ts'
import type { AppendRequest, FileState, FrameRef, RecoveredFile, ThreadOptions } from './messages.ts'
import type { Frame } from './new-frames.ts'
import { isSame, NewFrames } from './new-frames.ts'
import type { LiveFile } from './recovery.ts'
import { recoverFiles, StreamTable } from './recovery.ts'
import type { TakeMemory } from './reused-memory.ts'
import type { StoredRow } from './row-columns.ts'
import type { WalEntry } from './rows.ts'
import { readEntry } from './rows.ts'
import type { WalFile } from './wal-file.ts'

/** Frames that one mark stands for. */
interface Group {
  readonly appendedMs: number
  readonly frames: readonly Frame[]
}

interface Writer extends LiveFile {
  readonly fd: number
  readonly salt: bigint
  /** Where the next mark is written, and the id that its first frame gets. */
  end: number
  nextId: number
}

export class WalStore {
  readonly streams = new StreamTable()
  /** Their rows go to the main thread, and are empty here afterwards. */
  readonly recovered: readonly RecoveredFile[]
  readonly #directory: string
  readonly #fileBytes: number
  /** Oldest first; the newest is the writer's, unless a write failed. */
  readonly #live: LiveFile[]
  readonly #highest = new Map<number, number>()
  readonly #heads = new HeadReader()
  #writer: Writer | undefined
  /** The file that took appends last, and how many bytes of it count. */
  #last: { readonly file: number; readonly bytes: number }
  /** The highest number that a file was ever tried to be made with. */
  #highestFile: number

  /** Recovers what is there and begins a new file. Throws WAL_CORRUPT, or the system's own errors. */
  constructor({ directory, fileBytes }: ThreadOptions) {
    this.#directory = directory
    this.#fileBytes = fileBytes
    const { live, files, last, highest } = recoverFiles(directory, this.streams)
    this.#live = live
    this.#last = last
    this.#highestFile = highest
    this.recovered = files
    for (const { rows } of files) {
      rows.streams.forEach((stream, i) => void this.#raise(stream, rows.lastOffsets[i]!))
    }
    try {
      this.rotate()
    } catch (error) {
      this.close()
      throw error
    }
  }

  get newest(): FileState {
    return { file: this.#last.file, bytesOnDisk: this.#last.bytes }
  }

  /** Stores frames that lie in slabs in one commit and returns the rows that are new. After a throw the file takes no more. */
  commit(appends: readonly AppendRequest[], slabs: readonly SharedArrayBuffer[]): StoredRow[] {
    const fresh = new NewFrames()
    for (const { slab, refs, keepRepeats } of appends) {
      for (const ref of refs) {
        if (!keepRepeats && (fresh.has(ref) || this.#has(ref))) continue
        fresh.add({ ref, bytes: Buffer.from(slabs[slab]!, ref.start, ref.end - ref.start) })
      }
    }
    return fresh.all.length === 0 ? [] : this.#write([{ appendedMs: Date.now(), frames: fresh.all }])
  }

  /**
   * Copies rows of a file that takes appends no more into the newest, with the times of their appends; returns the copies.
   * Until the older file is deleted they are there twice, as if appended twice. Throws as `commit`, and WAL_CORRUPT for what
   * cannot be read.
   */
  move(file: number, rows: readonly StoredRow[]): StoredRow[] {
    const taken: Buffer<ArrayBuffer>[] = []
    const memory = (bytes: number): Buffer => {
      const piece = Buffer.allocUnsafeSlow(bytes)
      taken.push(piece)
      return piece
    }
    try {
      return this.#write(this.#groupsOf(file, rows, memory))
    } finally {
      taken.forEach(giveBack)
    }
  }

  #groupsOf(file: number, rows: readonly StoredRow[], memory: TakeMemory): Group[] {
    const { read, index } = this.#live.find(live => live.read.file === file)!
    const groups: { appendedMs: number; frames: Frame[] }[] = []
    for (const { id, stream, baseOffset, lastOffset, appendedMs } of rows) {
      const { position } = index.place(id)
      const { crc, flags, bytes: batchBytes } = readEntry(read, { id, position, appendedMs }, this.#heads)
      const bytes = read.frameAt(position, memory)
      WalRecord.decode(bytes, `${read.path}: frame ${id}, at byte ${position}`) // throws for what is damaged
      const [batch, end] = [bytes.length - batchBytes, bytes.length]
      const ref = { stream, baseOffset, lastOffset, crc, flags, start: 0, batch, end }
      if (groups.at(-1)?.appendedMs !== appendedMs) groups.push({ appendedMs, frames: [] })
      groups.at(-1)!.frames.push({ ref, bytes })
    }
    return groups
  }

  /** Writes the groups behind each other, and returns when they are on the disk. */
  #write(groups: readonly Group[]): StoredRow[] {
    const writer = this.#writerWithRoom()
    const { fd, index, read } = writer
    const rows: (StoredRow & { readonly position: number })[] = []
    const pieces: Buffer[] = []
    let [position, id] = [writer.end, writer.nextId]
    for (const { appendedMs, frames } of groups) {
      const lengths = frames.map(({ bytes }) => bytes.length)
      const mark = { file: read.file, salt: writer.salt, position, firstId: id, appendedMs, lengths }
      pieces.push(encodeMark(mark))
      position += markBytes(lengths.length)
      for (const { ref, bytes } of frames) {
        const { stream, baseOffset, lastOffset } = ref
        rows.push({ id: id++, stream, baseOffset, lastOffset, bytes: ref.end - ref.batch, appendedMs, position })
        pieces.push(bytes)
        position += bytes.length
      }
      pieces.push(encodeMark(mark, true))
      position += markBytes(lengths.length)
    }
    try {
      writeAll(fd, pieces, writer.end)
      fdatasyncSync(fd)
    } catch (error) {
      this.#retire()
      throw error
    }
    writer.end = position
    writer.nextId = id
    this.#last = { file: read.file, bytes: position }
    for (const row of rows) {
      index.add(row.stream, row)
      this.#raise(row.stream, row.lastOffset)
    }
    return rows.map(({ position, ...row }) => row)
  }

  #writerWithRoom(): Writer {
    if (this.#writer === undefined || this.#writer.end >= this.#fileBytes) this.rotate()
    return this.#writer!
  }

  /** Whether a live file holds the same batch. Above the highest offset nothing can; the newest file is asked first. */
  #has(ref: FrameRef): boolean {
    const { stream, baseOffset } = ref
    if (baseOffset > (this.#highest.get(stream) ?? -1)) return false
    return this.#live
      .toReversed()
      .some(({ index, read }) => index.at(stream, baseOffset).some(id => this.#isAt(read, index.place(id), ref)))
  }

  /** Whether the same batch is there and can be read: what cannot is no reason to store no other copy. */
  #isAt(read: WalFile, place: Pick<WalEntry, 'id' | 'position' | 'appendedMs'>, ref: FrameRef): boolean {
    try {
      return isSame(readEntry(read, place, this.#heads), ref) && WalRecord.verifyChecksum(read.frameAt(place.position))
    } catch (error) {
      if (isMillraceError(error, 'WAL_CORRUPT')) return false
      throw error
    }
  }

  #raise(stream: number, lastOffset: number): void {
    this.#highest.set(stream, Math.max(lastOffset, this.#highest.get(stream) ?? -1))
  }

  /** Begins the next file and closes the writer of the one before. After a throw everything is as it was. */
  rotate(): void {
    const file = ++this.#highestFile
    const { fd, salt, read } = createFile(this.#directory, file, this.#last)
    this.#retire()
    const live = { read, index: new FileIndex<number>(), isDamaged: false }
    const writer = { ...live, fd, salt, end: FILE_HEADER_BYTES, nextId: 1 }
    this.#writer = writer
    this.#live.push(writer)
    this.#last = { file, bytes: FILE_HEADER_BYTES }
  }

  /** Ends the writing of the newest file. What a failed commit left is cut off if that can be; the next file's header says it too. */
  #retire(): void {
    const writer = this.#writer
    if (writer === undefined) return
    this.#writer = undefined
    try {
      if (writer.read.size > writer.end) ftruncateSync(writer.fd, writer.end)
    } catch {
      // The next file's header says where this one ends.
    }
    closeSync(writer.fd)
  }

  /** Takes note that something in a file cannot be read. */
  markDamaged(file: number): void {
    const held = this.#live.find(({ read }) => read.file === file)
    if (held !== undefined) held.isDamaged = true
  }

  /**
   * Deletes a file that takes appends no more, outside this thread; a damaged one is set aside under another name, which is
   * what it resolves with then.
   */
  async delete(file: number): Promise<string | undefined> {
    const held = this.#live.find(({ read }) => read.file === file)
    if (held === undefined || held === this.#writer) throw new Error(`file ${file} cannot be deleted`)
    const path = walPath(this.#directory, file)
    const setAside = held.isDamaged ? damagedPath(this.#directory, file) : undefined
    await (setAside === undefined ? unlink(path) : rename(path, setAside))
    this.#live.splice(this.#live.indexOf(held), 1)
    held.read.close()
    syncPath(this.#directory)
    return setAside
  }

  /** Closes all files as they are. */
  close(): void {
    this.#retire()
    for (const { read } of this.#live.splice(0)) read.close()
  }
}
