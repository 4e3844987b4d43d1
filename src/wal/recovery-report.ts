// What a start found of earlier runs, for those who run Millrace.
import type { Logger } from 'pino'
import type { MillraceError } from '../errors.ts'
import type { RecoveredFile } from './messages.ts'
import { fromPlain } from './messages.ts'

export interface RecoveryReport {
  readonly files: number
  readonly batches: number
  readonly bytes: number
  /** Bytes of a last commit that was never finished, so that nobody was told it was: they do not count. */
  readonly tornBytes: number
  /** What cannot be read, by position, and by stream and offset where that is still known. All else is there. */
  readonly damage: readonly MillraceError[]
}

export function reportOf(files: readonly RecoveredFile[]): RecoveryReport {
  return {
    files: files.length,
    batches: files.reduce((sum, { rows, lost }) => sum + rows.ids.length - lost.length, 0),
    bytes: files.reduce((sum, { bytesOnDisk }) => sum + bytesOnDisk, 0),
    tornBytes: files.reduce((sum, { tornBytes }) => sum + tornBytes, 0),
    damage: files.flatMap(({ damage }) => damage.map(fromPlain))
  }
}

/** One line for what is there, and one for each thing that cannot be read; `consequence` says what becomes of that. */
export function logRecovery({ damage, ...found }: RecoveryReport, logger: Logger, consequence: string): void {
  if (found.files > 0) logger.info(found, 'the WAL of an earlier run is there')
  for (const { message } of damage) logger.error(`damaged: ${message}; ${consequence}`)
}
