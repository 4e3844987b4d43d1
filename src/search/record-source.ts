// What search needs of a place that holds records of one partition.
import type { CanonicalBatch } from '../kafka/batch.ts'
import type { KafkaRecord } from '../kafka/records.ts'
import type { Match } from '../segment/search-index.ts'
import type { Span } from '../segment/spans.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { Visibility } from './isolation.ts'
import type { Query } from './query.ts'
import type { FoundRecord, Tier } from './record-json.ts'

export type { Span } from '../segment/spans.ts'

/** Records of one partition, of which only those are given that were selected when the source was made. */
export interface RecordSource {
  readonly stream: StreamKey
  /** Where its records lie, as far as that is known without opening it: infinite times where it is not. */
  readonly extent: Span
  /** How many batches with selected offsets have records that cannot be read, as far as is known by now. */
  readonly notSearched: number
  /** What of its partition is seen: `read` leaves out the rest, and `open` gives nothing from its end on. */
  readonly visibility: Visibility
  /** Whether its index has hashes of whole keys, which `key=` looks for. */
  readonly hasKeyHashes: boolean
  /** False where no record can match. It is asked before the source is opened, since it costs less. */
  mayMatch(query: Query): Promise<boolean>
  /** The caller disposes of it. */
  open(): Promise<OpenSource>
  /** The records at these offsets, which ascend; each batch is read once. What is not visible is left out. */
  read(offsets: readonly number[]): AsyncIterable<FoundRecord>
}

/** The index of a source. What it throws is what the source's `read` might throw too. */
export interface OpenSource extends Disposable {
  /** Its records in stretches whose times are known, in offset order: none for what is not selected. */
  readonly spans: readonly Span[]
  /** The selected records with offsets of [from, to) that match an FTS5 expression (null: all), in any order. */
  match(expression: string | null, from: number, to: number): Iterable<Match>
  /** How many selected records match each of some expressions. */
  count(expressions: readonly (string | null)[]): number[]
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
