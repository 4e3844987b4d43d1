// Carries out a plan: reads the archived batches in order and sends them on, several partitions side by side.
import type { Link } from '../archive/archive.ts'
import type { CanonicalBatch } from '../kafka/batch.ts'
import type { SegmentReader } from '../segment/reader.ts'
import type { PartitionPlan, ReplayPlan } from './plan.ts'
import type { LeftOutReason } from './prepare.ts'
import { prepareBatch } from './prepare.ts'

/** How far a partition got. */
export interface PartitionProgress {
  readonly plan: PartitionPlan
  /** Every selected record below this offset of the archive was replayed or left out. */
  nextOffset: number
  records: number
  batches: number
  /** Of the batches sent. */
  bytes: number
  /** How many of the batches could not be sent as they are. */
  reencoded: number
  /** Records by why they were left out. */
  readonly leftOut: Record<LeftOutReason, number>
}

/** Takes the batches of one partition, in order, and resolves for each when it is stored. */
export type SendBatch = (batch: CanonicalBatch) => Promise<void>

export interface ReplayOptions {
  readonly open: (segment: Link) => Promise<SegmentReader>
  /** The receiving side of a partition. */
  readonly sendTo: (partition: number) => SendBatch
  /** Partitions at a time. */
  readonly concurrency: number
  /** Stops every partition between two batches. */
  readonly signal: AbortSignal
  /** Called with the offsets gone through since the last call. */
  readonly onOffsets?: (offsets: number) => void
}

export interface ReplayOutcome {
  readonly partitions: readonly PartitionProgress[]
  /** What stopped it; undefined when all was replayed or the signal came. */
  readonly failure?: unknown
}

/** Replays everything that is planned. A failure in one partition stops the others too; how far each got is told all the same. */
export async function replay(plan: ReplayPlan, options: ReplayOptions): Promise<ReplayOutcome> {
  const partitions = plan.partitions.map(begin)
  const failed = new AbortController()
  const signal = AbortSignal.any([options.signal, failed.signal])
  const waiting = partitions.values()
  let failure: unknown
  const work = async (): Promise<void> => {
    for (const progress of waiting) {
      try {
        await replayPartition(progress, { ...options, signal })
      } catch (error) {
        failure ??= error
        failed.abort()
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(options.concurrency, partitions.length) }, work))
  return failure === undefined ? { partitions } : { partitions, failure }
}

function begin(plan: PartitionPlan): PartitionProgress {
  const leftOut = { control: 0, aborted: 0, open: 0 }
  return { plan, nextOffset: plan.from, records: 0, batches: 0, bytes: 0, reencoded: 0, leftOut }
}

async function replayPartition(progress: PartitionProgress, options: ReplayOptions): Promise<void> {
  const { plan } = progress
  const { open, sendTo, signal, onOffsets = () => {} } = options
  const send = sendTo(plan.stream.partition)
  for (const segment of plan.segments) {
    if (signal.aborted) return
    const from = Math.max(plan.from, segment.manifest.baseOffset)
    const to = Math.min(plan.to, segment.manifest.nextOffset)
    let reached = from
    const reach = (offset: number): void => {
      onOffsets(offset - reached)
      reached = offset
      progress.nextOffset = offset
    }
    const reader = await open(segment)
    for await (const batch of reader.batches({ from, to })) {
      if (signal.aborted) return
      await replayBatch(batch, progress, send)
      reach(Math.min(to, batch.header.lastOffset + 1))
    }
    reach(to)
  }
  if (!signal.aborted) progress.nextOffset = plan.to
}

async function replayBatch(batch: CanonicalBatch, progress: PartitionProgress, send: SendBatch): Promise<void> {
  const prepared = prepareBatch(batch, progress.plan)
  if (prepared.kind === 'nothing') return
  if (prepared.kind === 'left-out') {
    progress.leftOut[prepared.reason] += prepared.records
    return
  }
  await send(prepared.batch)
  progress.records += prepared.batch.header.recordCount
  progress.bytes += prepared.batch.header.sizeInBytes
  progress.batches++
  if (prepared.kind === 're-encoded') progress.reencoded++
}
