// The records of a batch, all of them checked, or the reason why they cannot be read: a broker takes batches that Millrace has
// to carry and cannot look into.
import type { MillraceError } from '../errors.ts'
import { isMillraceError } from '../errors.ts'
import type { CanonicalBatch } from './batch.ts'
import type { KafkaRecord } from './records.ts'

/** Records that can be gone through any number of times. They are decoded each time: a batch may hold tens of millions. */
export interface ReadRecords extends Iterable<KafkaRecord> {
  readonly count: number
  /** Infinity without records. */
  readonly minTimestamp: number
  /** -Infinity without records. */
  readonly maxTimestamp: number
}

export const NO_RECORDS: ReadRecords = {
  count: 0,
  minTimestamp: Number.POSITIVE_INFINITY,
  maxTimestamp: Number.NEGATIVE_INFINITY,
  [Symbol.iterator]: () => [][Symbol.iterator]()
}

/**
 * Decompresses a batch, to no more than `limit` bytes, and decodes it once to its end. Gives, and does not throw, the
 * BATCH_CORRUPT or BATCH_TOO_LARGE that says why that is not possible.
 */
export function readRecords(batch: CanonicalBatch, limit?: number): ReadRecords | MillraceError {
  let { count, minTimestamp, maxTimestamp } = NO_RECORDS
  try {
    const records = batch.records(limit)
    for (const { timestamp } of records) {
      count++
      if (timestamp < minTimestamp) minTimestamp = timestamp
      if (timestamp > maxTimestamp) maxTimestamp = timestamp
    }
    return { count, minTimestamp, maxTimestamp, [Symbol.iterator]: () => records.again() }
  } catch (error) {
    if (isMillraceError(error)) return error
    throw error
  }
}
