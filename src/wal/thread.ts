// The WAL thread: the only one that writes WAL files. Whatever arrives while a commit runs is the next transaction (group
// commit). After a failed write nothing is stored until a new file could be begun, which is tried every second.
import { parentPort, workerData } from 'node:worker_threads'
import { crc32c } from '@node-rs/crc32'
import { MillraceError, messageOf } from '../errors.ts'
import { batchSize, parseBatchHeader } from '../kafka/batch.ts'
import { freeBytes, shortageOf } from './disk-reserve.ts'
import { sealFrame } from './frame.ts'
import type { FolderLock } from './lock.ts'
import { lockFolder } from './lock.ts'
import type { AppendRequest, FrameRef, MoveRequest, PlainError, Report, Request, ThreadOptions } from './messages.ts'
import { toPlain } from './messages.ts'
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
  readonly #lock: FolderLock
  /** Appends whose CRCs are right, and that wait for the commit that is being made. */
  #queue: SealedAppend[] = []
  /** The last thing that was begun with the files: one at a time. */
  #last: Promise<void> = Promise.resolve()
  #isCommitPlanned = false
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

  constructor(lock: FolderLock, store: WalStore) {
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
    else if (request.kind === 'move') this.#then(() => this.#move(request))
    else if (request.kind === 'delete') this.#delete(request.file)
    else if (request.kind === 'rotate') this.#then(() => this.#rotate())
    else void this.#close()
  }

  #then(work: () => Promise<void>): void {
    this.#last = this.#last.then(work)
  }

  /** Checks the append while the disk works on the one before. */
  #enqueue(request: AppendRequest): void {
    for (const key of request.streams) this.#store.streams.numberOf(key)
    const error = this.#refusal(request)
    if (error !== undefined) {
      report({ kind: 'refused', appends: [request.id], error })
      return
    }
    try {
      this.#queue.push({ request, frames: request.refs.map(ref => sealed(request.frames, ref)) })
    } catch (cause) {
      report({ kind: 'refused', appends: [request.id], error: toPlain(cause) })
      return
    }
    this.#planCommit()
  }

  #refusal({ failuresHeard, beyondLimit }: AppendRequest): PlainError | undefined {
    if (this.#failing || failuresHeard < this.#failures) return this.#failure
    return beyondLimit ? undefined : this.#shortage
  }

  #planCommit(): void {
    if (this.#isCommitPlanned || this.#queue.length === 0) return
    this.#isCommitPlanned = true
    this.#then(async () => {
      this.#isCommitPlanned = false
      await this.#commit(this.#takeGroup())
      this.#planCommit()
    })
  }

  #takeGroup(): SealedAppend[] {
    let count = 0
    for (let bytes = 0; count < this.#queue.length && bytes < GROUP_BYTES; count++) {
      bytes += this.#queue[count]!.request.bytes
    }
    return this.#queue.splice(0, count)
  }

  async #commit(group: readonly SealedAppend[]): Promise<void> {
    if (group.length === 0) return // a failure has emptied the queue
    try {
      const began = performance.now()
      const rows = await this.#store.commit(group, group.length === 1 && group[0]!.request.isAlone)
      const ms = performance.now() - began
      report({
        kind: 'committed',
        newest: this.#store.newest,
        ms,
        appends: group.map(({ request }) => request.id),
        rows
      })
      this.#bytesSinceLook += bytesOf(group)
      if (this.#bytesSinceLook >= GROUP_BYTES) this.#look()
    } catch (cause) {
      this.#fail(cause, group)
    }
  }

  /** Refuses all that is in hand and in the queue, so that nothing after the failure is acknowledged before it. */
  #fail(cause: unknown, appends: readonly SealedAppend[]): void {
    const error = toPlain(failure(cause))
    const refused = [...appends, ...this.#queue.splice(0)]
    this.#failing = true
    this.#failure = error
    this.#failures += 1
    report({ kind: 'failing', error })
    report({ kind: 'refused', appends: refused.map(({ request }) => request.id), error })
    this.#startProbe(bytesOf(refused))
  }

  /** Looks every second whether the disk takes writes again and has room for what was refused. */
  #startProbe(bytes: number): void {
    this.#probe ??= setInterval(() => this.#then(() => this.#tryAgain(bytes)), PROBE_MS)
  }

  async #tryAgain(bytes: number): Promise<void> {
    if (!this.#failing) return
    try {
      if (freeBytes(options.directory) < 2 * bytes + 1024 * 1024) return
      await this.#store.rotate()
    } catch {
      return // still failing: the next look is a second away
    }
    clearInterval(this.#probe)
    this.#probe = undefined
    this.#failing = false
    report({ kind: 'healthy', newest: this.#store.newest })
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
  async #move({ id, file, rows }: MoveRequest): Promise<void> {
    try {
      const copies = await this.#store.move(file, rows)
      report({ kind: 'moved', id, file, newest: this.#store.newest, rows: copies })
    } catch (cause) {
      const message = `what is needed of the WAL file ${file} could not be copied: ${messageOf(cause)}`
      report({ kind: 'unmoved', id, error: toPlain(new MillraceError('WAL_FAILED', message, { cause })) })
    }
  }

  async #rotate(): Promise<void> {
    if (this.#failing) return
    try {
      await this.#store.rotate()
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
    for (let seen: Promise<void> | undefined; seen !== this.#last; ) await (seen = this.#last)
    await Promise.all(this.#deletions)
    clearInterval(this.#probe)
    clearInterval(this.#looks)
    await this.#store.close()
    this.#lock.release()
    port.close()
  }
}

function bytesOf(appends: readonly SealedAppend[]): number {
  return appends.reduce((sum, { request }) => sum + request.bytes, 0)
}

function sealed(buffer: SharedArrayBuffer, ref: FrameRef): SealedFrame {
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
  const full = (cause as NodeJS.ErrnoException).code === 'ENOSPC'
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

async function start(): Promise<void> {
  let lock: FolderLock | undefined
  try {
    lock = lockFolder(options.directory)
    const store = await WalStore.open(options)
    const thread = new WalThread(lock, store)
    port.on('message', thread.receive)
    const [{ keys: streams }, { recovered, newest }, { shortage }] = [store.streams, store, thread]
    report({ kind: 'ready', streams, recovered, newest, shortage })
  } catch (error) {
    lock?.release()
    report({ kind: 'unready', error: toPlain(error instanceof MillraceError ? error : unopened(error)) })
  }
}

void start()
