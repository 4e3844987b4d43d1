// What Node compiles is kept for a run of the tests, for all the processes that they start: these are ready in half the time.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Vitest calls it for each project. */
export default function setUp(): void {
  if (process.env['NODE_COMPILE_CACHE'] !== undefined) return
  const folder = mkdtempSync(join(tmpdir(), 'millrace-compiled-'))
  process.env['NODE_COMPILE_CACHE'] = folder
  // Not in a teardown: vitest's own workers, which end after that, write there too.
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
}
