// The write-ahead log as the rest of Millrace sees it: append resolves when the batches are on the disk, release lets go of
// what the archive holds. The work is done in the WAL thread (thread.ts); here every batch is copied once, into its frame.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { MillraceError } from '../errors.ts'
import { threadFile } from '../thread-file.ts'
import { layFrames, StreamNumbers } from './frame-layout.ts'
import type { PlacedRow, RowPlace, StreamState } from './ledger.ts'
import { Ledger } from './ledger.ts'
import { Listeners } from './listeners.ts'
import type { CapturedBatch, FileState, Report, Request, ThreadOptions } from './messages.ts'
import { fromPlain } from './messages.ts'
import type { RecoveryReport } from './recovery-report.ts'
import { reportOf } from './recovery-report.ts'
import type { StreamKey } from './stream.ts'
import { streamId } from './stream.ts'
import { WaitingAppends } from './waiting-appends.ts'
import type { WalHealth } from './wal-health.ts'
import { HealthWatch } from './wal-health.ts'

export type { PlacedRow, RowPlace, StreamState } from './ledger.ts'
export type { CapturedBatch } from './messages.ts'
export type { WalHealth } from './wal-health.ts'

export interface WalOptions {
  /** The folder that holds `<n>.wal`; made if it is not there, never shared with another process. */
  readonly directory: string
  /** What all files together may take before appends are refused. */
  readonly maxBytes: number
  /** The size at which the next file begins, 256 MiB unless told; never more than a quarter of `maxBytes`. */
  readonly fileBytes?: number | undefined
  /** What appends leave free on the disk for sealing, 0 unless told. */
  readonly reserveBytes?: number | undefined
}

export interface AppendOptions {
  readonly beyondLimit?: boolean
  readonly keepRepeats?: boolean
}

const FILE_BYTES = 256 * 1024 * 1024
/** What is copied at a time, about: appends wait for no more than that. */
const MOVE_BYTES = 512 * 1024

type Ready = Extract<Report, { kind: 'ready' }>

export class Wal implements AsyncDisposable {
  readonly #worker: Worker
  readonly #exited: Promise<unknown>
  readonly #ledger = new Ledger()
  readonly #streams: StreamNumbers
  readonly #waiting = new WaitingAppends()
  readonly #health: HealthWatch
  readonly #commits = new Listeners<number>()
  readonly #setAside = new Listeners<string>()
  #failuresHeard = 0
  /** What was found at the start. */
  readonly recovery: RecoveryReport
  #closed: Promise<void> | undefined

  private constructor(worker: Worker, ready: Ready, { maxBytes }: WalOptions, exited: Promise<unknown>) {
    this.#worker = worker
    this.#health = new HealthWatch(
      maxBytes,
      () => this.bytes + this.waitingBytes,
      () => this.#waiting.longestMs
    )
    this.#streams = new StreamNumbers(ready.streams)
    for (const file of ready.recovered) {
      this.#ledger.sawFile(file)
      this.#ledger.adopt(file.file, file.rows)
      const places = (ids: readonly number[]) => ids.map(id => ({ file: file.file, id }))
      this.#ledger.giveUp(places(file.lost))
      this.#ledger.release(places(file.unreadable)) // nobody knows what they were
    }
    this.recovery = reportOf(ready.recovered)
    this.#ledger.sawFile(ready.newest)
    this.#health.shortage = ready.shortage && fromPlain(ready.shortage)
    this.#health.tell() // whoever listens looks at health first: only its changes are news
    worker.on('message', (report: Report) => this.#receive(report))
    worker.on('error', cause => this.#end(cause))
    this.#exited = exited.then(
      () => this.#end(),
      () => undefined // the error event above said it
    )
    this.#deleteSpent()
  }

  /**
   * Locks the folder, checks and recovers what an earlier run left, and begins a new file. What is damaged is said in
   * `recovery`, and does not keep it from opening.
   * Throws DATA_LOCKED, CONFIG_INVALID, WAL_CORRUPT (files of another version; nothing was changed) or WAL_FAILED.
   */
  static async open(options: WalOptions): Promise<Wal> {
    const { directory, maxBytes, fileBytes = FILE_BYTES, reserveBytes = 0 } = options
    const workerData: ThreadOptions = { directory, fileBytes: Math.min(fileBytes, maxBytes / 4), reserveBytes }
    const worker = new Worker(threadFile(new URL('./thread.ts', import.meta.url)), { workerData, name: 'wal' })
    const exited = once(worker, 'exit') // listened for at once: it may come in the same turn as the message
    const [first] = (await Promise.race([once(worker, 'message'), exited])) as [Report | number]
    if (typeof first === 'number') throw new MillraceError('WAL_FAILED', `the WAL thread ended with code ${first}`)
    if (first.kind === 'ready') return new Wal(worker, first, options, exited)
    await exited
    if (first.kind === 'unready') throw fromPlain(first.error)
    throw new TypeError(`the WAL thread began with ${first.kind}`)
  }

  /**
   * Resolves when all the batches are on the disk, each in a row or found there already. A batch is kept beside another
   * one at the same offset, and beside itself under other flags; with `keepRepeats` every batch gets a row of its own. The
   * chunks are not used after the call returned.
   * Rejects, and none counts as stored: WAL_FAILED (the disk; then nothing is stored either that was appended before the failure
   * was heard of), BATCH_CORRUPT (size or CRC), and, unless with `beyondLimit`, for what makes room afterwards, WAL_FULL (maxBytes
   * or reserveBytes) and WAL_FAILED of a disk that hangs.
   */
  async append(
    batches: readonly CapturedBatch[],
    { beyondLimit = false, keepRepeats = false }: AppendOptions = {}
  ): Promise<void> {
    if (batches.length === 0) return
    const refusal = this.#refusal(beyondLimit)
    if (refusal !== undefined) {
      this.#waiting.countRefusal()
      throw refusal
    }
    const { memory } = this.#waiting
    const { region, bytes, refs } = layFrames(batches, this.#streams, memory)
    const { id, done } = this.#waiting.add(bytes, region)
    const [slabs, streams, failuresHeard] = [memory.takeNew(), this.#streams.takeNew(), this.#failuresHeard]
    const { slab } = region
    this.#send({ kind: 'append', id, slab, bytes, refs, slabs, streams, keepRepeats, beyondLimit, failuresHeard })
    await done
  }

  /** Why an append is not even tried. */
  #refusal(beyondLimit: boolean): MillraceError | undefined {
    if (this.#closed !== undefined) return closedError()
    if (this.#health.failed !== undefined) return this.#health.failed
    const refusal = beyondLimit ? undefined : this.#health.refusal
    if (refusal === undefined) return undefined
    this.#health.tell()
    this.#deleteSpent()
    return refusal
  }

  /** The streams of which something is not released. */
  streams(): StreamState[] {
    return this.#ledger.states(this.#streams.keys)
  }

  /** The lowest offset of a stream that is not released; undefined when all is. */
  firstUnreleased(stream: StreamKey): number | undefined {
    const id = streamId(stream)
    return this.streams().find(({ key }) => streamId(key) === id)?.firstOffset
  }

  /**
   * Lets go of frames that the archive holds. A file of which nothing is needed is deleted, except the newest. This is
   * not stored: after a restart the archive is asked again.
   */
  release(rows: readonly RowPlace[]): void {
    this.#ledger.release(rows)
    this.#deleteSpent()
  }

  /**
   * Takes note that rows cannot be read: they count as released for whoever looks for rows, but stay needed until what they
   * held is archived from elsewhere, and their files are set aside, not deleted.
   */
  giveUp(rows: readonly RowPlace[]): void {
    this.#ledger.giveUp(rows)
    for (const file of new Set(rows.map(({ file }) => file))) this.#send({ kind: 'damaged', file })
  }

  /** Lets go of all that was appended to some streams so far. */
  releaseStreams(streams: readonly StreamKey[]): void {
    this.#ledger.releaseStreams(new Set(streams.map(key => this.#streams.get(key).number)))
    this.#deleteSpent()
  }

  /** By file, oldest first, the streams of which it holds something that is not released. */
  *streamsByFile(): Generator<StreamKey[]> {
    for (const streams of this.#ledger.streamsByFile()) yield streams.map(stream => this.#streams.keys[stream]!)
  }

  /**
   * Frees the oldest file of which less than a tenth is not released, if there is one beside the newest two: copies that
   * into the newest file, a little at a time, and deletes it. To be called while nobody is between finding rows and releasing
   * them, since the rows get other places. Rejects with WAL_FAILED; then the file stays.
   */
  async freeSparseFile(): Promise<void> {
    for (let file: number | undefined; this.#closed === undefined && this.#health.failed === undefined; ) {
      const sparse = this.#ledger.sparseFile(MOVE_BYTES)
      if (sparse === undefined || sparse.file !== (file ?? sparse.file)) return
      file = sparse.file
      const { id, done } = this.#waiting.add(0)
      this.#send({ kind: 'move', id, ...sparse })
      await done
    }
  }

  /** The oldest file that takes no more appends: the last offset of each stream in it that is not released. */
  oldestFile(): { readonly file: number; readonly lastOffsets: ReadonlyMap<StreamKey, number> } | undefined {
    const file = this.#ledger.oldest
    if (file === undefined) return undefined
    const lastOffsets = this.#ledger.lastOffsets(file).entries()
    return { file, lastOffsets: new Map(lastOffsets.map(([stream, last]) => [this.#streams.keys[stream]!, last])) }
  }

  /** Lets go of a whole file. */
  releaseFile(file: number): void {
    this.#ledger.releaseFile(file)
    this.#deleteSpent()
  }

  /** True when the row was released or cannot be read, or its whole file is gone. */
  isReleased(file: number, id: number): boolean {
    return this.#ledger.isReleased({ file, id })
  }

  /** Whether a row is what was appended at its place: where it is not, its head is damaged. */
  isAsAppended(row: PlacedRow): boolean {
    return this.#ledger.isAsAppended(row)
  }

  /** The rows of a stream that begin below an offset and are not released, those too that cannot be read. */
  needed(stream: StreamKey, below: number): PlacedRow[] {
    return this.#ledger.needed(this.#streams.get(stream).number, below)
  }

  /** What the files take on the disk. */
  get bytes(): number {
    return this.#ledger.bytesOnDisk
  }

  /** What they take but for those that are being deleted. */
  get heldBytes(): number {
    return this.#ledger.heldBytes
  }

  /** What the appends take that are under way. */
  get waitingBytes(): number {
    return this.#waiting.bytes
  }

  /** Whether an append would be taken now; if not, with which error it is refused. */
  get health(): WalHealth {
    this.#health.tell() // of a disk that hangs nothing else is heard
    return this.#health.now
  }

  /** Calls the listener whenever health turns good or bad, or bad for another reason. Returns its remover. */
  onHealthChange(listener: (health: WalHealth) => void): () => void {
    return this.#health.changes.add(listener)
  }

  /** Appends that were rejected since the start. */
  get appendFailures(): number {
    return this.#waiting.failures
  }

  /** Calls the listener with the seconds that each commit took. Returns its remover. */
  onCommit(listener: (seconds: number) => void): () => void {
    return this.#commits.add(listener)
  }

  /** Calls the listener with the new name of each damaged file that is set aside. Returns its remover. */
  onSetAside(listener: (path: string) => void): () => void {
    return this.#setAside.add(listener)
  }

  /** Waits for the appends that are under way, then closes the files as they are: nothing is moved or deleted. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      this.#send({ kind: 'close' })
      await this.#exited
    })()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #send(request: Request): void {
    this.#worker.postMessage(request)
  }

  #receive(report: Report): void {
    switch (report.kind) {
      case 'committed':
        this.#saw(report.newest)
        this.#ledger.add(report.newest.file, report.rows)
        for (const id of report.appends) this.#waiting.resolve(id)
        this.#commits.tell(report.ms / 1000)
        break
      case 'refused': {
        const error = fromPlain(report.error)
        for (const id of report.appends) this.#waiting.refuse(id, error)
        break
      }
      case 'moved':
        this.#saw(report.newest)
        this.#ledger.add(report.newest.file, report.rows)
        this.release(report.ids.map(id => ({ file: report.file, id })))
        this.#waiting.resolve(report.id)
        break
      case 'unmoved':
        this.#waiting.reject(report.id, fromPlain(report.error))
        break
      case 'shortage':
        this.#health.shortage = report.error && fromPlain(report.error)
        this.#deleteSpent()
        break
      case 'failing':
        this.#failuresHeard += 1
        this.#health.failed = fromPlain(report.error)
        break
      case 'healthy':
        this.#health.failed = undefined
        this.#saw(report.newest)
        break
      case 'opened':
        this.#saw(report.newest)
        break
      case 'deleted':
        this.#ledger.forget(report.file)
        if (report.setAside !== undefined) this.#setAside.tell(report.setAside)
        break
      case 'undeleted':
        this.#ledger.keep(report.file)
    }
    this.#health.tell()
  }

  #saw(newest: FileState): void {
    const isNew = newest.file !== this.#ledger.newest
    this.#ledger.sawFile(newest)
    if (isNew) this.#deleteSpent()
  }

  /** The newest file cannot be deleted: when there is no room and nobody needs what it holds, the next one is begun first. */
  #deleteSpent(): void {
    if (this.#closed !== undefined) return
    for (const file of this.#ledger.takeSpent()) this.#send({ kind: 'delete', file })
    if (this.#health.lack !== undefined && this.#ledger.newestIsSpent) this.#send({ kind: 'rotate' })
  }

  /** The thread is gone: what waits will not be answered any more. */
  #end(cause?: unknown): void {
    if (this.#closed === undefined) {
      const message = 'the WAL thread ended unexpectedly'
      this.#health.failed = new MillraceError('WAL_FAILED', message, { cause, retriable: false })
      this.#health.tell()
    }
    this.#waiting.refuseAll(this.#health.failed ?? closedError())
  }
}

function closedError(): MillraceError {
  return new MillraceError('WAL_FAILED', 'the WAL is closed', { retriable: false })
}
