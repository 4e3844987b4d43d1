// What searches need of archived segments but their records, so that it need not be fetched and unpacked each time: search
// indexes and term filters, a few in memory and more as files in a folder, and tables of contents.
import { existsSync, readFileSync } from 'node:fs'
import { isMillraceError } from '../errors.ts'
import type { RangeSource } from '../segment/reader.ts'
import { SegmentReader } from '../segment/reader.ts'
import type { Span } from '../segment/search-index.ts'
import { SearchIndex } from '../segment/search-index.ts'
import { TermFilter } from '../segment/term-filter.ts'
import type { Link } from './archive.ts'
import { CachedFiles } from './cached-files.ts'
import { Recent } from './recent.ts'

/** Indexes that stay open though nobody uses them: so many, and no more bytes of those that no file holds. */
const IDLE_INDEXES = 64
const IDLE_BYTES = 256 * 1024 * 1024

/** What of filters is in memory, and how many tables of contents, of some ten KiB each. */
const FILTER_BYTES = 128 * 1024 * 1024
const READERS = 1024

/** A deleted file takes its space for as long as it is open, and a full disk may wait for just that space. */
const LOOK_MS = 1_000

type Segment = Pick<Link, 'key' | 'size' | 'manifest'>

/** Opens a segment; called only where something has to be fetched. */
type OpenSegment = () => Promise<SegmentReader>

/** An index that stays open until this is disposed of. */
export interface IndexLease extends Disposable {
  readonly index: SearchIndex
  readonly spans: readonly Span[]
}

interface OpenIndex {
  readonly index: SearchIndex
  readonly spans: readonly Span[]
  /** Null where it is in memory, with so many bytes. */
  readonly file: string | null
  readonly bytes: number
}

interface LoadedFilter {
  readonly filter: TermFilter
  readonly bytes: number
}

interface Entry {
  readonly opening: Promise<OpenIndex>
  opened: OpenIndex | null
  users: number
}

export class IndexCache implements Disposable {
  readonly #files: CachedFiles | null
  /** By segment, the last used at the end. */
  readonly #entries = new Map<string, Entry>()
  readonly #filters = new Recent<LoadedFilter>(FILTER_BYTES, ({ bytes }) => bytes)
  readonly #readers = new Recent<SegmentReader>(READERS, () => 1)
  readonly #looking: NodeJS.Timeout | null

  /** In a folder, which is made when it is needed, with no more than `maxBytes`; null: in memory alone. */
  constructor(directory: string | null, maxBytes: number) {
    this.#files = directory === null ? null : new CachedFiles(directory, maxBytes)
    this.#looking = directory === null ? null : setInterval(() => this.#closeDeleted(), LOOK_MS).unref()
  }

  /** A segment's reader, which has its table of contents. Throws as `SegmentReader.open`. */
  reader(segment: Segment, source: RangeSource): Promise<SegmentReader> {
    const name = JSON.stringify([identity(segment), source.name])
    return this.#readers.get(name, () => SegmentReader.open(source, segment.manifest))
  }

  /** Tells of a word that no record has it; null in format version 1. Throws SEGMENT_CORRUPT, what the store throws. */
  async filter(segment: Segment, open: OpenSegment): Promise<TermFilter | null> {
    if (segment.manifest.formatVersion < 2) return null
    const id = identity(segment)
    const { filter } = await this.#filters.get(id, () => this.#loadFilter(id, segment.key, open))
    return filter
  }

  /** The search index of a segment. Throws SEGMENT_CORRUPT, what the store throws. */
  async index(segment: Segment, open: OpenSegment): Promise<IndexLease> {
    const id = identity(segment)
    const entry = this.#entries.get(id) ?? { opening: this.#openIndex(id, segment.key, open), opened: null, users: 0 }
    this.#entries.delete(id)
    this.#entries.set(id, entry)
    entry.users++
    try {
      entry.opened = await entry.opening
    } catch (error) {
      entry.users--
      if (this.#entries.get(id) === entry) this.#entries.delete(id)
      throw error
    }
    let isInUse = true
    const release = (): void => {
      if (isInUse) entry.users--
      isInUse = false
      this.#closeIdle()
    }
    const { index, spans } = entry.opened
    return { index, spans, [Symbol.dispose]: release }
  }

  async #loadFilter(id: string, name: string, open: OpenSegment): Promise<LoadedFilter> {
    const file = this.#files?.find(`${id} filter`) ?? null
    const cached = file === null ? null : unlessGone(() => loaded(readFileSync(file), name))
    if (cached !== null) return cached
    const contents = await (await open()).file('filter')
    const filter = loaded(contents, name)
    this.#files?.put(`${id} filter`, contents)
    return filter
  }

  async #openIndex(id: string, name: string, open: OpenSegment): Promise<OpenIndex> {
    const cached = this.#openFile(id, name)
    if (cached !== null) return cached
    const contents = await (await open()).file('search')
    this.#files?.put(`${id} search`, contents)
    const kept = this.#openFile(id, name)
    return kept ?? { ...withSpans(SearchIndex.open(contents, name)), file: null, bytes: contents.length }
  }

  #openFile(id: string, name: string): OpenIndex | null {
    const file = this.#files?.find(`${id} search`) ?? null
    const opened = file === null ? null : unlessGone(() => withSpans(SearchIndex.openFile(file, name)))
    return opened === null ? null : { ...opened, file, bytes: 0 }
  }

  #closeIdle(): void {
    let count = 0
    let bytes = 0
    for (const [id, { users, opened }] of [...this.#entries].reverse()) {
      if (users > 0 || opened === null) continue
      count++
      bytes += opened.bytes
      if (count > IDLE_INDEXES || bytes > IDLE_BYTES) this.#close(id, opened)
    }
  }

  #closeDeleted(): void {
    for (const [id, { users, opened }] of this.#entries) {
      const isDeleted = opened !== null && opened.file !== null && !existsSync(opened.file)
      if (users === 0 && isDeleted) this.#close(id, opened)
    }
  }

  #close(id: string, { index }: OpenIndex): void {
    this.#entries.delete(id)
    index[Symbol.dispose]()
  }

  /** Closes all that is open: nobody may use it any more. */
  [Symbol.dispose](): void {
    if (this.#looking !== null) clearInterval(this.#looking)
    for (const [id, { opened }] of this.#entries) if (opened !== null) this.#close(id, opened)
    this.#filters.clear()
    this.#readers.clear()
  }
}

/** Keys alone would mix up the archives that one worker has had. */
function identity({ key, size, manifest }: Segment): string {
  return JSON.stringify([key, size, manifest.chainSha256])
}

function loaded(contents: Buffer, name: string): LoadedFilter {
  return { filter: TermFilter.from(contents, name), bytes: contents.length }
}

function withSpans(index: SearchIndex): Pick<OpenIndex, 'index' | 'spans'> {
  try {
    return { index, spans: index.spans() }
  } catch (error) {
    index[Symbol.dispose]()
    throw error
  }
}

/** Null for a file that another process dropped after it was found: it cannot be opened, and is fetched. */
function unlessGone<T>(work: () => T): T | null {
  try {
    return work()
  } catch (error) {
    if (isMillraceError(error, 'SEGMENT_CORRUPT') || (error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}
