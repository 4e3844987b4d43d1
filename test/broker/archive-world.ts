// An archive with the data of a worker beside it: segments, local copies of them, and a WAL.
import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Archive } from '../../src/archive/archive.ts'
import { Catalog } from '../../src/archive/catalog.ts'
import { segmentKey } from '../../src/archive/layout.ts'
import { openObjectStore } from '../../src/archive/object-store.ts'
import type { ObjectStore } from '../../src/archive/store-contract.ts'
import { WarmSegments } from '../../src/archive/warm-segments.ts'
import { ArchiveLogs } from '../../src/broker/archive/archive-logs.ts'
import type { PartitionLog } from '../../src/broker/log-store.ts'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { batchesOf } from '../../src/kafka/batch.ts'
import type { StreamKey } from '../../src/wal/stream.ts'
import { Wal } from '../../src/wal/wal.ts'
import type { SmallArchive } from '../archive/small-archive.ts'
import { smallArchive } from '../archive/small-archive.ts'
import { tempFolder } from '../support/temp.ts'

const CACHE_BYTES = 8 * 1024 * 1024

export interface ArchiveWorld extends AsyncDisposable {
  readonly small: SmallArchive
  readonly warmFolder: string
  readonly walFolder: string
  wal(): Promise<Wal>
  capture(stream: StreamKey, batches: readonly CanonicalBatch[], flags?: number): Promise<void>
  /** Keeps a local copy of the segment that begins at this offset. */
  keepWarm(stream: StreamKey, baseOffset: number): void
  /** The logs, as `serve` has them; with the WAL unless told. */
  open(options?: {
    wal?: boolean
    cacheBytes?: number
    through?: (store: ObjectStore) => ObjectStore
  }): Promise<ArchiveLogs>
}

export async function archiveWorld(): Promise<ArchiveWorld> {
  const opened = new AsyncDisposableStack()
  const temp = await tempFolder('serve')
  opened.defer(() => temp.dispose())
  const small = opened.use(await smallArchive())
  const walFolder = join(temp.path, 'wal')
  const warmFolder = join(temp.path, 'warm')
  mkdirSync(warmFolder)
  const warm = new WarmSegments(warmFolder, 2 ** 30)
  let wal: Promise<Wal> | null = null
  // Files of few rows each, so that they are deleted as soon as these are archived.
  const settings = { directory: walFolder, maxBytes: 2 ** 30, fileBytes: 1 }
  const openWal = async (): Promise<Wal> => opened.use(await Wal.open(settings))
  return {
    small,
    warmFolder,
    walFolder,
    wal: () => (wal ??= openWal()),
    async capture(stream, batches, flags = 0) {
      await (await (wal ??= openWal())).append(
        batches.map(batch => {
          const { baseOffset, lastOffset, recordCount } = batch.header
          return { stream, baseOffset, lastOffset, recordCount, flags, chunks: [batch.toWire()] }
        })
      )
    },
    keepWarm(stream, baseOffset) {
      const key = segmentKey(stream, baseOffset)
      const copy = join(temp.path, 'copy.tar.gz')
      cpSync(join(small.folder, key), copy)
      warm.keep(key, copy)
    },
    async open({ wal: withWal = true, cacheBytes = CACHE_BYTES, through = (store: ObjectStore) => store } = {}) {
      const store = through(await openObjectStore(small.url, { create: false }))
      const archive = opened.use(new Archive(store, Catalog.open(null, small.url)))
      const walDirectory = withWal && wal !== null ? walFolder : null
      return opened.use(await ArchiveLogs.open({ archive, warm, walDirectory, cacheBytes }))
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync()
  }
}

export async function partitionOf(logs: ArchiveLogs, topic: string, partition = 0): Promise<PartitionLog> {
  const log = (await logs.topic(topic))?.partitions[partition]
  if (log === undefined) throw new Error(`there is no ${topic}-${partition}`)
  return log
}

/** What a client gets that reads on from an offset until there is no more. */
export async function readAll(
  log: PartitionLog,
  { from = log.startOffset, upTo = Number.MAX_SAFE_INTEGER, maxBytes = 1024 * 1024 } = {}
): Promise<CanonicalBatch[]> {
  const all: CanonicalBatch[] = []
  for (let offset = from; ; ) {
    const batches = await log.read(offset, { upTo, maxBytes })
    if (batches.length === 0) return all
    all.push(...batches.flatMap(batch => [...batchesOf(batch)]))
    offset = all.at(-1)!.header.lastOffset + 1
  }
}

/** A batch as it is served: as it was, without its leader epoch. */
export function served(batch: CanonicalBatch): Buffer {
  return batch.withLeaderEpoch(-1).toWire()
}
