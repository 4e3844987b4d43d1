// What was captured and cannot be read from the WAL any more is given up: it becomes a hole, which the broker fills like any
// other, and its file is set aside instead of deleted.
import type { Logger } from 'pino'
import { isMillraceError } from '../errors.ts'
import type { WalEntry } from '../wal/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { PlacedRow, Wal } from '../wal/wal.ts'
import type { SegmentBuilder } from './segment-builder.ts'

export interface UnreadableParts {
  readonly wal: Wal
  readonly builder: SegmentBuilder
  readonly logger: Logger
}

/** After an error over some rows, gives up those that cannot be read. Rejects with the error itself when all of them can. */
export async function giveUpUnreadable(
  { wal, builder, logger }: UnreadableParts,
  stream: StreamKey,
  rows: readonly WalEntry[],
  error: unknown
): Promise<void> {
  if (!isMillraceError(error, 'WAL_CORRUPT')) throw error
  const unreadable = await builder.unreadable(rows)
  if (unreadable.length === 0) throw error
  wal.giveUp(unreadable.map(({ row }) => row))
  for (const { row, reason } of unreadable) {
    const consequence = 'it is fetched from the broker if that still has it'
    logger.error({ stream, offset: row.baseOffset }, `damaged: ${reason}; ${consequence}`)
  }
}

/** Gives up those rows of an archived range that a look at the files did not show: their heads are damaged. */
export function giveUpUnseen({ wal, logger }: UnreadableParts, stream: StreamKey, held: readonly PlacedRow[]): void {
  const unseen = held.filter(({ file, id }) => !wal.isReleased(file, id))
  wal.giveUp(unseen)
  for (const { file, id, baseOffset } of unseen) {
    logger.error({ stream, offset: baseOffset }, `damaged: frame ${id} of WAL file ${file} was not found any more`)
  }
}
