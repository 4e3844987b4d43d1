// The main thread's side of the segment thread: the same calls, as promises, and a new thread where one has ended.
import { Worker } from 'node:worker_threads'
import type { ErrorCode } from '../errors.ts'
import { errorKinds, MillraceError } from '../errors.ts'
import { threadFile } from '../thread-file.ts'
import type { SealAnswer, SealCalls, SealRequest, SealThreadData } from './seal-thread.ts'

type Remote<F> = F extends (...args: infer A) => infer R ? (...args: A) => Promise<R> : never

export class SegmentBuilder implements AsyncDisposable {
  readonly #data: SealThreadData
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>()
  #thread: Worker | null
  #nextId = 0
  #isClosed = false

  constructor(data: SealThreadData) {
    this.#data = data
    this.#thread = this.#start()
  }

  readonly entries: Remote<SealCalls['entries']> = (...args) => this.#call('entries', args)
  readonly build: Remote<SealCalls['build']> = (...args) => this.#call('build', args)
  readonly identify: Remote<SealCalls['identify']> = (...args) => this.#call('identify', args)
  readonly identifyStored: Remote<SealCalls['identifyStored']> = (...args) => this.#call('identifyStored', args)
  readonly unreadable: Remote<SealCalls['unreadable']> = (...args) => this.#call('unreadable', args)

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    await this.#thread?.terminate()
  }

  #start(): Worker {
    const url = threadFile(new URL('./seal-thread.ts', import.meta.url))
    const thread = new Worker(url, { workerData: this.#data, name: 'segment' })
    thread.on('message', (answer: SealAnswer) => this.#settle(answer))
    thread.on('error', error => this.#lose(thread, error as Error))
    thread.on('exit', code => this.#lose(thread, new Error(`it ended with ${code}`)))
    return thread
  }

  /** Rejects with SEALING_FAILED where the thread ends meanwhile; with what the call throws. */
  async #call<R>(call: SealRequest['call'], args: readonly unknown[]): Promise<R> {
    if (this.#isClosed) throw new MillraceError('SEALING_FAILED', 'the worker is stopping', { retriable: false })
    this.#thread ??= this.#start()
    const id = this.#nextId++
    const waiter = Promise.withResolvers<unknown>()
    this.#waiting.set(id, waiter)
    this.#thread.postMessage({ id, call, args } satisfies SealRequest)
    return (await waiter.promise) as R
  }

  #settle({ id, result, error }: SealAnswer): void {
    const waiter = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (!error) waiter?.resolve(result)
    else if (error.code !== undefined && error.code in errorKinds) {
      waiter?.reject(new MillraceError(error.code as ErrorCode, error.message, { hint: error.hint }))
    } else waiter?.reject(new Error(error.message))
  }

  /** The next call has a thread of its own: none knows anything that another cannot read from the WAL. */
  #lose(thread: Worker, cause: Error): void {
    if (this.#thread !== thread) return
    this.#thread = null
    for (const { reject } of this.#waiting.values()) reject(ended(cause))
    this.#waiting.clear()
  }
}

function ended(cause: Error): MillraceError {
  return new MillraceError('SEALING_FAILED', `the segment thread has ended: ${cause.message}`, {
    cause,
    hint: 'Sealing is tried again, in a new thread. If each runs out of memory, lower max.decompressed.bytes.'
  })
}
