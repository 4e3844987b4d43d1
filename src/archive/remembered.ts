// An archive that is asked again and again, by somebody who follows it: what it says is good for a while, as a listing costs.
import { isMillraceError } from '../errors.ts'
import type { RangeSource } from '../segment/reader.ts'
import type { StreamKey } from '../wal/stream.ts'
import { streamId } from '../wal/stream.ts'
import type { Chain, Listing, ReadableArchive, Root } from './archive.ts'

interface Listed {
  readonly stream: StreamKey
  readonly listing: Listing
}

/** Gives the same partitions and chains for so many milliseconds; or until one of their objects is gone. */
export class RememberedArchive implements ReadableArchive {
  readonly #archive: ReadableArchive
  readonly #ms: number
  #askedMs = Number.NEGATIVE_INFINITY
  #listings: Promise<Listed[]> | null = null
  readonly #chains = new Map<string, Promise<Chain>>()

  constructor(archive: ReadableArchive, ms: number) {
    this.#archive = archive
    this.#ms = ms
  }

  async *partitions(): AsyncGenerator<StreamKey> {
    for await (const { stream } of this.listings()) yield stream
  }

  async *listings(): AsyncGenerator<Listed> {
    if (performance.now() - this.#askedMs > this.#ms) this.#forget()
    this.#listings ??= Array.fromAsync(this.#archive.listings())
    yield* await this.#unlessFailed(this.#listings)
  }

  walk(stream: StreamKey, listing?: Listing): Promise<Chain> {
    const id = streamId(stream)
    let chain = this.#chains.get(id)
    if (chain === undefined) this.#chains.set(id, (chain = this.#archive.walk(stream, listing)))
    return this.#unlessFailed(chain)
  }

  readRoot(stream: StreamKey): Promise<Root> {
    return this.#archive.readRoot(stream)
  }

  source(key: string): RangeSource {
    const { name, get, tail } = this.#archive.source(key)
    return {
      name,
      get: (start, end) => this.#unlessFailed(get(start, end)),
      tail: bytes => this.#unlessFailed(tail(bytes))
    }
  }

  async #unlessFailed<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      if (isMillraceError(error)) this.#forget()
      throw error
    }
  }

  #forget(): void {
    this.#askedMs = performance.now()
    this.#listings = null
    this.#chains.clear()
  }
}
