// What is read at the start: the logs as earlier runs left them in the WAL.
import { MillraceError } from '../../errors.ts'
import type { BatchHeader } from '../../kafka/batch.ts'
import { parseBatchHeader } from '../../kafka/batch.ts'
import type { WalEntry, WalReader } from '../../wal/reader.ts'
import type { RowPlace, Wal } from '../../wal/wal.ts'
import type { EmbeddedPartition } from './partition.ts'

interface Row {
  readonly entry: WalEntry
  readonly header: BatchHeader
}

/**
 * Fills a partition with what the WAL holds of it, and releases the rows that are no part of its log. Throws WAL_CORRUPT.
 */
export function recoverPartition(partition: EmbeddedPartition, wal: Wal, reader: WalReader): void {
  const log: Row[] = []
  const dead: RowPlace[] = []
  const lost: WalEntry[] = [] // of which the WAL said at its start that they cannot be read
  const entries = reader.entries(partition.stream).sort((a, b) => a.file - b.file || a.id - b.id)
  for (const entry of entries) {
    // Its file was to be deleted after the log's new start had been stored.
    if (entry.baseOffset < partition.startOffset) {
      dead.push(entry)
      continue
    }
    if (wal.isReleased(entry.file, entry.id)) {
      lost.push(entry)
      continue
    }
    // An append that failed, and was not confirmed, can be on the disk all the same; the one that got its offsets comes later.
    while (log.length > 0 && log.at(-1)!.entry.lastOffset >= entry.baseOffset) dead.push(log.pop()!.entry)
    log.push({ entry, header: headerOf(reader, entry) })
  }
  for (const { header } of log) partition.recover(header)
  for (const { baseOffset, lastOffset } of lost) partition.recoverLost(baseOffset, lastOffset)
  wal.release(dead)
}

function headerOf(reader: WalReader, entry: WalEntry): BatchHeader {
  const record = reader.read(entry)
  if (record.version !== 2) {
    throw new MillraceError('WAL_CORRUPT', `a single record lies among batches, at ${entry.baseOffset}`)
  }
  return parseBatchHeader(record.batch)
}
