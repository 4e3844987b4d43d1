// What a replay says when it is over: lines for people, one object for programs.
import { formatBytes } from '../connect/options.ts'
import type { ReplayPlan } from '../replay/plan.ts'
import type { PartitionProgress, ReplayOutcome } from '../replay/replay.ts'
import { alignColumns, counted } from './text.ts'

export function partitionLines(
  { partitions }: ReplayOutcome,
  { dryRun, ms }: { dryRun: boolean; ms: number }
): string[] {
  const rows = partitions.map(progress => [
    `partition ${progress.plan.stream.partition}`,
    range(progress),
    counted(progress.records, 'record'),
    formatBytes(progress.bytes),
    remarks(progress)
  ])
  const [records, bytes] = [sum(partitions, 'records'), sum(partitions, 'bytes')]
  const speed = dryRun || ms === 0 ? '' : `, ${formatBytes((bytes / ms) * 1000)}/s`
  const total = `${dryRun ? 'would replay' : 'replayed'} ${counted(records, 'record')}, ${formatBytes(bytes)}${speed}`
  return [...alignColumns(rows), total]
}

function range({ plan: { from, to }, nextOffset }: PartitionProgress): string {
  if (from === to) return 'nothing selected'
  if (nextOffset === to) return `offsets ${from} to ${to - 1}`
  return nextOffset === from
    ? `none of offsets ${from} to ${to - 1}`
    : `offsets ${from} to ${nextOffset - 1} of ${to - 1}`
}

function remarks({ plan, leftOut, reencoded }: PartitionProgress): string {
  const { aborted, open, control } = leftOut
  const outs = [
    aborted > 0 && `${counted(aborted, 'record')} of aborted transactions left out`,
    open > 0 && `${counted(open, 'record')} of transactions still open left out`,
    control > 0 && `${counted(control, 'transaction marker')} left out`,
    reencoded > 0 && `${counted(reencoded, 'batch', 'batches')} encoded anew`,
    plan.extras > 0 && `${counted(plan.extras, 'extra')} not replayed`,
    ...plan.gaps.map(({ from, to, reason }) => `gap ${from} to ${to - 1} (${reason})`)
  ]
  return outs.filter(text => text !== false).join(', ')
}

export interface ReplaySummary {
  readonly topic: string
  readonly dryRun: boolean
  readonly ms: number
  readonly complete: boolean
}

export function replayJson(plan: ReplayPlan, { partitions }: ReplayOutcome, summary: ReplaySummary): object {
  const { clusterId, topic, topicId } = plan
  return {
    source: { clusterId, topic, topicId },
    toTopic: summary.topic,
    dryRun: summary.dryRun,
    complete: summary.complete,
    records: sum(partitions, 'records'),
    bytes: sum(partitions, 'bytes'),
    ms: Math.round(summary.ms),
    partitions: partitions.map(({ plan, nextOffset, records, batches, bytes, reencoded, leftOut }) => ({
      partition: plan.stream.partition,
      fromOffset: plan.from,
      toOffset: plan.to,
      nextOffset,
      records,
      batches,
      bytes,
      reencoded,
      leftOut,
      gaps: plan.gaps,
      extras: plan.extras
    }))
  }
}

function sum(partitions: readonly PartitionProgress[], what: 'records' | 'bytes'): number {
  return partitions.reduce((total, progress) => total + progress[what], 0)
}
