// The batches that one read of a partition gives, taken one after the other until there are enough.
import { MillraceError } from '../../errors.ts'
import type { CanonicalBatch } from '../../kafka/batch.ts'
import { assignLeaderEpoch } from '../../kafka/batch.ts'
import type { ReadRecords } from '../../kafka/read-records.ts'
import { NO_RECORDS, readRecords } from '../../kafka/read-records.ts'
import type { ReadOptions } from '../log-store.ts'

/** What everything from an archive carries: captured batches have no epoch, and clients would hold a later read against it. */
export const NO_EPOCH = -1

export class Taken {
  readonly batches: Buffer[] = []
  /** The first offset that is wanted next. */
  next: number
  readonly #upTo: number
  #left: number

  constructor(offset: number, { upTo, maxBytes }: ReadOptions) {
    this.next = offset
    this.#upTo = upTo
    this.#left = maxBytes
  }

  /** False when a batch that begins at this offset would not be taken, whatever its size. */
  reaches(baseOffset: number): boolean {
    return baseOffset < this.#upTo && (this.#left > 0 || this.batches.length === 0)
  }

  /** Whether there is room for a batch of this size. */
  hasRoomFor(sizeInBytes: number): boolean {
    return sizeInBytes <= this.#left || this.batches.length === 0
  }

  /** Takes a batch whose bytes are ours to change. False when there are enough. */
  take(batch: CanonicalBatch): boolean {
    const { baseOffset, lastOffset, sizeInBytes, partitionLeaderEpoch } = batch.header
    if (lastOffset < this.next) return true
    if (!this.reaches(baseOffset) || !this.hasRoomFor(sizeInBytes)) return false
    const wire = batch.toWire()
    if (partitionLeaderEpoch !== NO_EPOCH) assignLeaderEpoch(wire, 0, NO_EPOCH)
    this.batches.push(wire)
    this.#left -= sizeInBytes
    this.next = lastOffset + 1
    return true
  }
}

/** What times are looked for in: not in markers, nor in batches that cannot be read, which consumers get all the same. */
export function readable(batch: CanonicalBatch): ReadRecords {
  const read = batch.header.isControl ? NO_RECORDS : readRecords(batch)
  return read instanceof MillraceError ? NO_RECORDS : read
}

/** The first of a batch's records whose timestamp is not below `timestamp`. */
export function firstSince(batch: CanonicalBatch, timestamp: number): { offset: number; timestamp: number } | null {
  for (const record of readable(batch)) {
    if (record.timestamp >= timestamp) return { offset: record.offset, timestamp: record.timestamp }
  }
  return null
}
