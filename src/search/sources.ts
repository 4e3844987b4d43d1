// The places that hold records of a partition: each segment that a selection may need, and what only the WAL has.
import { ArchivedSource } from './archived-source.ts'
import { HotSource } from './hot-source.ts'
import type { Partition, Places } from './partitions.ts'
import type { RecordSource } from './record-source.ts'
import type { Selection } from './selection.ts'

export function recordSources(places: Places, { stream, chain, hot }: Partition, selection: Selection): RecordSource[] {
  const archived = chain.links
    .filter(link => ArchivedSource.mayHold(link, selection))
    .map(link => new ArchivedSource(stream, link, places))
  const { wal, maxDecompressedBytes } = places
  if (wal === null || hot.length === 0) return archived
  return [...archived, new HotSource(stream, { wal, entries: hot, maxDecompressedBytes })]
}
