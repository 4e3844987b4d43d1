// The WAL's files as the thread holds them: one takes appends, the others are kept for duplicates until they are deleted.
// One call at a time: the thread around it sees to that.
import { constants, fdatasyncSync, writevSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { open, rename, rm } from 'node:fs/promises'
import { FileIndex } from './file-index.ts'
import { damagedPath, draftPath, syncPath, walPath } from './files.ts'
import { HeadReader, WalRecord } from './frame.ts'
import { encodeFileHeader, encodeMark, FILE_HEADER_BYTES, markBytes } from './layout.ts'
import type { AppendRequest, FileState, FrameRef, RecoveredFile, StoredRow, ThreadOptions } from './messages.ts'
import type { LiveFile } from './recovery.ts'
import { recoverFiles, StreamTable } from './recovery.ts'
import type { WalEntry } from './rows.ts'
import { readEntry } from './rows.ts'
import { WalFile } from './wal-file.ts'

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

/** Frames that one mark stands for. */
interface Group {
  readonly appendedMs: number
  readonly frames: readonly SealedFrame[]
}

interface Writer extends LiveFile {
  readonly handle: FileHandle
  /** Where the next mark is written, and the id that its first frame gets. */
  end: number
  nextId: number
}

export class WalStore {
  readonly streams = new StreamTable()
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

  private constructor({ directory, fileBytes }: ThreadOptions) {
    this.#directory = directory
    this.#fileBytes = fileBytes
    const { live, files, last, highest } = recoverFiles(directory, this.streams)
    this.#live = live
    this.#last = last
    this.#highestFile = highest
    this.recovered = files
    for (const { rows } of files) for (const row of rows) this.#raise(row)
  }

  /** Recovers what is there and begins a new file. Throws WAL_CORRUPT, or the system's own errors. */
  static async open(options: ThreadOptions): Promise<WalStore> {
    const store = new WalStore(options)
    try {
      await store.rotate()
      return store
    } catch (error) {
      await store.close()
      throw error
    }
  }

  get newest(): FileState {
    return { file: this.#last.file, bytesOnDisk: this.#last.bytes }
  }

  /**
   * Stores the frames in one commit and returns the rows that are new. After a rejection the file takes no more. The thread
   * is free while the disk works, unless it is to be done `atOnce`, which is quicker.
   */
  async commit(appends: readonly SealedAppend[], atOnce = false): Promise<StoredRow[]> {
    const fresh = new NewFrames()
    for (const { request, frames } of appends) {
      for (const frame of frames) {
        if (request.keepRepeats || !(fresh.has(frame) || this.#has(frame))) fresh.add(frame)
      }
    }
    return fresh.all.length === 0 ? [] : this.#write([{ appendedMs: Date.now(), frames: fresh.all }], atOnce)
  }

  /**
   * Copies rows of a file that takes appends no more into the newest, with the times of their appends; returns the copies.
   * Until the older file is deleted they are there twice, as if appended twice. Rejects as `commit`, and with WAL_CORRUPT for
   * what cannot be read.
   */
  async move(file: number, rows: readonly StoredRow[]): Promise<StoredRow[]> {
    const { read, index } = this.#live.find(live => live.read.file === file)!
    const groups: { appendedMs: number; frames: SealedFrame[] }[] = []
    for (const { id, stream, baseOffset, lastOffset, appendedMs } of rows) {
      const { position } = index.place(id)
      const { crc, flags, bytes: batchBytes } = readEntry(read, { id, position, appendedMs }, this.#heads)
      const bytes = read.frameAt(position)
      WalRecord.decode(bytes, `${read.path}: frame ${id}, at byte ${position}`) // throws for what is damaged
      const ref = {
        stream,
        baseOffset,
        lastOffset,
        flags,
        start: 0,
        batch: bytes.length - batchBytes,
        end: bytes.length
      }
      if (groups.at(-1)?.appendedMs !== appendedMs) groups.push({ appendedMs, frames: [] })
      groups.at(-1)!.frames.push({ ref, bytes, crc })
    }
    return this.#write(groups)
  }

  /** Writes the groups behind each other and resolves when they are on the disk. */
  async #write(groups: readonly Group[], atOnce = false): Promise<StoredRow[]> {
    const writer = await this.#writerWithRoom()
    const { index, handle, read } = writer
    const rows: (StoredRow & { readonly position: number })[] = []
    const pieces: Buffer[] = []
    let [position, id] = [writer.end, writer.nextId]
    for (const { appendedMs, frames } of groups) {
      const lengths = frames.map(({ bytes }) => bytes.length)
      pieces.push(encodeMark({ file: read.file, position, firstId: id, appendedMs, lengths }))
      position += markBytes(lengths.length)
      for (const { ref, bytes } of frames) {
        const { stream, baseOffset, lastOffset } = ref
        rows.push({ id: id++, stream, baseOffset, lastOffset, bytes: ref.end - ref.batch, appendedMs, position })
        pieces.push(bytes)
        position += bytes.length
      }
    }
    try {
      await (atOnce ? writeAtOnce(handle.fd, pieces, writer.end) : writeBeside(handle, pieces, writer.end))
    } catch (error) {
      await this.#retire()
      throw error
    }
    writer.end = position
    writer.nextId = id
    this.#last = { file: read.file, bytes: position }
    for (const row of rows) {
      index.add(row.stream, row)
      this.#raise(row)
    }
    return rows.map(({ position, ...row }) => row)
  }

  async #writerWithRoom(): Promise<Writer> {
    if (this.#writer === undefined || this.#writer.end >= this.#fileBytes) await this.rotate()
    return this.#writer!
  }

  /** Whether a live file holds the same batch. Above the highest offset nothing can; the newest file is asked first. */
  #has(frame: SealedFrame): boolean {
    const { stream, baseOffset } = frame.ref
    if (baseOffset > (this.#highest.get(stream) ?? -1)) return false
    return this.#live
      .toReversed()
      .some(({ index, read }) =>
        index.at(stream, baseOffset).some(id => isSame(readEntry(read, index.place(id), this.#heads), frame))
      )
  }

  #raise({ stream, lastOffset }: StoredRow): void {
    this.#highest.set(stream, Math.max(lastOffset, this.#highest.get(stream) ?? -1))
  }

  /** Begins the next file and closes the writer of the one before. After a rejection everything is as it was. */
  async rotate(): Promise<void> {
    const file = ++this.#highestFile
    const { handle, read } = await createFile(this.#directory, file, this.#last)
    await this.#retire()
    const writer = { handle, read, index: new FileIndex<number>(), isDamaged: false, end: FILE_HEADER_BYTES, nextId: 1 }
    this.#writer = writer
    this.#live.push(writer)
    this.#last = { file, bytes: FILE_HEADER_BYTES }
  }

  /** Ends the writing of the newest file. What a failed commit left is cut off if that can be; the next file's header says it too. */
  async #retire(): Promise<void> {
    const writer = this.#writer
    if (writer === undefined) return
    this.#writer = undefined
    if (writer.read.size > writer.end) await writer.handle.truncate(writer.end).catch(() => undefined)
    await writer.handle.close()
  }

  /** Deletes a file that takes appends no more; one that is damaged is set aside under another name. */
  async delete(file: number): Promise<void> {
    const place = this.#live.findIndex(({ read }) => read.file === file)
    const held = this.#live[place]
    if (held === undefined || held === this.#writer) throw new Error(`file ${file} cannot be deleted`)
    this.#live.splice(place, 1)
    held.read.close()
    const path = walPath(this.#directory, file)
    await (held.isDamaged ? rename(path, damagedPath(this.#directory, file)) : rm(path))
    syncPath(this.#directory)
  }

  /** Closes all files as they are. */
  async close(): Promise<void> {
    await this.#retire()
    for (const { read } of this.#live.splice(0)) read.close()
  }
}

/**
 * Makes a file that holds nothing yet, its header and its name on the disk. It is built under another name, so that no crash
 * leaves a file without a header that could pass for one that lost what it held.
 */
async function createFile(directory: string, file: number, last: { file: number; bytes: number }) {
  const draft = draftPath(directory, file)
  const handle = await open(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o644)
  try {
    await writeBeside(handle, [encodeFileHeader({ file, previous: last.file, previousBytes: last.bytes })], 0)
    await rename(draft, walPath(directory, file))
    syncPath(directory)
    return { handle, read: new WalFile(directory, file) }
  } catch (error) {
    await handle.close().catch(() => undefined)
    for (const path of [draft, walPath(directory, file)]) await rm(path, { force: true }).catch(() => undefined)
    throw error
  }
}

/** Writes and syncs in this thread: two changes of threads less. */
function writeAtOnce(fd: number, pieces: readonly Buffer[], position: number): void {
  for (let left = pieces; left.length > 0; ) {
    const bytesWritten = writevSync(fd, left, position)
    position += bytesWritten
    left = without(left, bytesWritten)
  }
  fdatasyncSync(fd)
}

async function writeBeside(handle: FileHandle, pieces: readonly Buffer[], position: number): Promise<void> {
  for (let left = pieces; left.length > 0; ) {
    const { bytesWritten } = await handle.writev(left, position)
    position += bytesWritten
    left = without(left, bytesWritten)
  }
  await handle.datasync()
}

/** The pieces without their first `bytes` bytes. */
function without(pieces: readonly Buffer[], bytes: number): Buffer[] {
  let first = 0
  for (; first < pieces.length && bytes >= pieces[first]!.length; first++) bytes -= pieces[first]!.length
  const left = pieces.slice(first)
  if (bytes > 0) left[0] = left[0]!.subarray(bytes)
  return left
}

/** The frames of the commit that is being made, which no index knows yet. */
class NewFrames {
  readonly all: SealedFrame[] = []
  readonly #places = new Map<string, SealedFrame[]>()

  add(frame: SealedFrame): void {
    this.all.push(frame)
    const place = placeOf(frame)
    const others = this.#places.get(place)
    if (others === undefined) this.#places.set(place, [frame])
    else others.push(frame)
  }

  has(frame: SealedFrame): boolean {
    return this.#places.get(placeOf(frame))?.some(({ ref, crc }) => isSame(factsOf(ref, crc), frame)) ?? false
  }
}

function placeOf({ ref }: SealedFrame): string {
  return `${ref.stream} ${ref.baseOffset}`
}

type RowFacts = Pick<WalEntry, 'lastOffset' | 'crc' | 'flags' | 'bytes'>

function factsOf({ lastOffset, flags, batch, end }: FrameRef, crc: number): RowFacts {
  return { lastOffset, crc, flags, bytes: end - batch }
}

/**
 * The same batch, whatever bytes 0..8 and 12..16 say (base offset and leader epoch): its CRC covers the rest. Other flags
 * make another row, since they tell what is known of the batch: that the broker's own log has it.
 */
function isSame(row: RowFacts, { ref, crc }: SealedFrame): boolean {
  const facts = factsOf(ref, crc)
  return (
    row.crc === crc && row.lastOffset === facts.lastOffset && row.bytes === facts.bytes && row.flags === facts.flags
  )
}
