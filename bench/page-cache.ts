// Memory that the machine has at hand, for what a benchmark writes. At full rate, on a virtual machine with nearly all memory free,
// the kernel's copying into new pages of a file's cache took 4.5 to 5 s/GB, at other times 1. A likely cause, not proved: free memory
// is given back to the host (free page reporting), and each page that is used again is asked of it.
import type { FileHandle } from 'node:fs/promises'
import { open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What may stay free. */
const LEFT_BYTES = 1024 * 1024 * 1024
const LOOK_BYTES = 64 * 1024 * 1024

let hollow: Promise<FileHandle> | undefined

/** Has nearly all free memory hold a file without content: what is written later takes that memory over. Linux only. */
export async function fillPageCache(): Promise<void> {
  const file = await (hollow ??= openHollow())
  const piece = Buffer.alloc(1024 * 1024)
  for (let at = 0, more = true; more; at += piece.length) {
    if (at % LOOK_BYTES === 0 && (await memory('MemFree')) < LEFT_BYTES) return
    more = (await file.read(piece, 0, piece.length, at)).bytesRead > 0
  }
}

/** As large as the memory, without a block on the disk, and without a name, so that it goes with this process. */
async function openHollow(): Promise<FileHandle> {
  const path = join(tmpdir(), `bench-hollow-${process.pid}`)
  const file = await open(path, 'wx+')
  await rm(path)
  await file.truncate(await memory('MemTotal'))
  return file
}

async function memory(what: 'MemTotal' | 'MemFree'): Promise<number> {
  const text = await readFile('/proc/meminfo', 'latin1')
  return Number(new RegExp(`^${what}:\\s+(\\d+) kB`, 'm').exec(text)![1]) * 1024
}
