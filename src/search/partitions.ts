// Which partitions a selection means, and what of each is in the archive and what only in the WAL. The WAL is read before the
// archive: a batch that moves from one to the other meanwhile is seen twice, and counted once, but never missed.
import type { Archive, Chain } from '../archive/archive.ts'
import type { WarmSegments } from '../archive/warm-segments.ts'
import type { OffsetRange } from '../sealing/settle.ts'
import { settle } from '../sealing/settle.ts'
import type { WalEntry, WalReader } from '../wal/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import { streamId } from '../wal/stream.ts'
import type { Selection } from './selection.ts'

/** Where records may be. */
export interface Places {
  readonly archive: Archive
  /** Null where there are no local copies. */
  readonly warm: WarmSegments | null
  /** Null where there is no WAL. A reader serves one search at a time. */
  readonly wal: WalReader | null
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
interface Candidate {
  readonly stream: StreamKey
  readonly captured: readonly WalEntry[]
  /** The walk through its segments, done when first asked for. */
  chain(): Promise<Chain>
}

/** Throws what the WAL reader and the archive throw. */
export async function selectPartitions(places: Places, selection: Selection): Promise<SelectedPartitions> {
  const found = await candidates(places, selection)
  const { allIncarnations, topicId, partition, topics } = selection
  const meant = allIncarnations || topicId !== undefined ? found : await newestIncarnations(found)
  const partitions: Partition[] = []
  for (const { stream, captured, chain } of meant) {
    if (partition !== undefined && stream.partition !== partition) continue
    const walked = await chain()
    partitions.push({ stream, chain: walked, hot: standing(captured, walked.end) })
  }
  const unknownTopics = topics.filter(topic => !found.some(({ stream }) => stream.topic === topic))
  return { partitions, unknownTopics }
}

async function candidates({ wal, archive }: Places, { topics, topicId }: Selection): Promise<Candidate[]> {
  const isWanted = (stream: StreamKey): boolean =>
    (topics.length === 0 || topics.includes(stream.topic)) && (topicId === undefined || stream.topicId === topicId)
  const found = new Map<string, Candidate>()
  const add = (stream: StreamKey, captured: readonly WalEntry[]): void => {
    let walk: Promise<Chain> | undefined
    const id = streamId(stream)
    if (!found.has(id)) found.set(id, { stream, captured, chain: () => (walk ??= archive.walk(stream)) })
  }
  for (const stream of wal?.streams().filter(isWanted) ?? []) add(stream, wal!.entries(stream))
  for await (const stream of archive.partitions()) if (isWanted(stream)) add(stream, [])
  return [...found.values()]
}

/** Of each topic name the topic that was made last. What is in the WAL alone is newer than what was archived. */
async function newestIncarnations(found: readonly Candidate[]): Promise<Candidate[]> {
  const names = Map.groupBy(found, ({ stream }) => JSON.stringify([stream.clusterId, stream.topic]))
  const newest: Candidate[] = []
  for (const ofName of names.values()) {
    const incarnations = [...Map.groupBy(ofName, ({ stream }) => stream.topicId).values()]
    let [latest] = incarnations
    if (incarnations.length > 1) {
      const ages = await Promise.all(incarnations.map(async streams => ({ streams, began: await beginning(streams) })))
      latest = ages.reduce((a, b) => (isLater(b.began, a.began) ? b : a)).streams
    }
    newest.push(...latest!)
  }
  return newest
}

interface Beginning {
  /** When its first root was put; infinite where only the WAL has it. */
  readonly archived: number
  readonly captured: number
}

async function beginning(streams: readonly Candidate[]): Promise<Beginning> {
  const chains = await Promise.all(streams.map(({ chain }) => chain()))
  const roots = chains.flatMap(({ root }) => (root === null ? [] : [Date.parse(root.createdAt)]))
  const captures = streams.flatMap(({ captured }) => captured.map(({ appendedMs }) => appendedMs))
  const isNowhere = roots.length === 0 && captures.length === 0 // but for extras
  const archived = isNowhere ? Number.NEGATIVE_INFINITY : Math.min(...roots, Number.POSITIVE_INFINITY)
  return { archived, captured: captures.reduce((latest, ms) => Math.max(latest, ms), 0) }
}

function isLater(a: Beginning, b: Beginning): boolean {
  return a.archived === b.archived ? a.captured > b.captured : a.archived > b.archived
}

/**
 * The captured batches that stand for the offsets from `end` on. Where it is not settled which do, since the broker has
 * not been asked yet, it is the last capture that fits: of two, the later one was acknowledged by the later leader.
 */
export function standing(captured: readonly WalEntry[], end: number): WalEntry[] {
  const { line, holes } = settle(captured, { from: end, to: Number.MAX_SAFE_INTEGER })
  return [...line, ...lastCaptures(captured, holes)].sort((a, b) => a.baseOffset - b.baseOffset)
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
