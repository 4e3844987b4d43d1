// What an election took back, judged by leader epochs: where the broker's log says that the epoch of a row ends, all that was
// appended in it and survived ends too.
import type { Chain } from '../archive/archive.ts'
import type { WalEntry } from '../wal/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { BrokerLog, LogState } from './broker-log.ts'
import type { OffsetRange } from './settle.ts'
import { isFetched } from './settle.ts'

/** A high watermark follows within a second where the replicas are well; a batch that comes back after all is fetched. */
const TAKEN_BACK_AFTER_MS = 60_000
/** What is newer may have been appended, by another leader, after its predecessor was asked for the end of its log. */
const NEW_MS = 5_000

/**
 * Which rows no election is known to have taken back: those below the end of their leader epoch in the log, and those below the
 * log's start, of which nobody can tell any more, and which would be a gap. The epoch of a capture is the one that was known
 * before it was sent. What is fetched after this call is the log's. Throws BROKER_ERROR, BROKER_UNREACHABLE.
 */
export async function keptBy(
  broker: BrokerLog,
  stream: StreamKey,
  rows: readonly WalEntry[],
  { exists, start }: LogState
): Promise<(row: WalEntry) => boolean> {
  const epochs = new Set(rows.map(row => row.leaderEpoch))
  const ends = exists ? await broker.epochEnds(stream, epochs) : undefined
  if (ends === undefined) return () => true
  const isBelowEnd = (row: WalEntry): boolean => row.lastOffset < Math.max(start, ends.get(row.leaderEpoch) ?? 0)
  const place = ({ file, id }: WalEntry): string => `${file} ${id}`
  const lost = new Set(rows.filter(row => isFetched(row) && row.leaderEpoch >= 0 && !isBelowEnd(row)).map(place))
  return row => (isFetched(row) ? !lost.has(place(row)) : isBelowEnd(row))
}

/**
 * The rows that an election took back and that sealing would never come to, since nobody may write there any more: those above the
 * end of the log, and those that for long have been above the high watermark and do not lie below the end of their leader epoch.
 * What is among them and comes back after all is fetched. Throws as `keptBy` does.
 */
export async function takenBack(
  broker: BrokerLog,
  stream: StreamKey,
  rows: readonly WalEntry[],
  log: LogState
): Promise<readonly WalEntry[]> {
  const above = rows.filter(row => row.baseOffset >= log.end)
  if (above.length === 0) return []
  const ends = await broker.epochEnds(stream, new Set([log.leaderEpoch, ...above.map(row => row.leaderEpoch)]))
  if (ends === undefined) return []
  const logEnd = ends.get(log.leaderEpoch) || Number.POSITIVE_INFINITY // a leader that has not heard so has nothing of it
  const now = Date.now()
  // By how much two times differ, for the clock may have been set back since the batch was captured.
  const isOld = ({ appendedMs }: WalEntry, ms: number): boolean => Math.abs(now - appendedMs) > ms
  const isPastLog = (row: WalEntry): boolean =>
    row.baseOffset >= logEnd && row.leaderEpoch <= log.leaderEpoch && isOld(row, NEW_MS)
  const isPastEpoch = (row: WalEntry): boolean =>
    row.lastOffset >= (ends.get(row.leaderEpoch) ?? Number.POSITIVE_INFINITY)
  return above.filter(row => isPastLog(row) || (isOld(row, TAKEN_BACK_AFTER_MS) && isPastEpoch(row)))
}

/**
 * The offsets below the archive's end at which the log may have other batches, since an unclean election took back what is
 * archived; null where it has none, or nobody can tell. Throws as `keptBy` does.
 */
export async function replacedIn(
  broker: BrokerLog,
  { stream, links, end }: Chain,
  log: LogState
): Promise<OffsetRange | null> {
  const lastBatch = links.findLast(({ manifest }) => manifest.lastBatchOffset !== null)?.manifest.lastBatchOffset
  if (!log.exists || lastBatch == null) return null
  // The two part where the newest epoch that both have ends in one of them. A log that has nothing of an epoch ends it at 0.
  let from = lastBatch + 1
  let isCut = false
  for (const { epoch, startOffset } of newestEpochs(links)) {
    // Captured before any was known: where a newer one is gone, it may be too.
    const kept = epoch < 0 && isCut ? 0 : (await broker.epochEnds(stream, new Set([epoch])))?.get(epoch)
    if (kept === undefined) return null
    from = kept === 0 ? startOffset : Math.min(from, kept)
    if (kept > 0) break
    isCut = true
  }
  const to = Math.min(end, log.end)
  return from < to ? { from, to } : null
}

/** The epochs of an archive's batches and where each begins, newest first. */
function* newestEpochs(links: Chain['links']): Generator<{ epoch: number; startOffset: number }> {
  let run: { epoch: number; startOffset: number } | undefined
  for (const { manifest } of links.toReversed()) {
    for (const one of manifest.leaderEpochs.toReversed()) {
      if (run !== undefined && run.epoch !== one.epoch) yield run
      run = one
    }
  }
  if (run !== undefined) yield run
}
