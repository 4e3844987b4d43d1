// Re-reads an archive and says of each partition what it holds, what is missing and what is damaged. Nothing is taken from
// the catalog, and damage in one place does not hide what comes after it.
import { isMillraceError, messageOf } from '../errors.ts'
import type { Gap, GapReason, NotIndexed, SegmentManifest } from '../segment/manifest.ts'
import type { Predecessor } from '../segment/reader.ts'
import { SegmentReader } from '../segment/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import { streamId } from '../wal/stream.ts'
import type { Archive, Listing, PlacedObject } from './archive.ts'
import { rootKey, segmentKey } from './layout.ts'
import type { ObjectInfo } from './store-contract.ts'

/** Something that is not as it should be. */
export interface VerifyFault {
  /** The key of the object. */
  readonly object: string
  /** Of the batch, or where the object begins; null where it concerns no offset. */
  readonly offset: number | null
  readonly message: string
}

export interface PartitionReport {
  readonly stream: StreamKey
  /** The offsets that the chain covers without a break, `to` exclusive; both equal when it covers none. */
  readonly from: number
  readonly to: number
  /** What is missing inside, as the segments say. */
  readonly gaps: readonly Gap[]
  /** Batches that are held, and whose records cannot be read: they are no fault. */
  readonly notIndexed: readonly NotIndexed[]
  readonly segments: number
  readonly records: number
  /** Of the segments and extras. */
  readonly bytes: number
  /** Batches beside the main line. */
  readonly extras: number
  /** Segments that nothing leads to and nothing needs: leftovers, no faults. */
  readonly orphans: readonly string[]
  readonly faults: readonly VerifyFault[]
}

/** Gaps by configuration, or by Kafka's own doing; any other is a loss. */
const harmless: ReadonlySet<GapReason> = new Set<GapReason>(['not-requested', 'compacted'])

export function isLoss({ reason }: Gap): boolean {
  return !harmless.has(reason)
}

/** Whether nothing is wrong with a partition. */
export function isSound({ faults, gaps }: PartitionReport): boolean {
  return faults.length === 0 && !gaps.some(isLoss)
}

/** What there is to verify, of one topic or of all: the partitions, and the bytes of their objects, by listing them. */
export async function measureArchive(
  archive: Archive,
  topic?: string
): Promise<{ streams: readonly StreamKey[]; bytes: number }> {
  const streams: StreamKey[] = []
  let bytes = 0
  for await (const stream of archive.partitions()) {
    if (topic !== undefined && stream.topic !== topic) continue
    streams.push(stream)
    const { segments, merged, extras } = await archive.list(stream)
    for (const { size } of [...segments.values(), ...merged.values(), ...extras]) bytes += size
  }
  return { streams, bytes }
}

/** Re-reads all objects of a partition; `onBytes` hears of each that is done. Throws STORE_FAILED when the store does not answer. */
export async function verifyPartition(
  archive: Archive,
  stream: StreamKey,
  onBytes: (bytes: number) => void = () => {}
): Promise<PartitionReport> {
  try {
    return await new PartitionCheck(archive, stream, onBytes, { missingIsFault: false }).run()
  } catch (error) {
    if (!isMillraceError(error, 'OBJECT_MISSING')) throw error
    // Something was merged or trimmed between the listing and the reading: the second look sees what took its place.
    return await new PartitionCheck(archive, stream, () => {}, { missingIsFault: true }).run()
  }
}

/** What is found while one partition is read. */
type Findings = {
  -readonly [K in keyof PartitionReport]: PartitionReport[K] extends readonly (infer T)[] ? T[] : PartitionReport[K]
}

class PartitionCheck {
  readonly #archive: Archive
  readonly #onBytes: (bytes: number) => void
  readonly #missingIsFault: boolean
  readonly #found: Findings

  constructor(
    archive: Archive,
    stream: StreamKey,
    onBytes: (bytes: number) => void,
    { missingIsFault }: { missingIsFault: boolean }
  ) {
    this.#archive = archive
    this.#onBytes = onBytes
    this.#missingIsFault = missingIsFault
    const none = { from: 0, to: 0, segments: 0, records: 0, bytes: 0, extras: 0 }
    this.#found = { stream, ...none, gaps: [], notIndexed: [], orphans: [], faults: [] }
  }

  async run(): Promise<PartitionReport> {
    const listing = await this.#archive.list(this.#found.stream)
    await this.#checkChain(listing)
    for (const extra of listing.extras) {
      await this.#read(extra, null, null)
      this.#found.extras++
    }
    return this.#found
  }

  /** The walk, except that it goes on behind a break, where it begins a new count of the chain hash. */
  async #checkChain(listing: Listing): Promise<void> {
    const found = this.#found
    const objects = [...listing.merged.values(), ...listing.segments.values()].sort((a, b) => a.offset - b.offset)
    const unreached = new Set(objects)
    const rootOffset = await this.#rootOffset(listing, objects)
    let position = Math.max(rootOffset, listing.trim)
    let predecessor: Predecessor | undefined = listing.trim > rootOffset ? undefined : null
    let unbroken = true
    found.from = position
    for (;;) {
      if (unbroken) found.to = position
      const object = listing.merged.get(position) ?? listing.segments.get(position)
      const next = objects.find(({ offset }) => offset > position)
      const manifest: SegmentManifest | null | undefined = object && (await this.#readLink(object, predecessor))
      if (object !== undefined) unreached.delete(object)
      if (manifest) {
        found.gaps.push(...manifest.gaps)
        predecessor = manifest
        position = manifest.nextOffset
        continue
      }
      if (next === undefined) break
      if (object === undefined) this.#break(position, next)
      unbroken = false
      predecessor = undefined
      position = next.offset
    }
    found.orphans.push(...[...unreached].map(({ key }) => key))
  }

  async #rootOffset({ hasRoot }: Listing, objects: readonly PlacedObject[]): Promise<number> {
    const { stream } = this.#found
    try {
      if (hasRoot) return (await this.#archive.readRoot(stream)).baseOffset
      if (objects.length > 0)
        this.#fault(rootKey(stream), null, 'there are segments, but no root.json that says where they begin')
    } catch (error) {
      this.#explain(error, rootKey(stream), null)
    }
    return objects[0]?.offset ?? 0
  }

  #break(position: number, next: PlacedObject): void {
    const { stream } = this.#found
    const what = `offsets ${position} to ${next.offset - 1} are in no segment: the chain breaks off here, and goes on at ${next.key}`
    this.#fault(segmentKey(stream, position), position, what)
  }

  /** Null for a segment that does not say how far it reaches. */
  async #readLink(object: PlacedObject, predecessor: Predecessor | undefined): Promise<SegmentManifest | null> {
    const manifest = await this.#read(object, object.offset, predecessor)
    this.#found.segments++
    if (manifest === null) return null
    this.#found.records += manifest.records
    if (manifest.baseOffset === object.offset && manifest.nextOffset > object.offset) return manifest
    this.#fault(object.key, object.offset, `it says that it covers [${manifest.baseOffset}, ${manifest.nextOffset})`)
    return null
  }

  async #read(
    { key, size }: ObjectInfo,
    offset: number | null,
    predecessor: Predecessor | undefined
  ): Promise<SegmentManifest | null> {
    try {
      const reader = await SegmentReader.open(this.#archive.source(key))
      const manifest = await reader.manifest()
      for (const fault of await reader.verify(predecessor)) this.#fault(key, fault.offset ?? offset, fault.message)
      this.#found.notIndexed.push(...(manifest.notIndexed ?? []))
      if (streamId(manifest) !== streamId(this.#found.stream)) {
        const { clusterId, topic, topicId, partition } = manifest
        this.#fault(
          key,
          offset,
          `it belongs to partition ${partition} of topic ${topic} (${topicId}) of cluster ${clusterId}`
        )
      }
      return manifest
    } catch (error) {
      this.#explain(error, key, offset)
      return null
    } finally {
      this.#found.bytes += size
      this.#onBytes(size)
    }
  }

  /** Takes what says that an object is damaged for a fault, and throws anything else. */
  #explain(error: unknown, object: string, offset: number | null): void {
    const codes = [
      'SEGMENT_CORRUPT',
      'ARCHIVE_CORRUPT',
      'BATCH_CORRUPT',
      'BATCH_UNSUPPORTED',
      'BATCH_TOO_LARGE'
    ] as const
    const missing = this.#missingIsFault && isMillraceError(error, 'OBJECT_MISSING')
    if (!missing && !codes.some(code => isMillraceError(error, code))) throw error
    this.#fault(object, offset, messageOf(error))
  }

  #fault(object: string, offset: number | null, message: string): void {
    const named = `${object}: `
    this.#found.faults.push({
      object,
      offset,
      message: message.startsWith(named) ? message.slice(named.length) : message
    })
  }
}
