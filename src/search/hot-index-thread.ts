// The thread that keeps the hot index: at the lowest priority, beside the produce path and never in it.
import { setTimeout as pause } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { messageOf } from '../errors.ts'
import { watchHeap } from '../heap-watch.ts'
import { lowerThreadPriority, ThreadPriority } from '../low-priority.ts'
import type { HotIndexerOptions } from './hot-indexer.ts'
import { HotIndexer } from './hot-indexer.ts'

/** What the thread is started with. */
export type HotIndexData = Omit<HotIndexerOptions, 'needed' | 'progress' | 'warn'>

export type HotIndexReport =
  | { readonly kind: 'progress'; readonly bytesBehind: number }
  | { readonly kind: 'warning'; readonly message: string }
  /** Asks which of these are not archived. One question is open at a time. */
  | { readonly kind: 'needed'; readonly file: number; readonly frames: readonly number[] }

/** The frames that are needed of those that were asked about. */
export type HotIndexAnswer = readonly number[]

/** How long what came waits for its turn: a search indexes so much on its way. */
const LOOK_MS = 500

lowerThreadPriority(ThreadPriority.LOWEST)
watchHeap()
const report = (message: HotIndexReport): void => parentPort!.postMessage(message)
let lastWarning = ''
const warn = (message: string): void => {
  if (message !== lastWarning) report({ kind: 'warning', message })
  lastWarning = message
}

const indexer = new HotIndexer({
  ...(workerData as HotIndexData),
  warn,
  progress: bytesBehind => report({ kind: 'progress', bytesBehind }),
  async needed(file, frames) {
    const answer = new Promise<HotIndexAnswer>(resolve => parentPort!.once('message', resolve))
    report({ kind: 'needed', file, frames })
    return new Set(await answer)
  }
})

for (;;) {
  try {
    await indexer.pass()
  } catch (error) {
    warn(`the search index of the WAL is not kept: ${messageOf(error)}`)
  }
  await pause(LOOK_MS)
}
