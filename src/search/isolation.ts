// Which records a reader with `read_committed` sees: nothing of aborted transactions, and nothing from the first open one on.
import { isMillraceError } from '../errors.ts'
import type { BatchHeader } from '../kafka/batch.ts'
import { TransactionTracker } from '../segment/txn-index.ts'
import { WalRecord } from '../wal/frame.ts'
import type { WalEntry, WalReader } from '../wal/reader.ts'
import type { Partition, Places } from './partitions.ts'
import type { OffsetRange } from './ranges.ts'
import { merged } from './ranges.ts'
import type { Isolation } from './selection.ts'

/** What of a partition is seen. */
export interface Visibility {
  /** Nothing from this offset on. */
  readonly end: number
  /** False for a batch of an aborted transaction. */
  isVisible(header: BatchHeader): boolean
  /** Where such batches may be: all others are seen, and need not be read to know. In order, none touches another. */
  readonly clouded: readonly OffsetRange[]
}

const everything: Visibility = { end: Number.MAX_SAFE_INTEGER, isVisible: () => true, clouded: [] }

/** A transaction whose marker has not been captured is still open. Throws what the WAL reader throws, but WAL_CORRUPT. */
export function visibilityOf({ wal }: Places, { chain, hot }: Partition, isolation: Isolation): Visibility {
  if (isolation === 'read_uncommitted') return everything
  const transactions = new TransactionTracker(chain.links.at(-1)?.manifest.openTransactions ?? [])
  for (const entry of hot) {
    const batch = batchOf(wal!, entry)
    if (batch !== null) transactions.add(batch)
  }
  const aborted = [...chain.links.flatMap(({ manifest }) => manifest.abortedTransactions), ...transactions.aborted]
  const byProducer = Map.groupBy(aborted, ({ producerId }) => producerId)
  return {
    end: Math.min(...transactions.open.map(({ firstOffset }) => firstOffset), Number.MAX_SAFE_INTEGER),
    isVisible: ({ isTransactional, producerId, baseOffset }) =>
      !isTransactional ||
      !byProducer
        .get(producerId)
        ?.some(({ firstOffset, lastOffset }) => baseOffset >= firstOffset && baseOffset < lastOffset),
    clouded: merged(aborted.map(({ firstOffset, lastOffset }) => ({ from: firstOffset, to: lastOffset })))
  }
}

/** Null also for a frame that is damaged: nobody sees its records. */
function batchOf(wal: WalReader, entry: WalEntry): ReturnType<typeof WalRecord.toCanonical> {
  try {
    return WalRecord.toCanonical(wal.read(entry))
  } catch (error) {
    if (isMillraceError(error, 'WAL_CORRUPT')) return null
    throw error
  }
}
