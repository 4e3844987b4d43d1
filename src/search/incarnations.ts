// Which streams there are, and which of the topics that had one name was made last. A topic that is deleted and made again
// has another id, and is another topic.
import type { ReadableArchive, Root } from '../archive/archive.ts'
import type { WalEntry } from '../wal/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import { streamId } from '../wal/stream.ts'

/** Every stream once: those that the WAL has, as given, and those that the archive has. Throws what the archive throws. */
export async function allStreams(inWal: readonly StreamKey[], archive: ReadableArchive): Promise<StreamKey[]> {
  const found = new Map(inWal.map(stream => [streamId(stream), stream]))
  for await (const stream of archive.partitions()) found.set(streamId(stream), stream)
  return [...found.values()]
}

/** What tells the age of a stream. */
export interface Aged {
  readonly stream: StreamKey
  readonly captured: readonly WalEntry[]
  /** Null where nothing was archived yet. */
  root(): Promise<Root | null>
}

/**
 * The topics that had one name, each with its streams, the one that was made last first. What is in the WAL alone is newer
 * than what was archived.
 */
export async function newestFirst<T extends Aged>(ofName: readonly T[]): Promise<(readonly T[])[]> {
  const byTopic = Map.groupBy(ofName, ({ stream }) => JSON.stringify([stream.clusterId, stream.topicId]))
  const incarnations = [...byTopic.values()]
  if (incarnations.length < 2) return incarnations
  const aged = await Promise.all(incarnations.map(async streams => ({ streams, began: await beginning(streams) })))
  return aged.sort((a, b) => later(a.began, b.began)).map(({ streams }) => streams)
}

interface Beginning {
  /** When its first root was put; infinite where only the WAL has it. */
  readonly archived: number
  readonly captured: number
}

async function beginning(streams: readonly Aged[]): Promise<Beginning> {
  const roots = (await Promise.all(streams.map(one => one.root()))).filter(root => root !== null)
  const begun = roots.map(({ createdAt }) => Date.parse(createdAt))
  const captures = streams.flatMap(({ captured }) => captured.map(({ appendedMs }) => appendedMs))
  const isNowhere = begun.length === 0 && captures.length === 0 // but for extras
  const archived = isNowhere ? Number.NEGATIVE_INFINITY : Math.min(...begun, Number.POSITIVE_INFINITY)
  return { archived, captured: captures.reduce((latest, ms) => Math.max(latest, ms), 0) }
}

/** For sorting: what began later comes first. */
function later(a: Beginning, b: Beginning): number {
  return a.archived === b.archived ? b.captured - a.captured : b.archived > a.archived ? 1 : -1
}
