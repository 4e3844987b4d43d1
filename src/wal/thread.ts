// The WAL thread: the only one that writes WAL files. Whatever arrives while a commit runs is the next one (group
// commit). After a failed write nothing is stored until a new file could be begun, which is tried every second.
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { MillraceError, messageOf } from '../errors.ts'
import { freeBytes, shortageOf } from './disk-reserve.ts'
import type { FolderLock } from './lock.ts'
import { lockFolder } from './lock.ts'
import type { AppendRequest, MoveRequest, PlainError, Report, Request, ThreadOptions } from './messages.ts'
import { toPlain } from './messages.ts'
import { buffersOf } from './row-columns.ts'
import { WalStore } from './store.ts'

/** A commit's bytes, about: more waiting appends than that are left for the next one. */
const GROUP_BYTES = 16 * 1024 * 1024
const PROBE_MS = 1000
/** How often the disk is asked what it has free: so often, and after so many bytes, since others may write to it just as fast. */
const RESERVE_LOOK_MS = 1000
const RESERVE_LOOK_BYTES = 1024 * 1024

const port = parentPort!
const options: ThreadOptions = workerData
const report = (message: Report, handedOver: ArrayBuffer[] = []) => port.postMessage(message, handedOver)

class WalThread {
  readonly #store: WalStore
  readonly #lock: FolderLock
  readonly #slabs: SharedArrayBuffer[] = []
  #queue: AppendRequest[] = []
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

  /** Takes in whatever has arrived, then commits. */
  readonly receive = (first: Request): void => {
    this.#take(first)
    for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
      this.#take(next.message)
    }
    this.#commitNext()
  }

  #take(request: Request): void {
    if (request.kind === 'append') this.#enqueue(request)
    else if (request.kind === 'move') this.#move(request)
    else if (request.kind === 'delete') this.#delete(request.file)
    else if (request.kind === 'damaged') this.#store.markDamaged(request.file)
    else if (request.kind === 'rotate') this.#rotate()
    else void this.#close()
  }

  #enqueue(request: AppendRequest): void {
    for (const key of request.streams) this.#store.streams.numberOf(key)
    this.#slabs.push(...request.slabs)
    const error = this.#refusal(request)
    if (error !== undefined) {
      report({ kind: 'refused', appends: [request.id], error })
      return
    }
    this.#queue.push(request)
  }

  #refusal({ failuresHeard, beyondLimit }: AppendRequest): PlainError | undefined {
    if (this.#failing || failuresHeard < this.#failures) return this.#failure
    return beyondLimit ? undefined : this.#shortage
  }

  readonly #commitNext = (): void => {
    this.#commit(this.#takeGroup())
    if (this.#queue.length > 0) setImmediate(this.#commitNext) // beside timers and what arrives
  }

  #takeGroup(): AppendRequest[] {
    let count = 0
    for (let bytes = 0; count < this.#queue.length && bytes < GROUP_BYTES; count++) {
      bytes += this.#queue[count]!.bytes
    }
    return this.#queue.splice(0, count)
  }

  #commit(group: readonly AppendRequest[]): void {
    if (group.length === 0) return // a failure has emptied the queue
    try {
      const began = performance.now()
      const rows = this.#store.commit(group, this.#slabs)
      const ms = performance.now() - began
      report({
        kind: 'committed',
        newest: this.#store.newest,
        ms,
        appends: group.map(({ id }) => id),
        rows
      })
      this.#bytesSinceLook += bytesOf(group)
      if (this.#bytesSinceLook >= RESERVE_LOOK_BYTES) this.#look()
    } catch (cause) {
      this.#fail(cause, group)
    }
  }

  /** Refuses all that is in hand and in the queue, so that nothing after the failure is acknowledged before it. */
  #fail(cause: unknown, appends: readonly AppendRequest[]): void {
    const error = toPlain(failure(cause))
    const refused = [...appends, ...this.#queue.splice(0)]
    this.#failing = true
    this.#failure = error
    this.#failures += 1
    report({ kind: 'failing', error })
    report({ kind: 'refused', appends: refused.map(({ id }) => id), error })
    this.#startProbe(bytesOf(refused))
  }

  /** Looks every second whether the disk takes writes again and has room for what was refused. */
  #startProbe(bytes: number): void {
    this.#probe ??= setInterval(() => this.#tryAgain(bytes), PROBE_MS)
  }

  #tryAgain(bytes: number): void {
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
      const ids = rows.map(({ id }) => id)
      report({ kind: 'moved', id, file, ids, newest: this.#store.newest, rows: copies })
    } catch (cause) {
      const message = `what is needed of the WAL file ${file} could not be copied: ${messageOf(cause)}`
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
      setAside => report({ kind: 'deleted', file, setAside }),
      error => report({ kind: 'undeleted', file, error: toPlain(error) })
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
    this.#lock.release()
    port.close()
  }
}

function bytesOf(appends: readonly AppendRequest[]): number {
  return appends.reduce((sum, { bytes }) => sum + bytes, 0)
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

function start(): void {
  let lock: FolderLock | undefined
  try {
    lock = lockFolder(options.directory)
    const store = new WalStore(options)
    const thread = new WalThread(lock, store)
    port.on('message', thread.receive)
    const [{ keys: streams }, { recovered, newest }, { shortage }] = [store.streams, store, thread]
    const rows = recovered.flatMap(file => buffersOf(file.rows))
    report({ kind: 'ready', streams, recovered, newest, shortage }, rows)
  } catch (error) {
    lock?.release()
    report({ kind: 'unready', error: toPlain(error instanceof MillraceError ? error : unopened(error)) })
  }
}

start()
