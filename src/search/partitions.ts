// Which partitions a selection means, and what of each is in the archive and what only in the WAL. The WAL is read before the
// archive: a batch that moves from one to the other meanwhile is seen twice, and counted once, but never missed.
import type { Chain, Listing, ReadableArchive } from '../archive/archive.ts'
import { ListingBuilder } from '../archive/listing.ts'
import type { WarmSegments } from '../archive/warm-segments.ts'
import { mapAtOnce } from '../at-once.ts'
import type { OffsetRange } from '../sealing/settle.ts'
import { inOrder, settle } from '../sealing/settle.ts'
import type { WalEntry, WalReader } from '../wal/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import { streamId } from '../wal/stream.ts'
import type { Aged } from './incarnations.ts'
import { newestFirst } from './incarnations.ts'
import type { Selection } from './selection.ts'

/** From a store each walk costs a round trip. */
const WALKS_AT_ONCE = 8

/** Where records may be. */
export interface Places {
  readonly archive: ReadableArchive
  /** Null where there are no local copies. */
  readonly warm: WarmSegments | null
  /** Null where there is no WAL. A reader serves one search at a time. */
  readonly wal: WalReader | null
  /** What a batch of the WAL may grow to, as in the worker that will archive it. */
  readonly maxDecompressedBytes?: number | undefined
}

export interface Partition {
  readonly stream: StreamKey
  readonly chain: Chain
  /** Captured batches from the end of the chain on, one for each offset, in order. */
  readonly hot: readonly WalEntry[]
}

export interface SelectedPartitions {
  readonly partitions: readonly Partition[]
  /** Topics that were asked for and are nowhere. */
  readonly unknownTopics: readonly string[]
}

/** A stream as it was found, before it is known whether it is meant. */
interface Candidate extends Aged {
  /** The walk through its segments, done when first asked for. */
  chain(): Promise<Chain>
}

/** Throws what the WAL reader and the archive throw. */
export async function selectPartitions(places: Places, selection: Selection): Promise<SelectedPartitions> {
  const found = await candidates(places, selection)
  const { allIncarnations, topicId, partition, topics } = selection
  const meant = allIncarnations || topicId !== undefined ? found : await newestIncarnations(found)
  const wanted = meant.filter(({ stream }) => partition === undefined || stream.partition === partition)
  const partitions = await mapAtOnce(wanted, WALKS_AT_ONCE, async ({ stream, captured, chain }) => {
    const walked = await chain()
    return { stream, chain: walked, hot: standing(captured, walked.end) }
  })
  const unknownTopics = topics.filter(topic => !found.some(({ stream }) => stream.topic === topic))
  return { partitions, unknownTopics }
}

async function candidates({ wal, archive }: Places, { topics, topicId }: Selection): Promise<Candidate[]> {
  const isWanted = (stream: StreamKey): boolean =>
    (topics.length === 0 || topics.includes(stream.topic)) && (topicId === undefined || stream.topicId === topicId)
  const inWal = wal?.streams().filter(isWanted) ?? []
  const captured = new Map(inWal.map(stream => [streamId(stream), wal!.entries(stream)]))
  const found = new Map<string, { stream: StreamKey; listing: Listing }>()
  for (const stream of inWal) found.set(streamId(stream), { stream, listing: new ListingBuilder() })
  for await (const listed of archive.listings()) if (isWanted(listed.stream)) found.set(streamId(listed.stream), listed)
  return [...found].map(([id, { stream, listing }]) => {
    let walk: Promise<Chain> | undefined
    const chain = (): Promise<Chain> => (walk ??= archive.walk(stream, listing))
    return { stream, captured: captured.get(id) ?? [], chain, root: async () => (await chain()).root }
  })
}

/** Of each topic name the topic that was made last. */
async function newestIncarnations(found: readonly Candidate[]): Promise<Candidate[]> {
  const names = Map.groupBy(found, ({ stream }) => JSON.stringify([stream.clusterId, stream.topic]))
  const newest = await Promise.all(names.values().map(async ofName => (await newestFirst(ofName))[0]!))
  return newest.flat()
}

/**
 * The captured batches that stand for the offsets from `end` on. Where it is not settled which do, since the broker has
 * not been asked yet, it is the last capture that fits: of two, the later one was acknowledged by the later leader.
 */
export function standing(captured: readonly WalEntry[], end: number): WalEntry[] {
  const { line, holes } = settle(captured, { from: end, to: Number.MAX_SAFE_INTEGER })
  return [...line, ...lastCaptures(inOrder(captured), holes)].sort((a, b) => a.baseOffset - b.baseOffset)
}

function* lastCaptures(captured: readonly WalEntry[], holes: readonly OffsetRange[]): Generator<WalEntry> {
  let position = 0
  let current = 0
  for (const [i, entry] of captured.entries()) {
    if (captured[i + 1]?.baseOffset === entry.baseOffset) continue
    while (holes[current] !== undefined && holes[current]!.to <= entry.baseOffset) current++
    const hole = holes[current]
    if (hole === undefined) return
    if (entry.baseOffset < Math.max(position, hole.from) || entry.lastOffset >= hole.to) continue
    yield entry
    position = entry.lastOffset + 1
  }
}
