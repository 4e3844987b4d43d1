// What search needs of a place that holds records of one partition.
import type { CanonicalBatch } from '../kafka/batch.ts'
import type { KafkaRecord } from '../kafka/records.ts'
import type { Match } from '../segment/search-index.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { FoundRecord, Tier } from './record-json.ts'
import type { Selection } from './selection.ts'

export interface RecordSource {
  readonly stream: StreamKey
  /** The records that match an FTS5 expression and lie in the selection's times and offsets, in any order. */
  match(expression: string, selection: Selection): AsyncIterable<Match>
  /** How many batches with selected offsets have records that cannot be read: known when `match` is through. */
  readonly notSearched: number
  /** The records at these offsets, which ascend. Each batch is read once. */
  read(offsets: readonly number[]): AsyncIterable<FoundRecord>
}

/** A batch's record as it is given to whoever searched. */
export function foundRecord(
  { topic, topicId, partition }: StreamKey,
  timestampType: CanonicalBatch['header']['timestampType'],
  record: KafkaRecord,
  tier: Tier
): FoundRecord {
  return { topic, topicId, partition, ...record, timestampType, tier }
}
