// A low priority for a thread that works in the background, so that the produce path has the processors when it wants them.
import { readlinkSync, stat } from 'node:fs'
import os from 'node:os'

/** How far behind the produce path: as nice values, of which 10 gets a tenth, and 19 a seventieth, of a processor that is wanted. */
export const ThreadPriority = {
  /** For what has to keep up in the end, as sealing does with what is produced. */
  BELOW_NORMAL: os.constants.priority.PRIORITY_BELOW_NORMAL,
  /** For what may be left undone. */
  LOWEST: os.constants.priority.PRIORITY_LOW
} as const

/**
 * Gives the calling thread a lower priority, on Linux, where a thread has an id and a nice value of its own (sched(7)). Elsewhere
 * it does nothing: there a whole process has one priority, and the produce path is in it.
 */
export function lowerThreadPriority(priority: number): void {
  if (process.platform !== 'linux') return
  stat('/', () => {}) // starts Node's thread pool, which all threads share, unless it is there: its threads inherit a priority
  try {
    const id = Number(readlinkSync('/proc/thread-self').split('/').at(-1)) // PID/task/ID
    os.setPriority(id, priority)
  } catch {
    // Without /proc, or where a sandbox forbids it, the thread works at the priority of all others.
  }
}
