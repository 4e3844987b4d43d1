// The thread in which the HTTP door's searches run: reading segments and asking indexes would hold up the produce path.
import { parentPort, workerData } from 'node:worker_threads'
import { Archive } from '../archive/archive.ts'
import { Catalog } from '../archive/catalog.ts'
import { IndexCache } from '../archive/index-cache.ts'
import { RememberedArchive } from '../archive/remembered.ts'
import { WarmSegments } from '../archive/warm-segments.ts'
import { bundledConnectors } from '../bundled-connectors.ts'
import type { Configuration, WorkerConfig } from '../config.ts'
import type { ArchiveConnector } from '../connect/connector.ts'
import { dataFolders } from '../data-folders.ts'
import { lowerThreadPriority, ThreadPriority } from '../low-priority.ts'
import type { FollowState } from '../search/follow.ts'
import { HotIndexes } from '../search/hot-index.ts'
import type { SearchPlaces } from '../search/sources.ts'
import { WalReader } from '../wal/reader.ts'
import type { Asked, FollowAnswer } from './answers.ts'
import { countAnswer, followAnswer, recordsAnswer, searchAnswer, suggesting } from './answers.ts'
import type { RecordsParameters, SuggestParameters } from './parameters.ts'

/** The calls that the thread answers, one after the other. What they give is JSON. */
export interface SearchCalls {
  search(asked: Asked): Promise<Uint8Array>
  count(asked: Asked): Promise<Uint8Array>
  /** Null begins. */
  follow(asked: Asked & { readonly state: FollowState | null }): Promise<FollowAnswer>
  /** Null where there is no such partition. */
  records(parameters: RecordsParameters): Promise<Uint8Array | null>
  suggest(parameters: SuggestParameters): Promise<Uint8Array>
}

/** What the thread is started with. */
export interface SearchThreadData {
  readonly worker: Pick<WorkerConfig, 'data.dir' | 'warm.max.bytes' | 'cache.max.bytes' | 'max.decompressed.bytes'>
  /** A store cannot be handed to a thread: it is opened here once more. */
  readonly archive: { readonly connector: string; readonly values: Configuration['archive']['values'] }
}

export interface SearchRequest {
  readonly id: number
  readonly call: keyof SearchCalls
  readonly args: unknown
  /** In memory that both threads see: not 0 once nobody waits for the answer. */
  readonly stop: Int32Array
}

export interface SearchAnswer {
  readonly id: number
  readonly result?: unknown
  readonly error?: { readonly code: string | undefined; readonly message: string; readonly hint: string | undefined }
}

/** A deleted file takes its space for as long as it is open, and a full disk may wait for just that space. */
const CLOSE_DELETED_MS = 1000
/** The WAL's index takes memory with each of its frames: after so long without a search it is let go. */
const IDLE_MS = 60_000
/** Those who follow look at the archive as it was so long ago at most, as each look at it costs a listing. */
const FOLLOWED_ARCHIVE_MS = 5000

type Answering = {
  readonly [C in keyof SearchCalls]: (places: SearchPlaces, args: never) => ReturnType<SearchCalls[C]>
}

const answering: Answering = {
  search: searchAnswer,
  count: countAnswer,
  follow: followAnswer,
  records: recordsAnswer,
  suggest: suggesting()
}

lowerThreadPriority(ThreadPriority.BELOW_NORMAL)
let opening: Promise<OpenPlaces> | null = null
let isBusy = false
let answeredAt = 0

parentPort!.on('message', async ({ id, call, args, stop }: SearchRequest) => {
  isBusy = true
  let answer: SearchAnswer
  try {
    const { all, followed } = await places()
    const checkWanted = (): void => {
      if (Atomics.load(stop, 0) !== 0) throw new Error('nobody waits for this answer')
    }
    const reachable = { ...(call === 'follow' ? followed : all), checkWanted }
    answer = { id, result: await answering[call](reachable, args as never) }
  } catch (error) {
    const { code, message, hint } = error as { code?: string; message: string; hint?: string }
    answer = { id, error: { code, message, hint } }
  }
  isBusy = false
  answeredAt = performance.now()
  parentPort!.postMessage(answer, bytesOf(answer))
})

/** What goes to the main thread as it is, and is not copied there. */
function bytesOf({ result }: SearchAnswer): ArrayBuffer[] {
  const bytes = (result as FollowAnswer | undefined | null)?.lines ?? result
  return bytes instanceof Uint8Array ? [bytes.buffer as ArrayBuffer] : []
}

interface OpenPlaces {
  readonly all: SearchPlaces
  /** For those who look again and again. */
  readonly followed: SearchPlaces
}

/** Opened once for all searches, and once more where that failed. */
function places(): Promise<OpenPlaces> {
  opening ??= open(workerData as SearchThreadData).catch(error => {
    opening = null
    throw error
  })
  return opening
}

async function open({ worker, archive: sink }: SearchThreadData): Promise<OpenPlaces> {
  const folders = dataFolders(worker['data.dir'])
  const connector = bundledConnectors.find(({ name }) => name === sink.connector) as ArchiveConnector
  const store = await connector.open(sink.values, { create: false })
  const wal = WalReader.open(folders.wal)
  setInterval(() => {
    if (isBusy) return // a search that is under way may still read what it has found
    if (performance.now() - answeredAt > IDLE_MS) wal.close()
    else wal.closeDeleted()
  }, CLOSE_DELETED_MS)
  const archive = new Archive(store, Catalog.open(folders.catalog, store.url))
  const all: SearchPlaces = {
    archive,
    warm: new WarmSegments(folders.warm, worker['warm.max.bytes']),
    indexes: new IndexCache(folders.searchIndexes, worker['cache.max.bytes']),
    hotIndexes: new HotIndexes(folders.hotIndex),
    wal,
    maxDecompressedBytes: worker['max.decompressed.bytes']
  }
  return { all, followed: { ...all, archive: new RememberedArchive(archive, FOLLOWED_ARCHIVE_MS) } }
}
