// The main thread's side of the search thread: one call at a time, a bounded line of those that wait, and a new thread where
// one has ended. The thread starts with the first call.
import { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import type { ErrorCode } from '../errors.ts'
import { errorKinds, MillraceError } from '../errors.ts'
import { threadFile } from '../thread-file.ts'
import type { SearchAnswer, SearchCalls, SearchRequest, SearchThreadData } from './search-thread.ts'

/** How many calls may wait. At a tenth of a second each the last of them has its answer within the patience of a user. */
const MAX_WAITING = 32

/** A thread that needs more has run away: it is ended, and the worker is not. */
const MAX_HEAP_MB = 512

type Call = keyof SearchCalls
type Result<C extends Call> = Awaited<ReturnType<SearchCalls[C]>>

interface Job {
  readonly request: Omit<SearchRequest, 'id'>
  readonly done: PromiseWithResolvers<unknown>
}

export class Searcher implements AsyncDisposable {
  readonly #data: SearchThreadData
  readonly #code: URL
  readonly #logger: Logger
  readonly #waiting: Job[] = []
  #running: Job | null = null
  #thread: Worker | null = null
  #nextId = 0
  #isDraining = false

  /** `code` is what the thread runs, which tests may replace. */
  constructor(data: SearchThreadData, logger: Logger, code = new URL('./search-thread.ts', import.meta.url)) {
    this.#data = data
    this.#logger = logger
    this.#code = threadFile(code)
  }

  /** Rejects with the signal's reason as soon as it is aborted; with SEARCH_BUSY; with what the call throws. */
  async call<C extends Call>(call: C, args: Parameters<SearchCalls[C]>[0], signal: AbortSignal): Promise<Result<C>> {
    signal.throwIfAborted()
    if (this.#isDraining) throw busy('the worker is stopping')
    if (this.#waiting.length >= MAX_WAITING) throw busy(`${MAX_WAITING} searches are waiting already`)
    const job: Job = {
      request: { call, args, stop: new Int32Array(new SharedArrayBuffer(4)) },
      done: Promise.withResolvers()
    }
    const abort = (): void => {
      const at = this.#waiting.indexOf(job)
      if (at >= 0) this.#waiting.splice(at, 1)
      Atomics.store(job.request.stop, 0, 1)
      job.done.reject(signal.reason)
    }
    signal.addEventListener('abort', abort, { once: true })
    this.#waiting.push(job)
    this.#next()
    try {
      return (await job.done.promise) as Result<C>
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  /** Refuses what waits and whatever comes. */
  drain(): void {
    this.#isDraining = true
    for (const { done } of this.#waiting.splice(0)) done.reject(busy('the worker is stopping'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.drain()
    const thread = this.#thread
    this.#thread = null
    await thread?.terminate()
    this.#running?.done.reject(busy('the worker is stopping'))
  }

  #next(): void {
    if (this.#running !== null) return
    const job = this.#waiting.shift()
    if (job === undefined) return
    this.#running = job
    this.#thread ??= this.#start()
    this.#thread.postMessage({ id: this.#nextId, ...job.request } satisfies SearchRequest)
  }

  #start(): Worker {
    const resourceLimits = { maxOldGenerationSizeMb: MAX_HEAP_MB }
    const thread = new Worker(this.#code, { workerData: this.#data, name: 'search', resourceLimits })
    thread.on('message', (answer: SearchAnswer) => this.#settle(answer))
    thread.on('error', error => this.#lose(thread, error as Error))
    thread.on('exit', code => this.#lose(thread, new Error(`it ended with ${code}`)))
    return thread
  }

  #settle({ id, result, error }: SearchAnswer): void {
    if (id !== this.#nextId) return
    if (error === undefined) this.#finish(({ resolve }) => resolve(result))
    else if (error.code !== undefined && Object.hasOwn(errorKinds, error.code)) {
      const { code, message, hint } = error
      this.#finish(({ reject }) => reject(new MillraceError(code as ErrorCode, message, { hint })))
    } else this.#finish(({ reject }) => reject(new Error(error.message)))
  }

  /** The call that it ended with is not tried again: it may be why. */
  #lose(thread: Worker, error: Error): void {
    if (this.#thread !== thread) return
    this.#thread = null
    this.#logger.error({ err: error }, 'the search thread has ended: the next search starts another one')
    this.#finish(({ reject }) => reject(new Error(`the search thread has ended: ${error.message}`)))
  }

  #finish(settle: (done: PromiseWithResolvers<unknown>) => void): void {
    const job = this.#running
    this.#running = null
    this.#nextId++
    if (job !== null) settle(job.done)
    this.#next()
  }
}

function busy(why: string): MillraceError {
  return new MillraceError('SEARCH_BUSY', `cannot search now: ${why}`, { hint: 'Ask again in a moment.' })
}
