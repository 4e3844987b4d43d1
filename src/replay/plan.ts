// What of an archived topic is replayed, decided from manifests alone: no segment is opened and no broker is asked.
import type { Chain, Link } from '../archive/archive.ts'
import { MillraceError } from '../errors.ts'
import type { Gap, SegmentManifest } from '../segment/manifest.ts'
import { notIndexedIn } from '../segment/manifest.ts'
import type { StreamKey } from '../wal/stream.ts'

export interface ReplaySelection {
  /** Undefined: all. */
  readonly partitions?: readonly number[] | undefined
  /** From inclusive, to exclusive. */
  readonly fromOffset: number
  readonly toOffset: number
  /** Milliseconds since the epoch, from inclusive, to exclusive. */
  readonly fromTime?: number | undefined
  readonly toTime?: number | undefined
}

/** A transaction that was aborted, or whose outcome is not known where the archive ends. */
export interface Uncommitted {
  readonly outcome: 'aborted' | 'open'
  readonly producerId: number
  readonly firstOffset: number
  readonly lastOffset: number
}

export interface PartitionPlan {
  readonly stream: StreamKey
  /** The selected offsets that the archive covers, `to` exclusive; both equal where there are none. */
  readonly from: number
  readonly to: number
  readonly fromTime: number
  readonly toTime: number
  /** The segments to read, in order. */
  readonly segments: readonly Link[]
  /** What the archive does not hold of the selected offsets. */
  readonly gaps: readonly Gap[]
  /** The transactions whose records are left out, by producer id. */
  readonly uncommitted: ReadonlyMap<number, readonly Uncommitted[]>
  /** Batches beside the main line, which are not replayed. */
  readonly extras: number
  /** Offsets to go through, the measure of progress. */
  readonly offsets: number
  /** The log bytes of the segments. */
  readonly logBytes: number
  /** The least and the greatest timestamp that may be in it; null without segments or timestamps. */
  readonly oldest: number | null
  readonly newest: number | null
}

export interface ReplayPlan {
  readonly clusterId: string
  readonly topic: string
  readonly topicId: string
  /** How many partitions the topic had, as far as the archive knows. */
  readonly partitionCount: number
  readonly partitions: readonly PartitionPlan[]
}

/**
 * Plans the replay of one topic from the walks through all its archived partitions.
 * Throws PLAN_REFUSED when a partition was never archived, or when its chain breaks off before the selection ends.
 */
export function planReplay(chains: readonly [Chain, ...Chain[]], selection: ReplaySelection): ReplayPlan {
  const { clusterId, topic, topicId } = chains[0].stream
  const known = new Set(chains.map(({ stream }) => stream.partition))
  const unknown = selection.partitions?.filter(partition => !known.has(partition)) ?? []
  if (unknown.length > 0) {
    throw new MillraceError('PLAN_REFUSED', `the archive has no partition ${unknown.join(', ')} of ${topic}`, {
      hint: `It has ${[...known].sort((a, b) => a - b).join(', ')}.`
    })
  }
  const partitions = chains
    .filter(({ stream }) => selection.partitions?.includes(stream.partition) ?? true)
    .map(chain => planPartition(chain, selection))
    .sort((a, b) => a.stream.partition - b.stream.partition)
  return { clusterId, topic, topicId, partitionCount: Math.max(...known) + 1, partitions }
}

function planPartition(chain: Chain, selection: ReplaySelection): PartitionPlan {
  refuseBroken(chain, selection)
  const start = chain.links[0]?.manifest.baseOffset ?? chain.end
  const from = Math.min(Math.max(start, selection.fromOffset), chain.end)
  const to = Math.max(from, Math.min(chain.end, selection.toOffset))
  const fromTime = selection.fromTime ?? Number.NEGATIVE_INFINITY
  const toTime = selection.toTime ?? Number.POSITIVE_INFINITY
  const within = chain.links.filter(({ manifest }) => manifest.baseOffset < to && manifest.nextOffset > from)
  // Of a batch that could not be read nobody knows the times.
  const segments = within.filter(
    ({ manifest }) => isInTime(manifest, { fromTime, toTime }) || notIndexedIn(manifest, from, to).length > 0
  )
  return {
    stream: chain.stream,
    from,
    to,
    fromTime,
    toTime,
    segments,
    gaps: chain.links.flatMap(({ manifest }) => manifest.gaps).filter(gap => gap.from < to && gap.to > from),
    uncommitted: Map.groupBy(
      uncommitted(chain).filter(({ firstOffset, lastOffset }) => firstOffset < to && lastOffset >= from),
      ({ producerId }) => producerId
    ),
    extras: chain.extras.length,
    offsets: segments.reduce(
      (sum, { manifest }) => sum + Math.min(to, manifest.nextOffset) - Math.max(from, manifest.baseOffset),
      0
    ),
    logBytes: segments.reduce((sum, { manifest }) => sum + manifest.logBytes, 0),
    oldest: bound(
      segments.map(({ manifest }) => manifest.minTimestamp),
      Math.min,
      { fromTime, toTime }
    ),
    newest: bound(
      segments.map(({ manifest }) => manifest.maxTimestamp),
      Math.max,
      { fromTime, toTime }
    )
  }
}

/** Whether a segment has records that may lie between two times. */
function isInTime(
  { records, minTimestamp, maxTimestamp }: SegmentManifest,
  { fromTime, toTime }: { fromTime: number; toTime: number }
): boolean {
  // Without timestamps (-1) a record belongs to no time, but to the whole of it.
  return records > 0 && (maxTimestamp ?? -1) >= fromTime && (minTimestamp ?? -1) < toTime
}

/** A transaction's outcome may be known only segments later, so the whole chain is asked, whatever is selected. */
function uncommitted({ links }: Chain): Uncommitted[] {
  const aborted = links.flatMap(({ manifest }) => manifest.abortedTransactions)
  const open = links.at(-1)?.manifest.openTransactions ?? []
  return [
    ...aborted.map(({ producerId, firstOffset, lastOffset }) => ({
      outcome: 'aborted' as const,
      producerId,
      firstOffset,
      lastOffset
    })),
    ...open.map(({ producerId, firstOffset }) => ({
      outcome: 'open' as const,
      producerId,
      firstOffset,
      lastOffset: Number.MAX_SAFE_INTEGER
    }))
  ]
}

/** A chain with segments behind its end has lost one: what follows would be left out without a word. */
function refuseBroken({ stream, end, unreached }: Chain, { toOffset }: ReplaySelection): void {
  const behind = unreached.filter(({ offset }) => offset >= end)
  if (behind.length === 0 || toOffset <= end) return
  throw new MillraceError(
    'PLAN_REFUSED',
    `the archive of ${stream.topic}-${stream.partition} breaks off at offset ${end}, though there are segments from offset ${behind[0]!.offset} on`,
    { hint: `See millrace verify. To replay what comes before, add --offsets ..${end}.` }
  )
}

function bound(
  timestamps: readonly (number | null)[],
  pick: (a: number, b: number) => number,
  { fromTime, toTime }: { fromTime: number; toTime: number }
): number | null {
  const known = timestamps.filter(timestamp => timestamp !== null && timestamp >= 0) as number[]
  return known.length === 0
    ? null
    : Math.min(
        Math.max(
          known.reduce((a, b) => pick(a, b)),
          fromTime
        ),
        toTime
      )
}
