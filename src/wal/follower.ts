// Follows the files of a WAL from another thread: each frame once, in the order in which a file has them.
import { existsSync } from 'node:fs'
import { listFiles } from './files.ts'
import { HeadReader } from './frame-head.ts'
import { provenEnds } from './recovery.ts'
import type { WalEntry } from './rows.ts'
import { scanRows } from './rows.ts'
import { SCAN_START, WalFile } from './wal-file.ts'

/** A file, as of the last look at the folder. */
export interface FollowedFile {
  readonly read: WalFile
  /** Takes appends no more. */
  readonly isSettled: boolean
  /** How many of its bytes are not gone through. */
  readonly bytesAhead: number
}

interface Place extends FollowedFile {
  bytesAhead: number
  isSettled: boolean
  position: number
}

export class WalFollower implements Disposable {
  readonly #directory: string
  readonly #files = new Map<number, Place>()
  readonly #heads = new HeadReader()

  /** Follows the folder that holds `<n>.wal`. Nothing is opened yet. */
  constructor(directory: string) {
    this.#directory = directory
  }

  /** Opens what is new and closes what was deleted; gives all files, oldest first. Throws WAL_CORRUPT for another version. */
  look(): FollowedFile[] {
    const listed = listFiles(this.#directory, 'wal')
    for (const [file, { read }] of this.#files) {
      if (!listed.includes(file) || read.isReplaced) this.forget(file)
    }
    const places = listed.flatMap(file => this.#files.get(file) ?? this.#tryOpen(file) ?? [])
    const ends = provenEnds(places.map(({ read }) => read))
    for (const place of places) {
      const { size, file } = place.read
      const proven = ends.get(file)
      place.isSettled = proven !== undefined
      place.bytesAhead = Math.max(0, Math.min(size, proven ?? size) - place.position)
    }
    return places
  }

  /**
   * The frames of a file that have come since they were gone through, by id, their heads alone: no CRC is looked at. What is
   * left of a commit that failed may be among them; nothing else ever gets the same ids of the same file.
   */
  *frames(file: number): Generator<WalEntry> {
    const place = this.#files.get(file)
    if (place === undefined) return
    const { read, position, isSettled } = place
    const end = position + place.bytesAhead
    const options = { heads: this.#heads, end, isSettled, whole: false }
    const scan = scanRows(read, position, options)
    for (let next = scan.next(); ; next = scan.next()) {
      if (next.done) {
        place.bytesAhead = end - next.value
        place.position = next.value
        return
      }
      if (next.value.entry === undefined) continue
      place.bytesAhead = end - next.value.entry.position
      yield next.value.entry
    }
  }

  /** Closes what was deleted meanwhile: until then it takes its space. Every look does it. */
  closeDeleted(): void {
    for (const [file, { read }] of this.#files) if (!existsSync(read.path)) this.forget(file)
  }

  /** Whether a file was there when deleted ones were closed last. */
  has(file: number): boolean {
    return this.#files.has(file)
  }

  /** Begins a file anew with the next look. */
  forget(file: number): void {
    this.#files.get(file)?.read.close()
    this.#files.delete(file)
  }

  /** Undefined when the file is gone. */
  #tryOpen(file: number): Place | undefined {
    try {
      const read = new WalFile(this.#directory, file)
      const place = { read, isSettled: false, bytesAhead: 0, position: SCAN_START }
      this.#files.set(file, place)
      return place
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  [Symbol.dispose](): void {
    for (const { read } of this.#files.values()) read.close()
    this.#files.clear()
  }
}
