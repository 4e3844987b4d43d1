// The worker's own metrics: declared once here, read from the parts when somebody looks. docs/metrics.md lists them, and
// a test compares the two.
import type { SourceContext } from '../connect/connector.ts'
import type { Metrics, MetricTable } from '../connect/metrics.ts'
import type { Sealer } from '../sealing/sealer.ts'
import { gapReasons } from '../segment/manifest.ts'
import type { Wal } from '../wal/wal.ts'
import type { Reason, WorkerState } from './health.ts'
import { notReady, reasonKinds } from './health.ts'

export const workerMetrics = {
  millrace_not_ready: {
    type: 'gauge',
    labels: ['reason'],
    help: 'Whether the worker is not ready for this reason (1) or not (0), as /readyz says it.'
  },
  millrace_captured_batches_total: {
    type: 'counter',
    labels: ['connector'],
    help: 'Batches that a source has captured and that are durable.'
  },
  millrace_captured_records_total: {
    type: 'counter',
    labels: ['connector'],
    help: 'Records in the captured batches, as their headers say.'
  },
  millrace_captured_bytes_total: {
    type: 'counter',
    labels: ['connector'],
    help: 'Bytes of the captured batches, as they came, compressed or not.'
  },
  millrace_wal_bytes: { type: 'gauge', help: 'What the WAL takes on the disk.' },
  millrace_wal_limit_bytes: { type: 'gauge', help: 'The size at which the WAL takes nothing more, wal.max.bytes.' },
  millrace_wal_append_failures_total: {
    type: 'counter',
    help: 'Appends to the WAL that were refused, because it is full or the disk failed, or that a batch made invalid.'
  },
  millrace_wal_commit_seconds: {
    type: 'histogram',
    help: 'How long one commit of the WAL took, fsync included; it carries all appends that had come meanwhile.',
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]
  },
  millrace_unarchived_batches: { type: 'gauge', help: 'Batches in the WAL that are not known to be archived.' },
  millrace_unarchived_bytes: { type: 'gauge', help: 'Bytes of the batches that are not known to be archived.' },
  millrace_unarchived_oldest_seconds: {
    type: 'gauge',
    help: 'How long ago the oldest batch was captured that is not known to be archived; 0 when there is none.'
  },
  millrace_unarchived_limit_seconds: {
    type: 'gauge',
    help: 'The age of the oldest unarchived batch above which the worker is not ready: three times segment.ms and a minute.'
  },
  millrace_uncaptured_offsets: {
    type: 'gauge',
    help: 'Offsets that the logs of the watched topics have, and that are neither captured nor archived, as of the last look: they are fetched when they are due.'
  },
  millrace_hot_index_behind_bytes: {
    type: 'gauge',
    help: 'Bytes of WAL files that are not in the hot index yet, nor passed over as archived: a search reads them all.'
  },
  millrace_archived_segments_total: { type: 'counter', help: 'Segments that this worker has put into the archive.' },
  millrace_archived_batches_total: { type: 'counter', help: 'Batches in these segments.' },
  millrace_archived_records_total: { type: 'counter', help: 'Records in these segments.' },
  millrace_archived_bytes_total: {
    type: 'counter',
    help: 'Bytes of the batches in these segments, as the broker has them.'
  },
  millrace_archived_extras_total: {
    type: 'counter',
    help: 'Batches put beside the main line, because the archive has something else at their offsets. One that was captured and fetched counts twice.'
  },
  millrace_archived_gaps_total: {
    type: 'counter',
    labels: ['reason'],
    help: 'Gaps that these segments record: ranges of offsets of which no batch is to be had.'
  },
  millrace_fetched_batches_total: {
    type: 'counter',
    help: 'Batches fetched from the broker because they had not been captured, or not surely.'
  },
  millrace_sealing_failures_total: {
    type: 'counter',
    help: 'Attempts to seal and ship a segment that failed; each is made again.'
  }
} as const satisfies MetricTable

type WorkerMetrics = Metrics<typeof workerMetrics>

/** Where the figures are. */
export interface Figures {
  readonly wal: Wal
  readonly walMaxBytes: number
  readonly sealer: Sealer
  readonly gaps: { readonly uncapturedOffsets: number }
  /** Null without a hot index. */
  readonly hotIndex: { readonly bytesBehind: number } | null
  readonly pipeline: { readonly sealingFailures: number }
  state(): WorkerState
}

/** Shows all of the worker's metrics but those of its sources, see `countedCapture`. */
export function showWorker(metrics: WorkerMetrics, figures: Figures): void {
  const { wal, walMaxBytes, sealer, gaps, hotIndex, pipeline, state } = figures
  for (const reason of reasonKinds) {
    metrics.show('millrace_not_ready', () => Number(isGiven(reason, state())), { reason })
  }

  metrics.show('millrace_wal_bytes', () => wal.bytes)
  metrics.show('millrace_wal_limit_bytes', () => walMaxBytes)
  metrics.show('millrace_wal_append_failures_total', () => wal.appendFailures)
  wal.onCommit(metrics.observer('millrace_wal_commit_seconds'))

  const sum = (of: 'unreleasedBatches' | 'unreleasedBytes') =>
    state().unarchived.reduce((total, one) => total + one[of], 0)
  metrics.show('millrace_unarchived_batches', () => sum('unreleasedBatches'))
  metrics.show('millrace_unarchived_bytes', () => sum('unreleasedBytes'))
  metrics.show('millrace_unarchived_oldest_seconds', () => oldestSeconds(state()))
  metrics.show('millrace_unarchived_limit_seconds', () => state().archiveLimitMs / 1000)

  metrics.show('millrace_uncaptured_offsets', () => gaps.uncapturedOffsets)
  metrics.show('millrace_hot_index_behind_bytes', () => hotIndex?.bytesBehind ?? 0)
  metrics.show('millrace_archived_segments_total', () => sealer.counts.segments)
  metrics.show('millrace_archived_batches_total', () => sealer.counts.batches)
  metrics.show('millrace_archived_records_total', () => sealer.counts.records)
  metrics.show('millrace_archived_bytes_total', () => sealer.counts.logBytes)
  metrics.show('millrace_archived_extras_total', () => sealer.counts.extras)
  for (const reason of gapReasons) {
    metrics.show('millrace_archived_gaps_total', () => sealer.counts.gaps.get(reason) ?? 0, { reason })
  }
  metrics.show('millrace_fetched_batches_total', () => sealer.counts.fetchedBatches)
  metrics.show('millrace_sealing_failures_total', () => pipeline.sealingFailures)
}

function isGiven(reason: Reason['what'], state: WorkerState): boolean {
  return notReady(state).some(({ what }) => what === reason)
}

function oldestSeconds({ unarchived, now }: WorkerState): number {
  const oldest = unarchived.reduce((first, { oldestAppend }) => Math.min(first, oldestAppend), now)
  return (now - oldest) / 1000
}

/** `capture` for one source, counting what has become durable. */
export function countedCapture(
  capture: SourceContext['capture'],
  metrics: WorkerMetrics,
  connector: string
): SourceContext['capture'] {
  const captured = { batches: 0, records: 0, bytes: 0 }
  metrics.show('millrace_captured_batches_total', () => captured.batches, { connector })
  metrics.show('millrace_captured_records_total', () => captured.records, { connector })
  metrics.show('millrace_captured_bytes_total', () => captured.bytes, { connector })
  return async batches => {
    let [records, bytes] = [0, 0]
    for (const { recordCount, chunks } of batches) {
      records += recordCount
      for (const chunk of chunks) bytes += chunk.length
    }
    await capture(batches) // which may be the end of the chunks
    captured.batches += batches.length
    captured.records += records
    captured.bytes += bytes
  }
}
