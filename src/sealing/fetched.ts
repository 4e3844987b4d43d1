// What was fetched from the broker takes the same way as what is captured, so that a crash loses neither.
import type { CanonicalBatch } from '../kafka/batch.ts'
import { FrameFlag } from '../wal/frame.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { Wal } from '../wal/wal.ts'

/**
 * Appends batches of a broker's log, each in a row of its own: one that was released before does not count. They may exceed the WAL's
 * limit, since only sealing makes room again. Throws WAL_FAILED.
 */
export async function appendFetched(wal: Wal, stream: StreamKey, batches: readonly CanonicalBatch[]): Promise<void> {
  const fetched = batches.map(batch => ({
    stream,
    baseOffset: batch.header.baseOffset,
    lastOffset: batch.header.lastOffset,
    recordCount: batch.header.recordCount,
    flags: FrameFlag.FETCHED,
    chunks: [batch.toWire()]
  }))
  await wal.append(fetched, { beyondLimit: true, keepRepeats: true })
}
