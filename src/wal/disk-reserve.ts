// The part of a disk that the WAL leaves alone: only sealing gives space back, and it has to write a segment first.
import { statfsSync } from 'node:fs'
import { MillraceError } from '../errors.ts'

/** What the disk of a folder has free, in bytes. Throws what the system says. */
export function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory)
  return bavail * bsize
}

/** WAL_FULL while the folder's disk has less free than the reserve. Throws what the system says. */
export function shortageOf(directory: string, reserveBytes: number): MillraceError | undefined {
  const free = freeBytes(directory)
  if (free >= reserveBytes) return undefined
  return new MillraceError(
    'WAL_FULL',
    `the disk of ${directory} is down to ${mebibytes(free)} free, and the WAL leaves ${mebibytes(reserveBytes)} to sealing ` +
      '(disk.reserve, at least twice segment.bytes): free space on it, or lower disk.reserve'
  )
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / 2 ** 20)} MiB`
}
