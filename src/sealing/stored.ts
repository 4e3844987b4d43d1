// Whether a captured batch is stored: what an archive or a broker's log has at its offsets may be it, with other bytes, or another.
import type { CanonicalBatch } from '../kafka/batch.ts'
import type { WalEntry } from '../wal/reader.ts'
import { isFormOf } from './identity.ts'
import type { SegmentBuilder } from './segment-builder.ts'

/** What has the offsets of a captured batch. */
export interface StoredBatch {
  readonly crc: number
  /** Asked for when the CRC says too little; undefined where nothing but the CRC counts. */
  read(): Promise<CanonicalBatch | undefined>
}

/**
 * Whether what is stored is the batch of a row: with its bytes, with the max timestamp that brokers set, or with the same records from
 * the same producer. Throws WAL_CORRUPT, BATCH_CORRUPT where that cannot be told of a row.
 */
export async function isStored(
  builder: Pick<SegmentBuilder, 'identify' | 'identifyStored'>,
  row: WalEntry,
  { crc, read }: StoredBatch
): Promise<boolean> {
  if (row.crc === crc) return true
  const { correctedCrc, identity } = await builder.identify(row, crc)
  if (correctedCrc === crc) return true
  const batch = identity === null ? undefined : await read()
  if (identity === null || batch === undefined) return false
  // A copy: of a view all would be sent that it is a view of.
  const stored = await builder.identifyStored(new Uint8Array(batch.toWire()))
  return stored !== null && isFormOf(identity, stored)
}
