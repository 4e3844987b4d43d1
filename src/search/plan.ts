// What a search looks at: the sources that may hold what is selected.
import { isMillraceError } from '../errors.ts'
import type { Visibility } from './isolation.ts'
import { visibilityOf } from './isolation.ts'
import type { Partition } from './partitions.ts'
import { selectPartitions } from './partitions.ts'
import type { OffsetRange } from './ranges.ts'
import type { RecordSource } from './record-source.ts'
import type { Selection } from './selection.ts'
import type { SearchPlaces } from './sources.ts'
import { recordSources } from './sources.ts'

/** Which of a partition's offsets are meant, beside what the selection says. */
export type Within = (partition: Partition, visibility: Visibility) => readonly OffsetRange[]

export interface Plan {
  /** Topics that were asked for and are nowhere. */
  readonly unknownTopics: readonly string[]
  readonly sources: readonly RecordSource[]
}

/** Throws what the WAL reader and the archive throw. */
export async function planSearch(
  places: SearchPlaces,
  selection: Selection,
  within: Within = () => [{ from: 0, to: Number.MAX_SAFE_INTEGER }]
): Promise<Plan> {
  const { partitions, unknownTopics } = await selectPartitions(places, selection)
  const sources = partitions.flatMap(partition => {
    const visibility = visibilityOf(places, partition, selection.isolation)
    return within(partition, visibility).flatMap(({ from, to }) => {
      const fromOffset = Math.max(from, selection.fromOffset)
      const toOffset = Math.min(to, selection.toOffset, visibility.end)
      return recordSources(places, partition, { ...selection, fromOffset, toOffset }, visibility)
    })
  })
  return { unknownTopics, sources }
}

/** How many batches with selected offsets cannot be read, as far as that is known by now. */
export function notSearchedIn({ sources }: Plan): number {
  return sources.reduce((sum, { notSearched }) => sum + notSearched, 0)
}

/** A segment may be merged or trimmed, or a WAL file archived and deleted, after it was listed: then it looks once more. */
export async function twice<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (isMillraceError(error, 'OBJECT_MISSING')) return await work()
    throw error
  }
}
