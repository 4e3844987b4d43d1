// What happens before the first append: files that never took one are removed, every frame of the others is checked, and what
// they hold is read into memory. Damage is reported and left where it is; whatever is sound around it counts.
import { rmSync } from 'node:fs'
import { MillraceError } from '../errors.ts'
import { FileIndex } from './file-index.ts'
import { draftPath, listFiles, syncPath } from './files.ts'
import { HeadReader } from './frame-head.ts'
import type { PlainError, RecoveredFile } from './messages.ts'
import { toPlain } from './messages.ts'
import { RowColumns } from './row-columns.ts'
import { scanRows } from './rows.ts'
import type { StreamKey } from './stream.ts'
import { streamId } from './stream.ts'
import { SCAN_START, WalFile } from './wal-file.ts'

/** The streams that both threads know, by number. */
export class StreamTable {
  readonly keys: StreamKey[] = []
  readonly #numbers = new Map<string, number>()
  /** By the objects themselves: a scan asks for the same one again and again. */
  readonly #seen = new Map<StreamKey, number>()

  numberOf(key: StreamKey): number {
    let number = this.#seen.get(key)
    if (number !== undefined) return number
    const id = streamId(key)
    number = this.#numbers.get(id) ?? this.keys.push(key) - 1
    this.#numbers.set(id, number)
    this.#seen.set(key, number)
    return number
  }
}

/** A file that is there, and where its frames are. */
export interface LiveFile {
  readonly read: WalFile
  readonly index: FileIndex<number>
  /** Something in it cannot be read: it is set aside, not deleted, when nothing of it is needed. */
  isDamaged: boolean
}

export interface Recovered {
  readonly live: LiveFile[]
  readonly files: RecoveredFile[]
  /** What the next file says of the one before it. */
  readonly last: { readonly file: number; readonly bytes: number }
  /** The highest number that is in use. */
  readonly highest: number
}

/** Checks and opens all files of earlier runs. Throws WAL_CORRUPT for a file of another version; none is left open then. */
export function recoverFiles(directory: string, streams: StreamTable): Recovered {
  refuseOlderFiles(directory)
  for (const file of listFiles(directory, 'draft')) rmSync(draftPath(directory, file))
  const opened: WalFile[] = []
  try {
    for (const file of listFiles(directory, 'wal')) opened.push(new WalFile(directory, file))
    // A process that was killed may have left a commit in the system's memory alone: from here on it counts as stored.
    const newest = opened.at(-1)
    if (newest !== undefined) syncPath(newest.path)
    const ends = provenEnds(opened)
    const found = opened.map(file => recoverFile(file, ends.get(file.file), streams))
    const { file, bytes } = found.at(-1)?.recovered ?? { file: 0, bytes: 0 }
    return {
      live: found.map(({ live }) => live),
      files: found.map(({ recovered }) => recovered),
      last: { file, bytes },
      highest: Math.max(file, ...listFiles(directory, 'damaged'))
    }
  } catch (error) {
    for (const file of opened) file.close()
    throw error
  }
}

/** How many bytes count of the files that took no appends any more when another one began: that one says so. */
export function provenEnds(files: readonly WalFile[]): Map<number, number> {
  return new Map(files.flatMap(({ header }) => (header === undefined ? [] : [[header.previous, header.previousBytes]])))
}

export function cutShort(path: string, size: number, proven: number): MillraceError {
  return new MillraceError('WAL_CORRUPT', `${path} has ${size} bytes, and had ${proven} when the next one was begun`)
}

function recoverFile(file: WalFile, proven: number | undefined, streams: StreamTable) {
  const { size } = file
  const index = new FileIndex<number>()
  const rows = new RowColumns()
  const damage: PlainError[] = []
  const unreadable: number[] = []
  const lost: number[] = []
  if (file.headerError !== undefined) damage.push(toPlain(file.headerError))
  const end = Math.min(size, proven ?? size)
  const scan = scanRows(file, SCAN_START, {
    heads: new HeadReader(),
    end,
    isSettled: proven !== undefined,
    whole: true
  })
  let next = scan.next()
  for (; !next.done; next = scan.next()) {
    const { key, entry, error, isInBatch } = next.value
    if (error !== undefined) damage.push(toPlain(error))
    if (key === undefined || entry === undefined) continue
    const { id, baseOffset, lastOffset, bytes, appendedMs } = entry
    if (error !== undefined) (isInBatch ? lost : unreadable).push(id)
    if (error !== undefined && !isInBatch) continue
    const stream = streams.numberOf(key)
    if (error === undefined) index.add(stream, entry)
    rows.push({ id, stream, baseOffset, lastOffset, bytes, appendedMs })
  }
  if (proven !== undefined && size < proven) {
    damage.push(toPlain(cutShort(file.path, size, proven)))
  }
  const bytes = next.value
  const tornBytes = proven === undefined ? size - bytes : 0
  return {
    live: { read: file, index, isDamaged: damage.length > 0 },
    recovered: { file: file.file, bytesOnDisk: size, bytes, tornBytes, rows: rows.full(), lost, unreadable, damage }
  }
}

function refuseOlderFiles(directory: string): void {
  const [file] = listFiles(directory, 'db')
  if (file === undefined) return
  throw new MillraceError('WAL_CORRUPT', `${directory}/${file}.db is a WAL file of a Millrace before this format`, {
    hint: 'Let the Millrace that wrote it archive what it holds (millrace flush), or move the file away.'
  })
}
