// What lies in a folder that a worker is at work in.
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** All files below a folder that stay there meanwhile, by name, with their sizes. */
export async function filesBelow(folder: string): Promise<{ name: string; size: number }[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const files = entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
  const sizes = await Promise.all(
    files.sort().map(file =>
      stat(file)
        .then(({ size }) => size)
        .catch(() => null)
    )
  )
  return files.flatMap((file, i) => (sizes[i] == null ? [] : [{ name: file.slice(folder.length), size: sizes[i] }]))
}
