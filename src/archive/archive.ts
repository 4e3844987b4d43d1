// A partition's archive is the walk through its segments; here it is walked, begun and appended to. The store is the lock:
// every object is put if absent and none is ever overwritten, so of several workers exactly one wins each place.
import { createHash } from 'node:crypto'
import { mapAtOnce } from '../at-once.ts'
import { isMillraceError, MillraceError } from '../errors.ts'
import type { SegmentManifest } from '../segment/manifest.ts'
import type { RangeSource } from '../segment/reader.ts'
import { readManifest, SegmentReader } from '../segment/reader.ts'
import type { SegmentResult } from '../segment/writer.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { ArchivedBatch, Catalog } from './catalog.ts'
import { extraKey, parseKey, partitionPrefix, rootKey, segmentKey } from './layout.ts'
import type { Listing, PlacedObject } from './listing.ts'
import { ListingBuilder } from './listing.ts'
import type { Root } from './root.ts'
import { ARCHIVE_FORMAT_VERSION, MERGE_BYTES, parseRoot } from './root.ts'
import type { ObjectInfo, ObjectStore } from './store-contract.ts'

export type { Listing, PlacedObject } from './listing.ts'
export type { Root } from './root.ts'

const MANIFESTS_AT_ONCE = 8

/** One segment that the walk reaches. */
export interface Link {
  readonly key: string
  readonly size: number
  readonly manifest: SegmentManifest
}

export interface Chain {
  readonly stream: StreamKey
  /** Null where nothing was archived yet. */
  readonly root: Root | null
  readonly links: readonly Link[]
  /** The first offset that the archive does not cover; 0 without a root. */
  readonly end: number
  /** Batches put beside the main line. */
  readonly extras: readonly ObjectInfo[]
  /** Segments that the walk does not reach. Below the end they are leftovers; from the end on the chain is broken. */
  readonly unreached: readonly PlacedObject[]
}

/** What those need who only read. */
export type ReadableArchive = Pick<Archive, 'partitions' | 'listings' | 'walk' | 'readRoot' | 'source'>

export class Archive implements AsyncDisposable {
  readonly store: ObjectStore
  readonly #catalog: Catalog

  constructor(store: ObjectStore, catalog: Catalog) {
    this.store = store
    this.#catalog = catalog
  }

  /** Every partition that the archive has anything of, in key order. */
  async *partitions(): AsyncGenerator<StreamKey> {
    for await (const { stream } of this.listings()) yield stream
  }

  /** The same with what the names of its objects say: one listing of the whole archive, and nothing is opened. */
  async *listings(): AsyncGenerator<{ stream: StreamKey; listing: Listing }> {
    let last: { stream: StreamKey; listing: ListingBuilder; prefix: string } | undefined
    for await (const object of this.store.list('')) {
      const parsed = parseKey(object.key)
      if (!parsed) continue
      const prefix = partitionPrefix(parsed.stream)
      if (last?.prefix !== prefix) {
        if (last !== undefined) yield last
        last = { stream: parsed.stream, listing: new ListingBuilder(), prefix }
      }
      last.listing.add(parsed.name, object)
    }
    if (last !== undefined) yield last
  }

  /**
   * Follows a partition's segments from its root, or its highest trim, to the end. A listing that is fresh is not made again.
   * Throws ARCHIVE_CORRUPT when a segment does not lead on, SEGMENT_CORRUPT when one cannot be read.
   */
  async walk(stream: StreamKey, listing?: Listing): Promise<Chain> {
    try {
      return await this.#walkOnce(stream, listing ?? (await this.list(stream)))
    } catch (error) {
      // Something was merged or trimmed between the listing and the reading: the second walk sees what took its place.
      if (isMillraceError(error, 'OBJECT_MISSING')) return this.#walkOnce(stream, await this.list(stream))
      throw error
    }
  }

  async #walkOnce(stream: StreamKey, listing: Listing): Promise<Chain> {
    const { segments, merged, extras } = listing
    const links: Link[] = []
    const unreached = new Map([...segments.values(), ...merged.values()].map(object => [object.key, object]))
    const chain = { stream, links, extras }
    if (!listing.hasRoot) return { ...chain, root: null, end: 0, unreached: [...unreached.values()] }
    const root = await this.readRoot(stream)
    let end = Math.max(root.baseOffset, listing.trim)
    await this.#fetchManifests([...merged.values(), ...segments.values()].filter(({ offset }) => offset >= end))
    for (;;) {
      const object = merged.get(end) ?? segments.get(end)
      if (object === undefined) return { ...chain, root, end, unreached: [...unreached.values()] }
      const manifest = await this.manifest(object)
      if (manifest.baseOffset !== end || manifest.nextOffset <= end) {
        throw new MillraceError(
          'ARCHIVE_CORRUPT',
          `${object.key} says that it covers [${manifest.baseOffset}, ${manifest.nextOffset})`
        )
      }
      links.push({ key: object.key, size: object.size, manifest })
      unreached.delete(object.key)
      end = manifest.nextOffset
    }
  }

  /** Has the catalog know the manifests that a walk will ask for: several at a time, since each costs a round trip. */
  async #fetchManifests(objects: readonly PlacedObject[]): Promise<void> {
    const unknown = objects.filter(object => this.#known(object) === undefined)
    // What fails here may be a leftover; else it fails again where it is needed.
    await mapAtOnce(unknown, MANIFESTS_AT_ONCE, object => this.manifest(object).catch(() => null))
  }

  /** Lists a partition's objects and opens none of them. */
  async list(stream: StreamKey): Promise<Listing> {
    const prefix = partitionPrefix(stream)
    const listing = new ListingBuilder()
    for await (const object of this.store.list(prefix)) listing.add(object.key.slice(prefix.length), object)
    return listing
  }

  /** Reads `root.json`. Throws ARCHIVE_CORRUPT, OBJECT_MISSING. */
  async readRoot(stream: StreamKey): Promise<Root> {
    const key = rootKey(stream)
    return parseRoot(await this.store.get(key), key)
  }

  /** The manifest of a segment that was listed, from the catalog or from the object. */
  async manifest(object: ObjectInfo): Promise<SegmentManifest> {
    const known = this.#known(object)
    if (known !== undefined) return known
    const { key, size, tag } = object
    const manifest = await readManifest(this.source(key))
    this.#catalog.put(key, { manifest, size, tag })
    return manifest
  }

  #known({ key, size, tag }: ObjectInfo): SegmentManifest | undefined {
    const known = this.#catalog.get(key)
    return known?.size === size && known.tag === tag ? known.manifest : undefined
  }

  /** The bytes of an archived object, for a segment reader. */
  source(key: string): RangeSource {
    return {
      name: key,
      get: (start, end) => this.store.get(key, { start, end }),
      tail: bytes => this.store.tail(key, bytes)
    }
  }

  /** Which batches a segment holds: from the catalog, or from the segment itself. */
  async batchesIn({ key, manifest }: Link): Promise<readonly ArchivedBatch[]> {
    const known = this.#catalog.batches(key, manifest.logSha256)
    if (known) return known
    const reader = await SegmentReader.open(this.source(key))
    const batches: ArchivedBatch[] = []
    for await (const { header } of reader.batches()) {
      batches.push({ baseOffset: header.baseOffset, lastOffset: header.lastOffset, crc: header.crc })
    }
    this.#catalog.putBatches(key, manifest.logSha256, batches)
    return batches
  }

  /** Begins a partition's archive at `baseOffset`, unless another worker has begun it. Gives the root that stands. */
  async createRoot(stream: StreamKey, baseOffset: number, createdBy: string): Promise<Root> {
    const root: Root = {
      formatVersion: ARCHIVE_FORMAT_VERSION,
      ...stream,
      baseOffset,
      mergeBytes: MERGE_BYTES,
      createdAt: new Date().toISOString(),
      createdBy
    }
    const body = Buffer.from(`${JSON.stringify(root, null, 2)}\n`)
    const answer = await this.store.putIfAbsent(rootKey(stream), body, sha256(body))
    return answer === 'stored' ? root : this.readRoot(stream)
  }

  /**
   * Puts a segment at the end of its chain: put if absent, check what the store holds, and walk again until it is reached,
   * since a put to a key that was merged or trimmed away succeeds too. Null: another worker's segment stands there, or the
   * walk does not reach ours; nothing may be released, and the caller goes on from the new end.
   */
  async append(stream: StreamKey, segment: SegmentResult): Promise<Chain | null> {
    const key = segmentKey(stream, segment.manifest.baseOffset)
    const answer = await this.store.putIfAbsent(key, { path: segment.path }, segment.sha256)
    if (answer === 'exists') return null
    await this.#verifyStored(key, segment)
    const chain = await this.walk(stream)
    if (!chain.links.some(link => link.key === key)) return null
    this.#catalog.putBatches(key, segment.manifest.logSha256, segment.batches)
    return chain
  }

  /** Puts a segment that holds one batch beside the main line. */
  async putExtra(stream: StreamKey, segment: SegmentResult): Promise<void> {
    const [batch] = segment.batches
    const key = extraKey(stream, batch!.baseOffset, batch!.crc)
    const answer = await this.store.putIfAbsent(key, { path: segment.path }, segment.sha256)
    // The same batch may have been put by another worker, in a segment with another createdBy.
    if (answer === 'stored') await this.#verifyStored(key, segment)
  }

  async #verifyStored(key: string, { size, sha256 }: SegmentResult): Promise<void> {
    const stored = await this.store.head(key)
    if (stored === null || stored.size !== size || stored.sha256 !== sha256) {
      throw new MillraceError(
        'ARCHIVE_CORRUPT',
        `${key} was put, but the store has ${stored ? `${stored.size} bytes, SHA-256 ${stored.sha256}` : 'nothing'} there`
      )
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store[Symbol.asyncDispose]()
    this.#catalog[Symbol.dispose]()
  }
}

function sha256(body: Buffer): string {
  return createHash('sha256').update(body).digest('hex')
}
