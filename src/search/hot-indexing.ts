// The main thread's side of the hot index: starts its thread, tells it what is archived, and starts it again should it end.
import { rmSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import { threadFile } from '../thread-file.ts'
import type { HotIndexAnswer, HotIndexData, HotIndexReport } from './hot-index-thread.ts'

export interface HotIndexingOptions extends HotIndexData {
  /** Whether the archive holds a frame of the WAL, or nobody can read it. */
  isReleased(file: number, frame: number): boolean
  readonly logger: Logger
}

/** A thread that ended for some reason may do so again. */
const RESTART_MS = 60_000

export class HotIndexing implements AsyncDisposable {
  readonly #options: HotIndexingOptions
  #thread: Worker
  #restart: NodeJS.Timeout | undefined
  #bytesBehind = 0
  #isClosed = false

  private constructor(options: HotIndexingOptions) {
    this.#options = options
    this.#thread = this.#start()
  }

  /** Null where none is wanted: then nothing is left of an earlier one. */
  static start(isWanted: boolean, options: HotIndexingOptions): HotIndexing | null {
    if (isWanted) return new HotIndexing(options)
    rmSync(options.directory, { recursive: true, force: true })
    return null
  }

  /** Bytes of WAL files that the thread has not gone through, as of its last look. */
  get bytesBehind(): number {
    return this.#bytesBehind
  }

  #start(): Worker {
    const { isReleased, logger, ...data } = this.#options
    const url = threadFile(new URL('./hot-index-thread.ts', import.meta.url))
    const thread = new Worker(url, { workerData: data satisfies HotIndexData, name: 'index' })
    thread.on('message', (report: HotIndexReport) => {
      if (report.kind === 'progress') this.#bytesBehind = report.bytesBehind
      else if (report.kind === 'warning') logger.warn(report.message)
      else {
        const { file, frames } = report
        thread.postMessage(frames.filter(frame => !isReleased(file, frame)) satisfies HotIndexAnswer)
      }
    })
    thread.on('error', err =>
      logger.warn({ err }, 'the index thread failed; what is not archived is searched without it')
    )
    thread.on('exit', () => {
      if (!this.#isClosed) this.#restart = setTimeout(() => (this.#thread = this.#start()), RESTART_MS)
    })
    return thread
  }

  /** What the thread has not committed is indexed after the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#restart)
    await this.#thread.terminate()
  }
}
