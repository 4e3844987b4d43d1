// Some records of every kind, and places to have them in: a WAL, an archive, local copies.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import { expect } from 'vitest'
import { Archive } from '../../src/archive/archive.ts'
import { Catalog } from '../../src/archive/catalog.ts'
import { IndexCache } from '../../src/archive/index-cache.ts'
import { segmentKey } from '../../src/archive/layout.ts'
import { openObjectStore } from '../../src/archive/object-store.ts'
import { WarmSegments } from '../../src/archive/warm-segments.ts'
import { CanonicalBatch, encodeBatch } from '../../src/kafka/batch.ts'
import type { KafkaRecord } from '../../src/kafka/records.ts'
import { recordJson } from '../../src/search/record-json.ts'
import type { SearchPlaces } from '../../src/search/search.ts'
import { count, search } from '../../src/search/search.ts'
import type { SelectionFlags } from '../../src/search/selection.ts'
import { parseSelection } from '../../src/search/selection.ts'
import type { SegmentManifest } from '../../src/segment/manifest.ts'
import { writeSegment } from '../../src/segment/writer.ts'
import { WalReader } from '../../src/wal/reader.ts'
import type { StreamKey } from '../../src/wal/stream.ts'
import { Wal } from '../../src/wal/wal.ts'
import type { TempFolder } from '../support/temp.ts'
import { tempFolder } from '../support/temp.ts'

export const START = Date.UTC(2026, 10, 24)
export const ORDERS = 'b3JkZXJzLW9yZGVycy1vcg'
export const EVENTS = 'ZXZlbnRzLWV2ZW50cy1ldg'
export const RENEWED = 'cmVuZXdlZC1yZW5ld2VkLQ'

export function streamOf(topic: string, topicId: string, partition: number): StreamKey {
  return { clusterId: 'cluster', topic, topicId, partition }
}

export interface Log {
  readonly stream: StreamKey
  readonly batches: readonly CanonicalBatch[]
}

const words = [
  'apple',
  'banana',
  'cherry',
  'Éclair',
  'order-77',
  'order-78',
  'NOT',
  '東京',
  'fig',
  'grape',
  'x1',
  'x12'
]

/** Numbers that look random and are the same in each run. */
export function* numbers(seed: number): Generator<number> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    yield state >>> 8
  }
}

function makeLog(stream: StreamKey, seed: number): Log {
  const random = numbers(seed)
  const below = (limit: number): number => random.next().value! % limit
  const phrase = (): string => Array.from({ length: 1 + below(4) }, () => words[below(words.length)]).join(' ')
  const content = (): Buffer | null => {
    const kind = below(10)
    if (kind === 0) return null
    if (kind === 1) return Buffer.concat([Buffer.of(0xff, 0x00), Buffer.from(phrase())])
    return Buffer.from(kind === 2 ? JSON.stringify({ text: phrase(), n: below(100) }) : phrase())
  }
  const batches: CanonicalBatch[] = []
  for (let offset = below(3), i = 0; i < 24; i++) {
    const records: KafkaRecord[] = []
    for (let count = 1 + below(9); count > 0; count--) {
      const headers = Array.from({ length: below(3) }, () => [words[below(4)]!, content()] as const)
      // Out of order, and equal over partitions.
      records.push({ offset, timestamp: START + below(200) * 60_000, key: content(), value: content(), headers })
      offset += below(6) === 0 ? 2 : 1 // compaction leaves holes inside batches
    }
    const codec = (['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)[i % 5]!
    const batch = encodeBatch(records, { codec })
    batches.push(i % 11 === 3 ? withAttributes(batch, 0x30) : i % 11 === 5 ? withAttributes(batch, 0x08) : batch)
    offset = batch.header.lastOffset + 1
  }
  return { stream, batches }
}

/** The batch as a control batch (0x30) or one with the broker's time (0x08). */
function withAttributes(batch: CanonicalBatch, bits: number): CanonicalBatch {
  const wire = Buffer.from(batch.toWire())
  wire.writeInt16BE(wire.readInt16BE(21) | bits, 21)
  wire.writeUInt32BE(crc32c(wire.subarray(21)), 17)
  return CanonicalBatch.fromWire(wire).batch
}

/** Two partitions of a topic and one of another, with all codecs, control batches and the broker's time. */
export const logs: readonly Log[] = [
  makeLog(streamOf('orders', ORDERS, 0), 1),
  makeLog(streamOf('orders', ORDERS, 1), 2),
  makeLog(streamOf('events', EVENTS, 0), 3)
]

/** Archive, WAL and local copies in a folder of their own. */
export class World implements AsyncDisposable {
  readonly #folder: TempFolder
  readonly archive: Archive
  readonly wal: Wal
  readonly warm: WarmSegments
  readonly indexes: IndexCache
  readonly warmFolder: string
  readonly walFolder: string
  readonly #ends = new Map<StreamKey, SegmentManifest>()

  private constructor(folder: TempFolder, archive: Archive, wal: Wal) {
    this.#folder = folder
    this.archive = archive
    this.wal = wal
    this.walFolder = join(folder.path, 'wal')
    this.warmFolder = join(folder.path, 'warm')
    this.warm = new WarmSegments(this.warmFolder, 2 ** 30)
    mkdirSync(this.warmFolder)
    this.indexes = new IndexCache(join(folder.path, 'indexes'), 2 ** 30)
  }

  /** WAL files are small where they are to be deleted. */
  static async make(fileBytes?: number): Promise<World> {
    const folder = await tempFolder('search')
    const store = await openObjectStore(`file:${join(folder.path, 'archive')}`)
    const wal = await Wal.open({ directory: join(folder.path, 'wal'), maxBytes: 2 ** 30, fileBytes })
    return new World(folder, new Archive(store, Catalog.open(null, store.url)), wal)
  }

  async capture(stream: StreamKey, batches: readonly CanonicalBatch[], flags = 0): Promise<void> {
    await this.wal.append(
      batches.map(batch => {
        const { baseOffset, lastOffset, recordCount } = batch.header
        return { stream, baseOffset, lastOffset, recordCount, flags, chunks: [batch.toWire()] }
      })
    )
  }

  /** Archives batches as the partition's next segment, after those archived before. */
  async ship(
    stream: StreamKey,
    batches: readonly CanonicalBatch[],
    keepWarm: boolean,
    maxDecompressedBytes?: number
  ): Promise<void> {
    const baseOffset = batches[0]!.header.baseOffset
    const last = this.#ends.get(stream)
    if (last === undefined) await this.archive.createRoot(stream, baseOffset, 'test')
    const plan = {
      ...stream,
      baseOffset: last?.nextOffset ?? baseOffset,
      nextOffset: batches.at(-1)!.header.lastOffset + 1,
      gaps: [],
      previousChainSha256: last?.chainSha256 ?? null,
      openTransactions: last?.openTransactions ?? []
    }
    const file = join(this.#folder.path, 'segment.tar.gz')
    const segment = writeSegment(
      { ...plan, createdBy: 'test' },
      batches.map(batch => ({ batch, fromBroker: true })),
      file,
      maxDecompressedBytes
    )
    expect(await this.archive.append(stream, segment)).not.toBeNull()
    if (keepWarm) this.warm.keep(segmentKey(stream, plan.baseOffset), file)
    this.#ends.set(stream, segment.manifest)
  }

  async search(query: string, flags: SelectionFlags, hidden: Partial<SearchPlaces> = {}) {
    using reader = WalReader.open(this.walFolder)
    const places = { archive: this.archive, warm: this.warm, indexes: this.indexes, wal: reader, ...hidden }
    const selection = parseSelection({ limit: 1_000, ...flags })
    const result = await search(places, selection, query)
    const found = await Array.fromAsync(result.records)
    expect(found.length).toBeLessThanOrEqual(selection.limit)
    return {
      next: result.next(),
      records: found.map(({ tier, ...record }) => record),
      tiers: new Set(found.map(({ tier }) => tier)),
      lines: found.map(record => JSON.stringify({ ...recordJson(record), tier: null })),
      unknownTopics: result.unknownTopics,
      notSearched: result.notSearched()
    }
  }

  async count(query: string, flags: SelectionFlags, hidden: Partial<SearchPlaces> = {}) {
    using reader = WalReader.open(this.walFolder)
    const places = { archive: this.archive, warm: this.warm, indexes: this.indexes, wal: reader, ...hidden }
    return await count(places, parseSelection(flags), query)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.indexes[Symbol.dispose]()
    await this.wal[Symbol.asyncDispose]()
    await this.archive[Symbol.asyncDispose]()
    await this.#folder.dispose()
  }
}

/** Cuts a log into pieces of a few batches. */
export function pieces({ batches }: Log): CanonicalBatch[][] {
  return [batches.slice(0, 5), batches.slice(5, 6), batches.slice(6, 17), batches.slice(17)].map(piece => [...piece])
}
