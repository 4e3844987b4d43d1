// Builds a segment of what a WAL holds, in a process of its own by the worker's own thread, and tells how far the process's
// memory has grown at most. Run as a program, its arguments are the WAL's folder and the segment's file.
import { fileURLToPath } from 'node:url'
import { SegmentBuilder } from '../../src/sealing/segment-builder.ts'
import { runOrThrow } from '../support/child.ts'
import { orders } from '../wal/batches.ts'

export interface Built {
  readonly logBytes: number
  readonly records: number
  /** By how much the process's largest resident set grew. */
  readonly grownBytes: number
}

export async function buildApart(walDirectory: string, file: string): Promise<Built> {
  const args = [fileURLToPath(import.meta.url), walDirectory, file]
  return JSON.parse((await runOrThrow(process.execPath, args, { timeout: 300_000 })).toString()) as Built
}

async function build(walDirectory: string, file: string): Promise<Built> {
  await using builder = new SegmentBuilder({ walDirectory, maxDecompressedBytes: 2 ** 28 })
  const rows = await builder.entries(orders, 0, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
  const before = process.resourceUsage().maxRSS
  const plan = { baseOffset: 0, nextOffset: rows.at(-1)!.lastOffset + 1, gaps: [], openTransactions: [] }
  const segment = await builder.build({ ...orders, ...plan, previousChainSha256: null, createdBy: 'test' }, rows, file)
  const { logBytes, records } = segment.manifest
  return { logBytes, records, grownBytes: (process.resourceUsage().maxRSS - before) * 1024 }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(JSON.stringify(await build(process.argv[2]!, process.argv[3]!)))
}
