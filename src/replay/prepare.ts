// What becomes of one archived batch in a replay: sent as it is, made anew, or left out.
import { MillraceError } from '../errors.ts'
import type { CanonicalBatch } from '../kafka/batch.ts'
import { encodeBatch } from '../kafka/batch.ts'
import { readRecords } from '../kafka/read-records.ts'
import type { KafkaRecord } from '../kafka/records.ts'
import type { PartitionPlan } from './plan.ts'

/** Why records are not replayed, though they were selected: markers of transactions, and transactions that did not commit. */
export type LeftOutReason = 'control' | 'aborted' | 'open'

export type Prepared =
  /** To be sent, from base offset 0 on, under a producer that is still to be set. */
  | { readonly kind: 'raw' | 're-encoded'; readonly batch: CanonicalBatch }
  | { readonly kind: 'left-out'; readonly reason: LeftOutReason; readonly records: number }
  /** Nothing of it was selected, or compaction has left no record in it. */
  | { readonly kind: 'nothing' }

/**
 * Decides about a batch that a planned segment holds. A broker takes only batches whose offsets have no holes, whose times
 * are the producer's own, and that no compaction has marked; others are made anew, with the same codec and the times that
 * consumers saw. Throws BATCH_CORRUPT or BATCH_TOO_LARGE, with the offset, when such a batch cannot be decoded.
 */
export function prepareBatch(batch: CanonicalBatch, plan: PartitionPlan): Prepared {
  const { header } = batch
  const outside = header.baseOffset >= plan.to || header.lastOffset < plan.from || header.maxTimestamp < plan.fromTime
  if (outside || header.recordCount === 0) return { kind: 'nothing' }
  const whole = isWhollySelected(batch, plan)
  const reason = whyLeftOut(batch, plan)
  const fits = isAcceptable(batch)
  if (whole && reason !== null) return { kind: 'left-out', reason, records: header.recordCount }
  if (whole && fits) return { kind: 'raw', batch: batch.withBaseOffset(0) }

  const selected = selectedRecords(batch, plan)
  if (selected.length === 0) return { kind: 'nothing' }
  if (reason !== null) return { kind: 'left-out', reason, records: selected.length }
  if (fits && selected.length === header.recordCount) return { kind: 'raw', batch: batch.withBaseOffset(0) }
  const renumbered = selected.map((record, offset) => ({ ...record, offset }))
  return { kind: 're-encoded', batch: encodeBatch(renumbered, { codec: header.codec }) }
}

function selectedRecords(batch: CanonicalBatch, plan: PartitionPlan): KafkaRecord[] {
  const read = readRecords(batch)
  if (!(read instanceof MillraceError)) return [...Iterator.from(read).filter(record => isSelected(record, plan))]
  const { baseOffset, lastOffset } = batch.header
  const why = isAcceptable(batch) ? 'the selection may cut it' : 'no broker takes it as it is'
  throw new MillraceError(
    read.code,
    `the batch of offsets ${baseOffset} to ${lastOffset} cannot be made anew, though ${why}: ${read.message}`,
    { cause: read, hint: 'Such a batch can be replayed whole, without --from and --to, or be left out with --offsets.' }
  )
}

/** By the header alone, so false also where only the records can tell: it does not have the least timestamp. */
function isWhollySelected({ header }: CanonicalBatch, { from, to, fromTime, toTime }: PartitionPlan): boolean {
  const beforeEnd = toTime === Number.POSITIVE_INFINITY || header.maxTimestamp < toTime
  const inTime = fromTime === Number.NEGATIVE_INFINITY && beforeEnd
  return header.baseOffset >= from && header.lastOffset < to && inTime
}

function isSelected({ offset, timestamp }: KafkaRecord, { from, to, fromTime, toTime }: PartitionPlan): boolean {
  return offset >= from && offset < to && timestamp >= fromTime && timestamp < toTime
}

/** Transactions overlap in the log, so a batch belongs to one by its producer and its place. */
function whyLeftOut({ header }: CanonicalBatch, { uncommitted }: PartitionPlan): LeftOutReason | null {
  if (header.isControl) return 'control'
  if (!header.isTransactional) return null
  const { baseOffset, producerId } = header
  const transaction = uncommitted
    .get(producerId)
    ?.find(({ firstOffset, lastOffset }) => baseOffset >= firstOffset && baseOffset <= lastOffset)
  return transaction?.outcome ?? null
}

/** Whether a broker takes the batch as it is. */
function isAcceptable({ header }: CanonicalBatch): boolean {
  const { baseOffset, lastOffset, recordCount, hasDeleteHorizon, timestampType } = header
  return lastOffset - baseOffset + 1 === recordCount && !hasDeleteHorizon && timestampType === 'CreateTime'
}
