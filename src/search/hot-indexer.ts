// Keeps a full-text index beside each WAL file while it is written: looks at what has come, indexes what the archive does not
// have yet, deletes what belongs to no WAL file any more. It only reads the WAL.
import { mkdirSync, readdirSync } from 'node:fs'
import { messageOf } from '../errors.ts'
import { freeBytes } from '../wal/disk-reserve.ts'
import type { FollowedFile } from '../wal/follower.ts'
import { WalFollower } from '../wal/follower.ts'
import { reusedMemory } from '../wal/reused-memory.ts'
import type { WalEntry } from '../wal/rows.ts'
import { readFrame } from '../wal/rows.ts'
import type { WalFile } from '../wal/wal-file.ts'
import { dropHotIndex, FRAME_ROWS, HotIndexWriter } from './hot-index-file.ts'
import { hotRecords } from './hot-records.ts'

export interface HotIndexerOptions {
  readonly walDirectory: string
  /** Where the indexes lie. It holds nothing else. */
  readonly directory: string
  readonly maxDecompressedBytes: number
  /** The indexes are dropped while their disk has less free. */
  readonly reserveBytes: number
  /** Those of some frames of a file that are not archived yet. */
  needed(file: number, frames: readonly number[]): Promise<ReadonlySet<number>>
  /** Called now and then while a pass goes on. */
  progress?(bytesBehind: number): void
  /** Something that users may want to know; the indexer goes on. */
  warn(message: string): void
}

/** How much is taken on at a time, and how much of it, without compression, before others see it. */
const TAKE_BYTES = 4 * 1024 * 1024
const TAKE_FRAMES = 4096
const COMMIT_BYTES = 16 * 1024 * 1024

/** A frame that came so short a time ago is not archived, and whoever would know may not have heard of it yet. */
const SURELY_NEEDED_MS = 5_000

/** After so many failures a file is searched without an index. */
const MAX_FAILURES = 2

export class HotIndexer implements Disposable {
  readonly #options: HotIndexerOptions
  readonly #follower: WalFollower
  readonly #writers = new Map<number, HotIndexWriter>()
  readonly #failures = new Map<number, number>()
  readonly #memory = reusedMemory()
  /** Files before this one get no index: theirs had to give way. */
  #first = 0
  #files: readonly FollowedFile[] = []

  /** Makes the folder of the indexes. */
  constructor(options: HotIndexerOptions) {
    mkdirSync(options.directory, { recursive: true })
    this.#options = options
    this.#follower = new WalFollower(options.walDirectory)
  }

  /** Bytes of WAL files that are not gone through. */
  get bytesBehind(): number {
    return this.#files.reduce((sum, { bytesAhead }) => sum + bytesAhead, 0)
  }

  /** Indexes what is there now. Throws what the system says of the folders. */
  async pass(): Promise<void> {
    this.#files = this.#follower.look()
    this.#options.progress?.(this.bytesBehind)
    this.#dropAllBut(this.#files.map(({ read }) => read.file))
    for (const { read, isSettled } of this.#files) {
      if (this.#hasToGiveWay()) return this.#giveWay()
      const { file } = read
      if (file < this.#first || (this.#failures.get(file) ?? 0) >= MAX_FAILURES) continue
      try {
        await this.#index(read)
        if (isSettled) this.#close(file)
      } catch (error) {
        this.#fail(read, error)
      }
    }
  }

  async #index(read: WalFile): Promise<void> {
    if (read.header === undefined) return // nothing would tell this file from another of its number
    const { file, header } = read
    const frames = this.#follower.frames(file)
    let writer = this.#writers.get(file)
    for (let taken = take(frames); taken.length > 0; taken = take(frames)) {
      writer ??= this.#open(file, header.salt)
      const { through } = writer
      const fresh = taken.filter(({ id }) => id > through)
      await this.#add(writer, read, fresh)
      this.#options.progress?.(this.bytesBehind)
      this.#follower.closeDeleted()
      if (!this.#follower.has(file) || this.#hasToGiveWay()) return
    }
    writer?.commit()
  }

  #open(file: number, salt: bigint): HotIndexWriter {
    const writer = HotIndexWriter.open(this.#options.directory, file, salt)
    this.#writers.set(file, writer)
    return writer
  }

  async #add(writer: HotIndexWriter, read: WalFile, entries: readonly WalEntry[]): Promise<void> {
    const since = Date.now() - SURELY_NEEDED_MS
    const older = entries.filter(({ appendedMs }) => appendedMs < since).map(({ id }) => id)
    const needed = older.length === 0 ? new Set() : await this.#options.needed(read.file, older)
    for (const entry of entries) {
      const records = entry.appendedMs >= since || needed.has(entry.id) ? this.#recordsOf(read, entry) : null
      if (records === null) writer.leaveOut(entry.id)
      else writer.add(entry.id, entry.baseOffset, records)
      if (writer.bytesWaiting >= COMMIT_BYTES) writer.commit()
    }
  }

  /** Null where a search has to look itself, if only to see that there is nothing to be read. */
  #recordsOf(read: WalFile, entry: WalEntry) {
    if (entry.lastOffset - entry.baseOffset >= FRAME_ROWS) return null
    return hotRecords(() => readFrame(read, entry, this.#memory), this.#options.maxDecompressedBytes).records
  }

  #hasToGiveWay(): boolean {
    return freeBytes(this.#options.directory) < this.#options.reserveBytes
  }

  /** Drops all indexes. None is made again, or the disk would fill once more: the files to come get theirs. */
  #giveWay(): void {
    const newest = this.#files.at(-1)?.read.file ?? 0
    const isAny = this.#dropAllBut([]) > 0
    if (isAny) this.#options.warn('the search indexes of the WAL are dropped: their disk is short of space')
    this.#first = newest + 1
  }

  /** The index is made anew, and after one more failure done without. */
  #fail({ file, path }: WalFile, error: unknown): void {
    const failures = (this.#failures.get(file) ?? 0) + 1
    this.#failures.set(file, failures)
    this.#follower.forget(file)
    this.#close(file)
    dropHotIndex(this.#options.directory, file)
    const next = failures < MAX_FAILURES ? 'it is made anew' : 'the file is searched without one'
    this.#options.warn(`the search index of ${path} cannot be written, and ${next}: ${messageOf(error)}`)
  }

  #dropAllBut(files: readonly number[]): number {
    const { directory } = this.#options
    const found = readdirSync(directory).flatMap(name => /^(\d+)\.db/.exec(name)?.[1] ?? [])
    const spent = [...new Set(found.map(Number))].filter(file => !files.includes(file))
    for (const file of spent) {
      this.#close(file)
      dropHotIndex(directory, file)
    }
    return spent.length
  }

  #close(file: number): void {
    this.#writers.get(file)?.[Symbol.dispose]()
    this.#writers.delete(file)
  }

  [Symbol.dispose](): void {
    for (const file of this.#writers.keys()) this.#close(file)
    this.#follower[Symbol.dispose]()
  }
}

/** The next frames, about TAKE_BYTES of them. */
function take(frames: Iterator<WalEntry>): WalEntry[] {
  const taken: WalEntry[] = []
  for (let bytes = 0; bytes < TAKE_BYTES && taken.length < TAKE_FRAMES; ) {
    const { done, value } = frames.next()
    if (done) break
    taken.push(value)
    bytes += value.bytes
  }
  return taken
}
