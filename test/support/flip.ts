// Bits that flip on the disk, as they do in old age.
import { open, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Flips a bit of a file's byte, as whoever reads the file beside us sees it. */
export async function flipBit(file: string, position: number): Promise<void> {
  const handle = await open(file, 'r+')
  try {
    const byte = Buffer.alloc(1)
    await handle.read(byte, 0, 1, position)
    byte[0]! ^= 1 << (position % 8)
    await handle.write(byte, 0, 1, position)
  } finally {
    await handle.close()
  }
}

/** Flips a bit of the first of these bytes, where they stand first in the files of a WAL folder; says where that was. */
export async function flipInWal(folder: string, bytes: string | Buffer): Promise<{ file: string; position: number }> {
  for (const name of (await readdir(folder)).filter(name => name.endsWith('.wal')).sort()) {
    const file = join(folder, name)
    const position = await readFile(file).then(
      content => content.indexOf(bytes),
      () => -1 // deleted meanwhile
    )
    if (position < 0) continue
    await flipBit(file, position)
    return { file, position }
  }
  throw new Error(`no file in ${folder} has ${bytes}`)
}
