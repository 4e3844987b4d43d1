// Ways to make groups of batches durable: the WAL, a raw writev and fdatasync, and the same in Node's thread pool.
import { closeSync, fdatasyncSync, openSync, statSync, writevSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { CapturedBatch } from '../src/wal/messages.ts'
import { WalReader } from '../src/wal/reader.ts'
import { Wal } from '../src/wal/wal.ts'

/** What is written in one call. */
export type Group = readonly CapturedBatch[]

/** Open in a folder of its own. */
export interface Writer {
  /** The group is on the disk when it returns or resolves. */
  write(group: Group): Promise<void> | void
  /** How many milliseconds the commits took, without the way there and back, since the last call. Not there when a call is a commit. */
  takeCommitTimes?(): number[]
  close(): Promise<void> | void
  /** Returns how many commits it took. Throws when what was written is not there; to be called when it is closed. */
  check(): number
}

/** Opens a way to write into a folder for what will be written. */
export type Open = (directory: string, groups: readonly Group[]) => Promise<Writer>

/** `wal.append`. The WAL begins its second file when somewhat more than half is written. */
export const openWal: Open = async (directory, groups) => {
  const wal = await Wal.open({ directory, maxBytes: 64 * 1024 ** 3, fileBytes: sizeOf(groups) * 0.6 })
  let commits = 0
  const times: number[] = []
  wal.onCommit(seconds => {
    commits += 1
    times.push(seconds * 1000)
  })
  return {
    write: group => wal.append(group),
    takeCommitTimes: () => times.splice(0),
    close: () => wal.close(),
    check() {
      readBack(directory, groups)
      return commits
    }
  }
}

/** One thread that does nothing else: the most that the disk gives to somebody who waits for each group. */
export const openRaw: Open = async (directory, groups) => {
  const path = join(directory, 'log')
  const fd = openSync(path, 'a')
  return {
    write(group) {
      const chunks = group.flatMap(({ chunks }) => chunks)
      writevSync(fd, chunks)
      fdatasyncSync(fd)
    },
    close: () => closeSync(fd),
    check: () => checkLog(path, groups)
  }
}

/** As `openRaw`, while the main thread only waits: what its event loop suffers from the disk and the machine alone. */
export const openPooled: Open = async (directory, groups) => {
  const path = join(directory, 'log')
  const file = await open(path, 'a')
  return {
    async write(group) {
      await file.writev(group.flatMap(({ chunks }) => chunks))
      await file.datasync()
    },
    close: () => file.close(),
    check: () => checkLog(path, groups)
  }
}

/** Bytes of all batches. */
export function sizeOf(groups: readonly Group[]): number {
  return groups.flat().reduce((sum, { chunks }) => sum + chunks[0]!.length, 0)
}

function readBack(directory: string, groups: readonly Group[]): void {
  using reader = WalReader.open(directory)
  const appended = groups.flat().length
  let found = 0
  for (const { error } of reader.verifyAll()) {
    if (error !== undefined) throw error
    found += 1
  }
  if (found !== appended) throw new Error(`${found} batches were read back of ${appended}`)
}

function checkLog(path: string, groups: readonly Group[]): number {
  const { size } = statSync(path)
  if (size !== sizeOf(groups)) throw new Error(`${path} has ${size} bytes of ${sizeOf(groups)}`)
  return groups.length
}
