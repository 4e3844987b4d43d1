// Folders for one test or server, removed when they are disposed of; MILLRACE_KEEP=1 keeps them for a look.

import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface TempFolder extends AsyncDisposable {
  readonly path: string
  dispose(): Promise<void>
}

/** True when temporary folders are to stay. */
export const keepFolders = process.env['MILLRACE_KEEP'] === '1'

/** A new empty folder: `await using folder = await tempFolder('wal')`. */
export async function tempFolder(label = 'test'): Promise<TempFolder> {
  // Resolved, since the temporary folder is a link on macOS and paths are compared in tests.
  const path = await realpath(await mkdtemp(join(tmpdir(), `millrace-${label}-`)))
  const dispose = async () => {
    if (keepFolders) console.error(`kept: ${path}`)
    else await rm(path, { recursive: true, force: true, maxRetries: 5 })
  }
  return { path, dispose, [Symbol.asyncDispose]: dispose }
}
