// What a sealer is asked for, and what it has done.
import type { GapReason } from '../segment/manifest.ts'

export interface SealOptions {
  readonly toHighWatermark: boolean
  readonly begin?: number | undefined
  /** How far the log was seen to reach: what is missing of that when the topic has been deleted is a gap. */
  readonly seenEnd?: number
}

/** What one step did. */
export interface SealStep {
  readonly progressed: boolean
  /** Up to where the archive reaches now. */
  readonly end: number
  /** Up to where all that the log has is archived or beside it: less than `end` where an unclean election cut the log below that. */
  readonly covered: number
}

/** What a sealer has done since its start. */
export interface SealCounts {
  readonly segments: number
  readonly batches: number
  readonly records: number
  readonly logBytes: number
  readonly gaps: ReadonlyMap<GapReason, number>
  /** Batches put beside the main line. */
  readonly extras: number
  readonly fetchedBatches: number
}
