// Matches as they are captured or archived. What was looked at is known by its offsets, so that each record is given once, also
// what comes late between others, such as what was fetched from the broker.
import { streamId } from '../wal/stream.ts'
import type { Cursor } from './cursor.ts'
import { decodeCursor } from './cursor.ts'
import type { Visibility } from './isolation.ts'
import type { Partition } from './partitions.ts'
import type { Within } from './plan.ts'
import type { OffsetRange } from './ranges.ts'
import { merged, without } from './ranges.ts'
import type { FoundRecord } from './record-json.ts'
import { search } from './search.ts'
import type { Selection } from './selection.ts'
import type { SearchPlaces } from './sources.ts'

type Offsets = ReadonlyMap<string, readonly OffsetRange[]>

/** How far somebody has followed: plain data, which may go from one thread to another. */
export interface FollowState {
  /** Offsets that were looked at, by what `streamId` says. */
  readonly seen: Offsets
  /** Of a look that was not gone through to its end: what it looks at, and where it goes on. */
  readonly pending: { readonly offsets: Offsets; readonly after: Cursor | undefined } | null
}

export interface Look {
  /** New matches, those with the oldest timestamps first, read while they are asked for; once, or in part. */
  readonly records: AsyncIterable<FoundRecord>
  /** What the next look goes on from, after `records` was gone through as far as it was, or has failed. */
  state(): FollowState
}

/**
 * What has come since `state`; where that is null, the newest matches, as many as the selection's limit says. The selection's
 * order and cursor do not matter. Throws as `search`.
 */
export async function look(
  places: SearchPlaces,
  selection: Selection,
  query: string,
  state: FollowState | null
): Promise<Look> {
  const { seen, pending } = state ?? { seen: new Map<string, readonly OffsetRange[]>(), pending: null }
  const offsets = new Map(pending?.offsets)
  // What comes after the first plan is left to the next look: it may belong before what is given already.
  let isFixed = pending !== null
  const within: Within = (partition, visibility) => {
    const id = streamId(partition.stream)
    if (!isFixed) offsets.set(id, without(thereIn(partition, visibility), seen.get(id) ?? []))
    return offsets.get(id) ?? []
  }
  let after = pending?.after
  if (state === null) {
    const newest = await search(places, { ...selection, order: 'newest', after: undefined }, query, within)
    isFixed = true
    for await (const _ of newest.records);
    const last = newest.next()
    if (last !== null) after = justBefore(decodeCursor(last, 'newest'))
  }
  const limit = Number.MAX_SAFE_INTEGER
  const result = await search(places, { ...selection, order: 'oldest', limit, after }, query, within)
  isFixed = true
  let isThrough = false
  return {
    records: (async function* () {
      yield* result.records
      isThrough = true
    })(),
    state() {
      if (isThrough) return { seen: together(seen, offsets), pending: null }
      const next = result.next()
      return { seen, pending: { offsets, after: next === null ? after : decodeCursor(next, 'oldest') } }
    }
  }
}

/** The offsets that are there, whether or not anything will ever be found at them. */
function thereIn({ chain, hot }: Partition, { end }: Visibility): OffsetRange[] {
  const archived = { from: chain.links[0]?.manifest.baseOffset ?? 0, to: chain.end }
  const captured = hot.map(({ baseOffset, lastOffset }) => ({ from: baseOffset, to: lastOffset + 1 }))
  return merged([archived, ...captured].map(({ from, to }) => ({ from, to: Math.min(to, end) })))
}

function together(seen: Offsets, more: Offsets): Offsets {
  const all = new Map(seen)
  for (const [id, ranges] of more) all.set(id, merged([...(seen.get(id) ?? []), ...ranges]))
  return all
}

/** For the order oldest: the place behind which this one is the first. */
function justBefore(cursor: Cursor): Cursor {
  return { ...cursor, offset: cursor.offset - 1 }
}
