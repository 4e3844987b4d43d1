// What Node compiles is kept for a run of the tests, for all the processes that they start: these are ready in half the time.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Vitest calls it for each project. */
export default async function setUp(): Promise<(() => Promise<void>) | undefined> {
  if (process.env['NODE_COMPILE_CACHE'] !== undefined) return undefined
  const folder = await mkdtemp(join(tmpdir(), 'millrace-compiled-'))
  process.env['NODE_COMPILE_CACHE'] = folder
  return () => rm(folder, { recursive: true, force: true })
}
