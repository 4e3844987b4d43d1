// The places that hold records of a partition: each segment that a selection may need, and what only the WAL has.
import type { IndexedPlaces } from './archived-source.ts'
import { ArchivedSource } from './archived-source.ts'
import type { HotIndexes } from './hot-index.ts'
import { HotSource } from './hot-source.ts'
import type { Visibility } from './isolation.ts'
import type { Partition, Places } from './partitions.ts'
import type { RecordSource } from './record-source.ts'
import type { Selection } from './selection.ts'

/** Where records may be, and their indexes. */
export interface SearchPlaces extends Places, IndexedPlaces {
  /** Of what is in the WAL; without them it is indexed on the way. */
  readonly hotIndexes?: HotIndexes | null | undefined
  /** Throws where nobody waits for the search any more; called again and again on its way. */
  readonly checkWanted?: (() => void) | undefined
}

export function recordSources(
  places: SearchPlaces,
  { stream, chain, hot }: Partition,
  selection: Selection,
  visibility: Visibility
): RecordSource[] {
  const archived = chain.links
    .filter(link => ArchivedSource.mayHold(link, selection))
    .map(link => new ArchivedSource(stream, link, places, selection, visibility))
  const { wal, hotIndexes = null, maxDecompressedBytes } = places
  if (wal === null || hot.length === 0) return archived
  const batches = { wal, hotIndexes, entries: hot, maxDecompressedBytes }
  return [...archived, new HotSource(stream, batches, selection, visibility)]
}
