// The WAL thread: the only one that writes WAL files. Whatever arrives while a commit runs is the next transaction (group
// commit). After a failed write nothing is stored until a new file could be begun, which is tried every second.
import { parentPort, workerData } from 'node:worker_threads'
import { crc32c } from '@node-rs/crc32'
import type Database from 'better-sqlite3'
import { MillraceError, messageOf } from '../errors.ts'
import { batchSize, parseBatchHeader } from '../kafka/batch.ts'
import { isSqliteError } from './database.ts'
import { freeBytes, shortageOf } from './disk-reserve.ts'
import { sealFrame } from './frame.ts'
import type { AppendRequest, FrameRef, MoveRequest, PlainError, Report, Request, ThreadOptions } from './messages.ts'
import { toPlain } from './messages.ts'
import { lockFolder } from './recovery.ts'
import type { SealedAppend, SealedFrame } from './store.ts'
import { WalStore } from './store.ts'

/** A transaction's bytes, about: more waiting appends than that are left for the next one. */
const GROUP_BYTES = 16 * 1024 * 1024
const PROBE_MS = 1000
/** How often the disk is asked what it has free; also asked after `GROUP_BYTES` of appends. */
const RESERVE_LOOK_MS = 1000
/** A batch's CRC covers it from here on. */
const BATCH_CRC_START = 21

const port = parentPort!
const options: ThreadOptions = workerData
const report = (message: Report) => port.postMessage(message)

class WalThread {
  readonly #store: WalStore
  readonly #lock: Database.Database
  #queue: AppendRequest[] = []
  #scheduled = false
  /** Set from a failed write until a new file is open, as is the timer that tries to open one. */
  #failing = false
  #failure: PlainError | undefined
  #failures = 0
  #probe: NodeJS.Timeout | undefined
  /** Set while the disk has less free than its reserve. */
  #shortage: PlainError | undefined
  #bytesSinceLook = 0
  readonly #looks: NodeJS.Timeout
  readonly #deletions = new Set<Promise<void>>()

  constructor(lock: Database.Database, store: WalStore) {
    this.#lock = lock
    this.#store = store
    this.#shortage = this.#lookAtDisk()
    this.#looks = setInterval(this.#look, RESERVE_LOOK_MS)
  }

  get shortage(): PlainError | undefined {
    return this.#shortage
  }

  readonly receive = (request: Request): void => {
    if (request.kind === 'append') this.#enqueue(request)
    else if (request.kind === 'move') this.#move(request)
    else if (request.kind === 'delete') this.#delete(request.file)
    else if (request.kind === 'rotate') this.#rotate()
    else void this.#close()
  }

  #enqueue(request: AppendRequest): void {
    for (const key of request.streams) this.#store.streams.numberOf(key)
    if (this.#failing || request.failuresHeard < this.#failures) {
      report({ kind: 'refused', appends: [request.id], error: this.#failure! })
      return
    }
    this.#queue.push(request)
    if (!this.#scheduled) {
      this.#scheduled = true
      setImmediate(this.#run) // not at once: what else has arrived comes first
    }
  }

  readonly #run = (): void => {
    this.#scheduled = false
    this.#commit(this.#takeGroup())
    if (this.#queue.length > 0) {
      this.#scheduled = true
      setImmediate(this.#run)
    }
  }

  #takeGroup(): AppendRequest[] {
    let count = 0
    for (let bytes = 0; count < this.#queue.length && bytes < GROUP_BYTES; count++) {
      bytes += this.#queue[count]!.frames.byteLength
    }
    return this.#queue.splice(0, count)
  }

  #commit(group: readonly AppendRequest[]): void {
    const appends = group.flatMap(request => this.#sealed(request))
    if (appends.length === 0) return
    try {
      const began = performance.now()
      const rows = this.#store.commit(appends)
      const ms = performance.now() - began
      const ids = appends.map(({ request }) => request.id)
      report({ kind: 'committed', newest: this.#store.newest, ms, appends: ids, rows })
      this.#bytesSinceLook += group.reduce((sum, { frames }) => sum + frames.byteLength, 0)
      if (this.#bytesSinceLook >= GROUP_BYTES) this.#look()
    } catch (cause) {
      this.#fail(cause, appends)
    }
  }

  /** The append with its CRCs checked and filled in; nothing, and a refusal, when it may not be stored. */
  #sealed(request: AppendRequest): SealedAppend[] {
    if (this.#shortage !== undefined && !request.beyondLimit) {
      report({ kind: 'refused', appends: [request.id], error: this.#shortage })
      return []
    }
    try {
      return [{ request, frames: request.refs.map(ref => sealed(request.frames, ref)) }]
    } catch (error) {
      report({ kind: 'refused', appends: [request.id], error: toPlain(error) })
      return []
    }
  }

  /** Refuses all that is in hand and in the queue, so that nothing after the failure is acknowledged before it. */
  #fail(cause: unknown, appends: readonly SealedAppend[]): void {
    const error = toPlain(failure(cause))
    const refused = [...appends.map(({ request }) => request), ...this.#queue.splice(0)]
    const bytes = refused.reduce((sum, { frames }) => sum + frames.byteLength, 0)
    this.#failing = true
    this.#failure = error
    this.#failures += 1
    report({ kind: 'failing', error })
    report({ kind: 'refused', appends: refused.map(({ id }) => id), error })
    this.#startProbe(bytes)
  }

  /** Looks every second whether the disk takes writes again and has room for what was refused. */
  #startProbe(bytes: number): void {
    this.#probe ??= setInterval(() => {
      try {
        if (freeBytes(options.directory) < 2 * bytes + 1024 * 1024) return
        this.#store.rotate()
      } catch {
        return // still failing: the next look is a second away
      }
      clearInterval(this.#probe)
      this.#probe = undefined
      this.#failing = false
      report({ kind: 'healthy', newest: this.#store.newest })
    }, PROBE_MS)
  }

  /** Tells when the disk falls below its reserve, and when it has enough again. */
  readonly #look = (): void => {
    this.#bytesSinceLook = 0
    const shortage = this.#lookAtDisk()
    if ((shortage === undefined) === (this.#shortage === undefined)) return
    this.#shortage = shortage
    report({ kind: 'shortage', error: shortage })
  }

  #lookAtDisk(): PlainError | undefined {
    try {
      const shortage = shortageOf(options.directory, options.reserveBytes)
      return shortage && toPlain(shortage)
    } catch {
      return this.#shortage // a disk that does not answer fails the next append, and that says why
    }
  }

  /** Nobody is told "yes" for a move, so one that fails is no failure of the WAL: the next append sees for itself. */
  #move({ id, file, rows }: MoveRequest): void {
    try {
      const copies = this.#store.move(file, rows)
      report({ kind: 'moved', id, file, newest: this.#store.newest, rows: copies })
    } catch (cause) {
      const message = `what is needed of the WAL file ${file}.db could not be copied: ${messageOf(cause)}`
      report({ kind: 'unmoved', id, error: toPlain(new MillraceError('WAL_FAILED', message, { cause })) })
    }
  }

  #rotate(): void {
    if (this.#failing) return
    try {
      this.#store.rotate()
      report({ kind: 'opened', newest: this.#store.newest })
    } catch (cause) {
      this.#fail(cause, [])
    }
  }

  #delete(file: number): void {
    const deletion = this.#store.delete(file).then(
      () => report({ kind: 'deleted', file }),
      cause => this.#fail(cause, [])
    )
    this.#deletions.add(deletion)
    void deletion.finally(() => this.#deletions.delete(deletion))
  }

  async #close(): Promise<void> {
    while (this.#queue.length > 0) this.#commit(this.#takeGroup())
    await Promise.all(this.#deletions)
    clearInterval(this.#probe)
    clearInterval(this.#looks)
    this.#store.close()
    this.#lock.close()
    port.close()
  }
}

function sealed(buffer: ArrayBuffer, ref: FrameRef): SealedFrame {
  const bytes = Buffer.from(buffer, ref.start, ref.end - ref.start)
  const batch = bytes.subarray(ref.batch - ref.start)
  const place = `the batch at offset ${ref.baseOffset}`
  if (batchSize(batch) !== batch.length) {
    throw new MillraceError('BATCH_CORRUPT', `${place} says it has ${batchSize(batch)} bytes (got ${batch.length})`)
  }
  const { crc } = parseBatchHeader(batch)
  if (crc32c(batch.subarray(BATCH_CRC_START)) !== crc) {
    throw new MillraceError('BATCH_CORRUPT', `${place} fails its CRC`)
  }
  sealFrame(bytes)
  return { ref, bytes, crc }
}

function failure(cause: unknown): MillraceError {
  const full = isSqliteError(cause, 'SQLITE_FULL') || (cause as NodeJS.ErrnoException).code === 'ENOSPC'
  return new MillraceError('WAL_FAILED', `the WAL in ${options.directory} could not be written: ${messageOf(cause)}`, {
    cause,
    hint: full ? 'Free space on its disk; the WAL goes on by itself.' : 'The WAL tries again every second.'
  })
}

function unopened(cause: unknown): MillraceError {
  return new MillraceError('WAL_FAILED', `the WAL in ${options.directory} could not be opened: ${messageOf(cause)}`, {
    cause,
    hint: 'The folder must be writable, and its disk have room.'
  })
}

function start(): void {
  let lock: Database.Database | undefined
  try {
    lock = lockFolder(options.directory)
    const store = new WalStore(options)
    process.once('exit', () => store.close()) // when this thread dies of an error: the writer before its anchor
    const thread = new WalThread(lock, store)
    port.on('message', thread.receive)
    const [{ keys: streams }, { recovered, newest }, { shortage }] = [store.streams, store, thread]
    report({ kind: 'ready', streams, recovered, newest, shortage })
  } catch (error) {
    lock?.close()
    report({ kind: 'unready', error: toPlain(error instanceof MillraceError ? error : unopened(error)) })
  }
}

start()
