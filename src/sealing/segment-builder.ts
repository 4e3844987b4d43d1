// The main thread's side of the segment thread: the same calls, as promises.
import { Worker } from 'node:worker_threads'
import type { ErrorCode } from '../errors.ts'
import { errorKinds, MillraceError } from '../errors.ts'
import { threadFile } from '../thread-file.ts'
import type { SealAnswer, SealCalls, SealRequest, SealThreadData } from './seal-thread.ts'

type Remote<F> = F extends (...args: infer A) => infer R ? (...args: A) => Promise<R> : never

export class SegmentBuilder implements AsyncDisposable {
  readonly #worker: Worker
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>()
  #nextId = 0
  #failure: Error | null = null

  constructor(data: SealThreadData) {
    const url = threadFile(new URL('./seal-thread.ts', import.meta.url))
    this.#worker = new Worker(url, { workerData: data, name: 'segment' })
    this.#worker.on('message', (answer: SealAnswer) => this.#settle(answer))
    this.#worker.on('error', error => this.#fail(error as Error))
    this.#worker.on('exit', () => this.#fail(new Error('the segment thread has ended')))
  }

  readonly entries: Remote<SealCalls['entries']> = (...args) => this.#call('entries', args)
  readonly build: Remote<SealCalls['build']> = (...args) => this.#call('build', args)
  readonly identify: Remote<SealCalls['identify']> = (...args) => this.#call('identify', args)
  readonly unreadable: Remote<SealCalls['unreadable']> = (...args) => this.#call('unreadable', args)

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate()
  }

  #call<R>(call: SealRequest['call'], args: readonly unknown[]): Promise<R> {
    if (this.#failure) return Promise.reject(this.#failure)
    const id = this.#nextId++
    const waiter = Promise.withResolvers<unknown>()
    this.#waiting.set(id, waiter)
    this.#worker.postMessage({ id, call, args } satisfies SealRequest)
    return waiter.promise as Promise<R>
  }

  #settle({ id, result, error }: SealAnswer): void {
    const waiter = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (!error) waiter?.resolve(result)
    else if (error.code !== undefined && error.code in errorKinds) {
      waiter?.reject(new MillraceError(error.code as ErrorCode, error.message, { hint: error.hint }))
    } else waiter?.reject(new Error(error.message))
  }

  #fail(error: Error): void {
    this.#failure ??= error
    for (const { reject } of this.#waiting.values()) reject(this.#failure)
    this.#waiting.clear()
  }
}
