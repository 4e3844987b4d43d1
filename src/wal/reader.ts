// Reads the WAL from other threads and other processes, beside the thread that writes it. Files that are deleted meanwhile are
// archived, and left out.
import { isMillraceError, MillraceError } from '../errors.ts'
import type { IndexedRow } from './file-index.ts'
import { FileIndex } from './file-index.ts'
import { listFiles, walPath } from './files.ts'
import type { WalRecord } from './frame.ts'
import { HeadReader } from './frame-head.ts'
import { cutShort, provenEnds } from './recovery.ts'
import type { TakeMemory } from './reused-memory.ts'
import type { FrameCheck, WalEntry } from './rows.ts'
import { readEntry, readFrame, scanRows } from './rows.ts'
import type { StreamKey } from './stream.ts'
import { streamId } from './stream.ts'
import { SCAN_START, WalFile } from './wal-file.ts'

export type { FrameCheck, WalEntry } from './rows.ts'

interface OpenFile {
  readonly read: WalFile
  /** By what `streamId` says. */
  index: FileIndex<string>
  /** What is indexed; the bytes behind it were not there, or not a whole commit, when it was looked at. */
  indexed: number
  /** Takes appends no more, and is indexed whole. */
  complete: boolean
}

export class WalReader implements Disposable {
  readonly #directory: string
  readonly #open = new Map<number, OpenFile>()
  readonly #heads = new HeadReader()
  readonly #keys = new Map<string, StreamKey>()
  /** By the objects themselves: a scan meets the same one again and again. */
  readonly #ids = new Map<StreamKey, string>()

  private constructor(directory: string) {
    this.#directory = directory
  }

  /** A reader of the folder that holds `<n>.wal`. Nothing is opened yet. */
  static open(directory: string): WalReader {
    return new WalReader(directory)
  }

  /** Every stream that the files name. Throws WAL_CORRUPT for a file of another version. */
  streams(): StreamKey[] {
    const ids = new Set(this.#refresh().flatMap(({ index }) => [...index.streams]))
    return [...ids].map(id => this.#keys.get(id)!)
  }

  /**
   * The frames that hold an offset from `fromOffset` on and below `toOffset`, by base offset, then file, then id; no more
   * of them than it takes for their batches to exceed `maxBytes`. Sees everything whose append has resolved before the call,
   * but for what is damaged. Throws as `streams`.
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
    const rows = this.#refresh().map(open => rowsOf(open, id, fromOffset, toOffset))
    for (const { open, row } of byBase(rows)) {
      const entry = this.#entryOf(open, row)
      if (entry === undefined || entry.lastOffset < fromOffset) continue
      found.push(entry)
      bytes += entry.bytes
      if (bytes > maxBytes) break
    }
    return found
  }

  /** Undefined where the frame's head does not say any more what it said when it was indexed. */
  #entryOf({ read, index }: OpenFile, { id, base }: IndexedRow): WalEntry | undefined {
    try {
      const entry = readEntry(read, index.place(id), this.#heads)
      return entry.baseOffset === base ? entry : undefined
    } catch (error) {
      if (isMillraceError(error, 'WAL_CORRUPT')) return undefined
      throw error
    }
  }

  /**
   * Reads a frame into memory and checks it. Works for entries of files deleted since, until the next look at the folder.
   * Throws WAL_CORRUPT that names the file and the frame, OBJECT_MISSING when the file is gone: the archive or a newer file holds it then.
   */
  read(entry: WalEntry, memory?: TakeMemory): WalRecord {
    const open = this.#open.get(entry.file) ?? this.#tryOpen(entry.file)
    if (open !== undefined) return readFrame(open.read, entry, memory)
    throw new MillraceError('OBJECT_MISSING', `${walPath(this.#directory, entry.file)} has been deleted`, {
      hint: 'Its batches were archived, or copied to a newer file: look for them again.'
    })
  }

  /**
   * The random number of a file that was there at the last look at the folder, for whoever remembers something of it: another
   * file of the same number has another one. Undefined where its header is damaged, and where the file is gone.
   */
  salt(file: number): bigint | undefined {
    return this.#open.get(file)?.read.header?.salt
  }

  /** Reads every frame and yields the outcome for each, by file and id, also behind what cannot be read. */
  *verifyAll(): Generator<FrameCheck> {
    const files = this.#refresh().map(({ read }) => read)
    const ends = provenEnds(files)
    for (const read of files) {
      const { file, size, headerError, path } = read
      const proven = ends.get(file)
      if (headerError !== undefined) yield { file, error: headerError }
      const end = Math.min(size, proven ?? size)
      yield* scanRows(read, SCAN_START, { heads: this.#heads, end, isSettled: proven !== undefined, whole: true })
      if (proven !== undefined && size < proven) yield { file, error: cutShort(path, size, proven) }
    }
  }

  /**
   * Closes the files that were deleted meanwhile: until then they take their space. Every look at the folder does it. Never
   * throws, for timers call it: where the folder cannot be looked at, the files stay open until the next call.
   */
  closeDeleted(): void {
    try {
      this.#closeAllBut(listFiles(this.#directory, 'wal'))
    } catch {
      // Whoever reads next is told.
    }
  }

  #closeAllBut(files: readonly number[]): void {
    for (const [file, { read }] of this.#open) {
      if (files.includes(file) && !read.isReplaced) continue
      this.#open.delete(file)
      read.close()
    }
  }

  /** Opens what is new, lets go of what was deleted, and indexes the frames that have come since. */
  #refresh(): OpenFile[] {
    for (;;) {
      const files = listFiles(this.#directory, 'wal')
      this.#closeAllBut(files)
      const opened = files.flatMap(file => this.#open.get(file) ?? this.#tryOpen(file) ?? [])
      // What was needed of a file that is gone by now may lie in one that was not listed yet.
      if (opened.length < files.length) continue
      const ends = provenEnds(opened.map(({ read }) => read))
      for (const open of opened) {
        if (open.complete) continue
        this.#index(open, ends.get(open.read.file))
        open.complete = open !== opened.at(-1)
      }
      return opened
    }
  }

  #index(open: OpenFile, proven: number | undefined): void {
    const { read } = open
    const end = Math.min(read.size, proven ?? Number.POSITIVE_INFINITY)
    if (end < open.indexed) {
      // It was looked at while a commit was made that failed.
      open.index = new FileIndex()
      open.indexed = SCAN_START
    }
    const isSettled = proven !== undefined
    const scan = scanRows(read, open.indexed, { heads: this.#heads, end, isSettled, whole: false })
    try {
      for (;;) {
        const { done, value } = scan.next()
        if (done) {
          open.indexed = value
          return
        }
        if (value.key !== undefined && value.entry !== undefined) open.index.add(this.#idOf(value.key), value.entry)
      }
    } catch (error) {
      open.index = new FileIndex()
      open.indexed = SCAN_START
      if (read.size >= end) throw error
      this.#index(open, proven) // a commit that failed was cut off while it was looked at
    }
  }

  #idOf(key: StreamKey): string {
    let id = this.#ids.get(key)
    if (id === undefined) {
      this.#ids.set(key, (id = streamId(key)))
      this.#keys.set(id, key)
    }
    return id
  }

  /** Undefined when the file is gone. */
  #tryOpen(file: number): OpenFile | undefined {
    try {
      const read = new WalFile(this.#directory, file)
      const open = { read, index: new FileIndex<string>(), indexed: SCAN_START, complete: false }
      this.#open.set(file, open)
      return open
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  /** Closes all files; whatever is called next opens them again. */
  close(): void {
    for (const { read } of this.#open.values()) read.close()
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

function* rowsOf(open: OpenFile, stream: string, from: number, to: number): Generator<FileRow> {
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
