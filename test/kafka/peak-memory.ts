// Decodes batches in a process of their own, and tells how far its memory has grown at most. Run as a program, it reads batches
// from standard input, each to be decoded alone, within the limit that is its argument.
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { isMillraceError } from '../../src/errors.ts'
import { CanonicalBatch } from '../../src/kafka/batch.ts'
import { runOrThrow } from '../support/child.ts'

export interface Decoded {
  /** Of each batch the code of the error that it gave, or null. */
  readonly codes: readonly (string | null)[]
  /** By how much the process's largest resident set grew. */
  readonly grownBytes: number
}

/** Decodes batches, each within `limit` bytes. */
export async function decodeApart(batches: readonly CanonicalBatch[], limit: number): Promise<Decoded> {
  const input = Buffer.concat(batches.map(batch => batch.toWire()))
  const output = await runOrThrow(process.execPath, [fileURLToPath(import.meta.url), String(limit)], { input })
  return JSON.parse(output.toString()) as Decoded
}

function decode(input: Buffer, limit: number): Decoded {
  const codes: (string | null)[] = []
  const before = process.resourceUsage().maxRSS
  for (let at = 0; at < input.length; ) {
    const { batch, bytesConsumed } = CanonicalBatch.fromWire(input.subarray(at))
    at += bytesConsumed
    try {
      for (const _ of batch.records(limit));
      codes.push(null)
    } catch (error) {
      if (!isMillraceError(error)) throw error
      codes.push(error.code)
    }
  }
  return { codes, grownBytes: (process.resourceUsage().maxRSS - before) * 1024 }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(JSON.stringify(decode(await buffer(process.stdin), Number(process.argv[2]))))
}
