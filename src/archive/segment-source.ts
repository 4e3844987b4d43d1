// Where to read an archived segment from: its local copy where there is one, else the store.
import { isMillraceError } from '../errors.ts'
import type { RangeSource } from '../segment/reader.ts'
import type { ReadableArchive } from './archive.ts'
import type { WarmSegments } from './warm-segments.ts'

export interface SegmentPlaces {
  readonly archive: ReadableArchive
  /** Null where there are no local copies. */
  readonly warm: WarmSegments | null
}

export function segmentSource(
  { archive, warm }: SegmentPlaces,
  { key, size }: { readonly key: string; readonly size: number }
): { source: RangeSource; tier: 'warm' | 'cold' } {
  const archived = archive.source(key)
  const local = warm?.find(key, size) ?? null
  return local === null ? { source: archived, tier: 'cold' } : { source: orArchived(local, archived), tier: 'warm' }
}

/** A local copy that a worker may remove at any time. */
function orArchived(local: RangeSource, archived: RangeSource): RangeSource {
  const unlessRemoved = <T>(read: (source: RangeSource) => Promise<T>): Promise<T> =>
    read(local).catch(error => {
      if (isMillraceError(error, 'OBJECT_MISSING')) return read(archived)
      throw error
    })
  return {
    name: local.name,
    get: (start, end) => unlessRemoved(source => source.get(start, end)),
    tail: bytes => unlessRemoved(source => source.tail(bytes))
  }
}
