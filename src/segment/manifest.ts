// `segment.json`: what a segment says of itself.
import { z } from 'zod'
import { MillraceError } from '../errors.ts'

/** What is written; those before are read too: 1 has no `search.filter`, and both have places of words in `search.db`. */
export const SEGMENT_FORMAT_VERSION = 3

const formatVersion = z.literal([1, 2, SEGMENT_FORMAT_VERSION])

const offset = z.number().int().min(0)
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)

export const gapReasons = [
  /** Before the archive of this partition began. */
  'not-requested',
  /** Deleted by the broker's retention. */
  'retention',
  /** Deleted on request (kafka-delete-records). */
  'delete-records',
  /** Removed by compaction. */
  'compacted',
  /** Taken back by the cluster after an election. */
  'truncated',
  /** The broker no longer has the topic, or not this one. */
  'unavailable',
  /** Messages of the formats 0 and 1, of before Kafka 0.11, which are no record batches. */
  'unsupported',
  /** Not captured, and the broker's disk has it with bits flipped. */
  'damaged',
  /** Let through without being captured, while capturing was not possible. */
  'capture-passed'
] as const

export type GapReason = (typeof gapReasons)[number]

const gapSchema = z.strictObject({
  from: offset,
  /** Exclusive. */
  to: offset,
  reason: z.enum(gapReasons),
  /** When it was found, ISO 8601. */
  foundAt: z.string().optional()
})

const notIndexedSchema = z.strictObject({
  baseOffset: offset,
  lastOffset: offset,
  /** A sentence for people. */
  reason: z.string()
})

const openTransactionSchema = z.strictObject({ producerId: offset, firstOffset: offset })

const manifestSchema = z.strictObject({
  formatVersion,
  clusterId: z.string(),
  topic: z.string(),
  topicId: z.string(),
  partition: z.number().int(),
  baseOffset: offset,
  /** Exclusive end of what the segment covers: the next one begins here. */
  nextOffset: offset,
  /** Base offset of the first batch and last offset of the last one; null in a segment of gaps only. */
  firstBatchOffset: offset.nullable(),
  lastBatchOffset: offset.nullable(),
  /** As the batches say. A captured one says what was known before it was sent, -1 where nothing was. */
  leaderEpochs: z.array(z.strictObject({ epoch: z.number().int(), startOffset: offset })),
  /** Over all records; null without records. */
  minTimestamp: z.number().int().nullable(),
  maxTimestamp: z.number().int().nullable(),
  records: z.number().int(),
  batches: z.number().int(),
  logBytes: z.number().int(),
  logSha256: sha256,
  /** Running hash over the partition's batches from its root on, so it does not depend on where segments were cut. */
  chainSha256: sha256,
  gaps: z.array(gapSchema),
  /** Those whose abort marker lies in this segment. */
  abortedTransactions: z.array(
    z.strictObject({ producerId: offset, firstOffset: offset, lastOffset: offset, lastStableOffset: offset })
  ),
  /** Those without an end at the segment's end. */
  openTransactions: z.array(openTransactionSchema),
  /** Captured batches that were changed as the broker changes them. */
  rewrittenByBroker: z.array(z.strictObject({ baseOffset: offset, field: z.literal('maxTimestamp') })),
  /** Batches whose records could not be read: they count in `batches`, and nowhere else. Absent where there are none. */
  notIndexed: z.array(notIndexedSchema).min(1).optional(),
  createdBy: z.string()
})

export type SegmentManifest = z.infer<typeof manifestSchema>
export type Gap = z.infer<typeof gapSchema>
export type NotIndexed = z.infer<typeof notIndexedSchema>
export type OpenTransaction = z.infer<typeof openTransactionSchema>

/** The batches with offsets from `from` up to, not including, `to` whose records could not be read. */
export function notIndexedIn({ notIndexed = [] }: SegmentManifest, from: number, to: number): NotIndexed[] {
  return notIndexed.filter(({ baseOffset, lastOffset }) => baseOffset < to && lastOffset >= from)
}

/** Parses `segment.json`. Throws SEGMENT_CORRUPT naming the segment. */
export function parseManifest(json: string, segment: string): SegmentManifest {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (cause) {
    throw new MillraceError('SEGMENT_CORRUPT', `${segment}: segment.json is not JSON`, { cause })
  }
  const version = (value as { formatVersion?: unknown } | null)?.formatVersion
  if (!formatVersion.safeParse(version).success) {
    throw new MillraceError(
      'SEGMENT_CORRUPT',
      `${segment}: format version ${JSON.stringify(version)}; this Millrace reads 1 to ${SEGMENT_FORMAT_VERSION}`,
      { hint: 'A newer Millrace may have written it.' }
    )
  }
  const parsed = manifestSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new MillraceError('SEGMENT_CORRUPT', `${segment}: segment.json: ${issue!.path.join('.')}: ${issue!.message}`)
}
