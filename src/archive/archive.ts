// A partition's archive is the walk through its segments; here it is walked, begun and appended to. The store is the lock:
// every object is put if absent and none is ever overwritten, so of several workers exactly one wins each place.
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { isMillraceError, MillraceError } from '../errors.ts'
import type { SegmentManifest } from '../segment/manifest.ts'
import type { RangeSource } from '../segment/reader.ts'
import { readManifest, SegmentReader } from '../segment/reader.ts'
import type { SegmentResult } from '../segment/writer.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { ArchivedBatch, Catalog } from './catalog.ts'
import { extraKey, parseKey, parseObjectName, partitionPrefix, rootKey, segmentKey } from './layout.ts'
import type { ObjectInfo, ObjectStore } from './store-contract.ts'

export const ARCHIVE_FORMAT_VERSION = 1

/** Segments are merged up to this size; it stands in the root so that all mergers agree. */
const MERGE_BYTES = 256 * 1024 * 1024

const rootSchema = z.strictObject({
  formatVersion: z.literal(ARCHIVE_FORMAT_VERSION),
  clusterId: z.string(),
  topic: z.string(),
  topicId: z.string(),
  partition: z.number().int(),
  baseOffset: z.number().int(),
  mergeBytes: z.number().int(),
  createdAt: z.string(),
  createdBy: z.string()
})

/** `root.json`: where a partition's archive begins. */
export type Root = z.infer<typeof rootSchema>

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

/** A segment by its name alone. */
export interface PlacedObject extends ObjectInfo {
  readonly offset: number
}

/** What the names of a partition's objects say. */
export interface Listing {
  readonly hasRoot: boolean
  /** The highest trim; 0 without any. */
  readonly trim: number
  /** By the offset at which they begin. */
  readonly segments: ReadonlyMap<number, PlacedObject>
  readonly merged: ReadonlyMap<number, PlacedObject>
  readonly extras: readonly ObjectInfo[]
}

export class Archive implements AsyncDisposable {
  readonly store: ObjectStore
  readonly #catalog: Catalog

  constructor(store: ObjectStore, catalog: Catalog) {
    this.store = store
    this.#catalog = catalog
  }

  /** Every partition that the archive has anything of, in key order. */
  async *partitions(): AsyncGenerator<StreamKey> {
    let last = ''
    for await (const { key } of this.store.list('')) {
      const parsed = parseKey(key)
      if (!parsed || partitionPrefix(parsed.stream) === last) continue
      last = partitionPrefix(parsed.stream)
      yield parsed.stream
    }
  }

  /**
   * Follows a partition's segments from its root, or its highest trim, to the end.
   * Throws ARCHIVE_CORRUPT when a segment does not lead on, SEGMENT_CORRUPT when one cannot be read.
   */
  async walk(stream: StreamKey): Promise<Chain> {
    try {
      return await this.#walkOnce(stream)
    } catch (error) {
      // Something was merged or trimmed between the listing and the reading: the second walk sees what took its place.
      if (isMillraceError(error, 'OBJECT_MISSING')) return this.#walkOnce(stream)
      throw error
    }
  }

  async #walkOnce(stream: StreamKey): Promise<Chain> {
    const listing = await this.list(stream)
    const { segments, merged, extras } = listing
    const links: Link[] = []
    const unreached = new Map([...segments.values(), ...merged.values()].map(object => [object.key, object]))
    const chain = { stream, links, extras }
    if (!listing.hasRoot) return { ...chain, root: null, end: 0, unreached: [...unreached.values()] }
    const root = await this.readRoot(stream)
    let end = Math.max(root.baseOffset, listing.trim)
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

  /** Lists a partition's objects and opens none of them. */
  async list(stream: StreamKey): Promise<Listing> {
    const prefix = partitionPrefix(stream)
    const segments = new Map<number, PlacedObject>()
    const merged = new Map<number, PlacedObject>()
    const extras: ObjectInfo[] = []
    let hasRoot = false
    let trim = 0
    for await (const object of this.store.list(prefix)) {
      const name = parseObjectName(object.key.slice(prefix.length))
      if (name?.kind === 'root') hasRoot = true
      else if (name?.kind === 'segment') segments.set(name.offset, { ...object, offset: name.offset })
      else if (name?.kind === 'merged') merged.set(name.offset, { ...object, offset: name.offset })
      else if (name?.kind === 'trim') trim = Math.max(trim, name.offset)
      else if (name?.kind === 'extra') extras.push(object)
    }
    return { hasRoot, trim, segments, merged, extras }
  }

  /** Reads `root.json`. Throws ARCHIVE_CORRUPT, OBJECT_MISSING. */
  async readRoot(stream: StreamKey): Promise<Root> {
    const key = rootKey(stream)
    const parsed = rootSchema.safeParse(parseJson(await this.store.get(key)))
    if (!parsed.success) {
      throw new MillraceError('ARCHIVE_CORRUPT', `${key}: ${z.prettifyError(parsed.error).replaceAll('\n', ' ')}`)
    }
    return parsed.data
  }

  /** A segment's manifest, from the catalog or from the object. */
  async manifest({ key, size }: { key: string; size: number }): Promise<SegmentManifest> {
    const known = this.#catalog.get(key)
    if (known?.size === size) return known.manifest
    const manifest = await readManifest(this.source(key))
    this.#catalog.put(key, { size, sha256: null, manifest })
    return manifest
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
  async batchesIn({ key }: Link): Promise<readonly ArchivedBatch[]> {
    const known = this.#catalog.batches(key)
    if (known) return known
    const reader = await SegmentReader.open(this.source(key))
    const batches: ArchivedBatch[] = []
    for await (const { header } of reader.batches()) {
      batches.push({ baseOffset: header.baseOffset, lastOffset: header.lastOffset, crc: header.crc })
    }
    this.#catalog.putBatches(key, batches)
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
    this.#catalog.put(key, { size: segment.size, sha256: segment.sha256, manifest: segment.manifest })
    this.#catalog.putBatches(key, segment.batches)
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

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
}

function sha256(body: Buffer): string {
  return createHash('sha256').update(body).digest('hex')
}
