// `root.json`: where a partition's archive begins.
import { z } from 'zod'
import { MillraceError } from '../errors.ts'

export const ARCHIVE_FORMAT_VERSION = 1

/** Segments are merged up to this size; it stands in the root so that all mergers agree. */
export const MERGE_BYTES = 256 * 1024 * 1024

const rootSchema = z.strictObject({
  formatVersion: z.literal(ARCHIVE_FORMAT_VERSION),
  clusterId: z.string(),
  topic: z.string(),
  topicId: z.string(),
  partition: z.number().int(),
  baseOffset: z.number().int(),
  mergeBytes: z.number().int(),
  createdAt: z.string(),
  createdBy: z.string()
})

export type Root = z.infer<typeof rootSchema>

/** Throws ARCHIVE_CORRUPT naming the key. */
export function parseRoot(body: Buffer, key: string): Root {
  const parsed = rootSchema.safeParse(parseJson(body))
  if (parsed.success) return parsed.data
  throw new MillraceError('ARCHIVE_CORRUPT', `${key}: ${z.prettifyError(parsed.error).replaceAll('\n', ' ')}`)
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
}
