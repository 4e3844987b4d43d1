// Walks the frame checksums of a `-wal` before SQLite opens it. SQLite ends its recovery at the first frame that does not
// check and silently drops what follows, so damage in the middle must be told apart from a torn tail here.
// The format is SQLite's: https://www.sqlite.org/fileformat2.html#walformat
import { closeSync, openSync, readSync } from 'node:fs'
import { endianness } from 'node:os'
import { MillraceError } from '../errors.ts'
import { EMPTY_DATABASE_BYTES } from './database.ts'
import { dbPath, sizeOf, walPath } from './files.ts'

const WAL_HEADER_BYTES = 32
const SLOT_HEADER_BYTES = 24
/** Frames read at once. */
const SLOTS = 64

export interface WalCheck {
  /** Bytes up to and with the last commit that checks. */
  readonly committedBytes: number
  /** Bytes behind it: a transaction that did not finish. */
  readonly tornBytes: number
}

/**
 * Checks that a file of an earlier run can be opened without losing anything. Reads only, and only the `-wal`. Where there
 * is none, a database that has grown beyond its schema is whole: only SQLite's last close moves frames into it, and it
 * deletes the `-wal` when it has moved all (another SQLite program was used on it, or the WAL thread was torn down).
 * Throws WAL_CORRUPT that names the file and the position; nothing is changed then.
 */
export function checkFile(directory: string, file: number): WalCheck {
  const path = walPath(directory, file)
  const size = sizeOf(path)
  const databaseBytes = sizeOf(dbPath(directory, file)) ?? 0
  if (size === undefined) {
    if (databaseBytes > EMPTY_DATABASE_BYTES) return { committedBytes: 0, tornBytes: 0 } // moved by SQLite, whole
    throw damaged(`${dbPath(directory, file)} has no -wal file beside it`, { file, directory })
  }
  if (databaseBytes === 0) {
    throw damaged(`${dbPath(directory, file)} is empty or missing beside a -wal of ${size} bytes`, {
      file,
      directory,
      more: 'SQLite would delete that -wal.'
    })
  }
  const fd = openSync(path, 'r')
  try {
    return walk(fd, size, (position, what) =>
      damaged(`${path} is damaged at byte ${position}: ${what}`, { file, directory })
    )
  } finally {
    closeSync(fd)
  }
}

function damaged(message: string, place: { directory: string; file: number; more?: string }): MillraceError {
  const { directory, file, more } = place
  const hint =
    `${more === undefined ? '' : `${more} `}Nothing was changed. Keep copies of ${file}.db, ${file}.db-wal and ${file}.db-shm, ` +
    `then move them out of ${directory} to start without them: what the archive lacks is fetched from the broker while it has it.`
  return new MillraceError('WAL_CORRUPT', message, { hint })
}

type Damage = (position: number, what: string) => MillraceError

function walk(fd: number, size: number, damage: Damage): WalCheck {
  if (size <= WAL_HEADER_BYTES) return { committedBytes: 0, tornBytes: size }
  const header = parseHeader(read(fd, 0, WAL_HEADER_BYTES))
  if (header === undefined) throw damage(0, "the file's header fails its checksum")
  const slots = slotsOf(fd, size, header)
  let sums = header.sums
  let committedBytes = WAL_HEADER_BYTES
  for (const slot of slots) {
    const expected = slot.ours ? checksum(header, sums, slot) : undefined
    if (expected === undefined || expected[0] !== slot.sums[0] || expected[1] !== slot.sums[1]) {
      examineTail(slot, slots, damage)
      break
    }
    sums = expected
    if (slot.commits) committedBytes = slot.end
  }
  return { committedBytes, tornBytes: size - committedBytes }
}

/**
 * Decides whether what begins at the first frame that does not check is a torn tail. A `-wal` of ours is written once,
 * from front to end (a file takes nothing after a failed write), so behind a torn transaction there is nothing:
 * - a commit at or behind the break is the mark of something that was acknowledged, and a frame that is neither
 *   empty nor of this file was changed by someone else: damage;
 * - but a power cut may leave holes (frames of zeros) in the last transaction though its commit frame was written.
 */
function examineTail(first: Slot, rest: Iterable<Slot>, damage: Damage): void {
  let [commits, lastIsCommit, holes] = [0, false, first.empty]
  const look = (slot: Slot) => {
    if (slot.empty) holes = true
    else if (!slot.ours) throw damage(first.start, `the frame at ${slot.start} is not one of this file`)
    else if (slot.commits) commits += 1
    if (!slot.empty) lastIsCommit = slot.commits
  }
  look(first)
  for (const slot of rest) look(slot)
  if (commits === 0 || (commits === 1 && lastIsCommit && holes)) return
  throw damage(
    first.start,
    `a frame fails its checksum, and ${commits} commit${commits === 1 ? ' stands' : 's stand'} behind it`
  )
}

interface Header {
  readonly pageBytes: number
  /** Checksums count the words in the byte order of the machine that wrote the file. */
  readonly swapped: boolean
  readonly salts: Buffer
  readonly sums: Sums
}

type Sums = readonly [number, number]

interface Slot {
  readonly start: number
  readonly end: number
  /** The last frame of its transaction. */
  readonly commits: boolean
  /** Carries the salts of the file's header. */
  readonly ours: boolean
  /** Never written: its header is zeros. */
  readonly empty: boolean
  readonly sums: Sums
  readonly bytes: Buffer
}

function parseHeader(bytes: Buffer): Header | undefined {
  const magic = bytes.readUInt32BE(0)
  if (magic !== 0x377f0682 && magic !== 0x377f0683) return undefined
  const swapped = (magic === 0x377f0683) !== (endianness() === 'BE')
  const sums = addWords([0, 0], bytes, { from: 0, to: 24, swapped })
  if (sums[0] !== bytes.readUInt32BE(24) || sums[1] !== bytes.readUInt32BE(28)) return undefined
  return { pageBytes: bytes.readUInt32BE(8), swapped, salts: bytes.subarray(16, 24), sums }
}

/** One pass over the complete frames; what is shorter at the end was never finished. */
function* slotsOf(fd: number, size: number, header: Header): Generator<Slot, undefined> {
  const slotBytes = SLOT_HEADER_BYTES + header.pageBytes
  for (let start = WAL_HEADER_BYTES; start + slotBytes <= size; ) {
    const count = Math.min(SLOTS, Math.floor((size - start) / slotBytes))
    const chunk = read(fd, start, count * slotBytes)
    for (let i = 0; i < count; i++, start += slotBytes) {
      const bytes = chunk.subarray(i * slotBytes, (i + 1) * slotBytes)
      yield {
        start,
        end: start + slotBytes,
        commits: bytes.readUInt32BE(4) !== 0,
        ours: bytes.compare(header.salts, 0, 8, 8, 16) === 0,
        empty: bytes.subarray(0, SLOT_HEADER_BYTES).every(byte => byte === 0),
        sums: [bytes.readUInt32BE(16), bytes.readUInt32BE(20)],
        bytes
      }
    }
  }
}

/** A frame's checksum goes on from the one before it, over the first 8 bytes of its header and its page. */
function checksum({ swapped }: Header, sums: Sums, { bytes }: Slot): Sums {
  const head = addWords(sums, bytes, { from: 0, to: 8, swapped })
  return addWords(head, bytes, { from: SLOT_HEADER_BYTES, to: bytes.length, swapped })
}

/** SQLite's running sum over pairs of 32-bit words; `from` and `to` are multiples of 8 relative to `bytes`. */
function addWords(sums: Sums, bytes: Buffer, range: { from: number; to: number; swapped: boolean }): Sums {
  const part = bytes.subarray(range.from, range.to)
  const source = range.swapped ? Buffer.from(part).swap32() : part
  const aligned = source.byteOffset % 4 === 0 ? source : new Uint8Array(source)
  const words = new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4)
  let [first, second] = sums
  for (let i = 0; i < words.length; i += 2) {
    first = (first + words[i]! + second) | 0
    second = (second + words[i + 1]! + first) | 0
  }
  return [first >>> 0, second >>> 0]
}

function read(fd: number, start: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let done = 0; done < length; ) {
    const count = readSync(fd, bytes, done, length - done, start + done)
    if (count === 0)
      throw new MillraceError('WAL_FAILED', `a -wal became shorter while it was read, at ${start + done}`)
    done += count
  }
  return bytes
}
