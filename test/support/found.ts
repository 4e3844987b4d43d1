// What a search for a server or tool gives when there is none: the reason, which becomes the name of the skip.

import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'

export interface Missing {
  readonly missing: string
}

export function isMissing(found: unknown): found is Missing {
  return typeof found === 'object' && found !== null && 'missing' in found
}

/** The path of a program on PATH, undefined if there is none. */
export async function findProgram(name: string): Promise<string | undefined> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, name)
    const runnable = await access(path, constants.X_OK).then(
      () => true,
      () => false
    )
    if (folder !== '' && runnable) return path
  }
  return undefined
}

/** The first line of an error's message, for a reason. */
export function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return message.trim().split('\n').slice(0, 2).join(': ')
}
