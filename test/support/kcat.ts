// kcat, the librdkafka client, as found on PATH.

import { runOrThrow } from './child.ts'

/** Runs kcat and gives its standard output; rejects with its standard error when it fails. A test that calls it needs `kcat`. */
export async function kcat(args: readonly string[], options: { input?: string | Uint8Array } = {}): Promise<Buffer> {
  return await runOrThrow('kcat', args, options)
}
