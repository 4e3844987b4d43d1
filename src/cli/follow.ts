// `millrace search --follow`: prints matches as they come, until Ctrl-C.
import { setTimeout as pause } from 'node:timers/promises'
import { RememberedArchive } from '../archive/remembered.ts'
import { isMillraceError } from '../errors.ts'
import type { FollowState, Look } from '../search/follow.ts'
import { look } from '../search/follow.ts'
import type { FoundRecord } from '../search/record-json.ts'
import type { SearchPlaces } from '../search/search.ts'
import type { Selection } from '../search/selection.ts'
import { INTERRUPTED, say } from './common.ts'

/** How often the WAL is looked at, and the archive, each look at which costs a listing. */
const LOOK_MS = 500
const ARCHIVE_MS = 5_000

/** Sets the exit code. Once it has begun, a store that does not answer for a while is waited for. Throws as `search`. */
export async function follow(
  places: SearchPlaces,
  selection: Selection,
  query: string,
  print: (record: FoundRecord) => void
): Promise<void> {
  const stopping = new AbortController()
  const { signal } = stopping
  const stop = (): void => stopping.abort()
  process.once('SIGINT', stop).once('SIGTERM', stop)
  const remembered = { ...places, archive: new RememberedArchive(places.archive, ARCHIVE_MS) }
  let state: FollowState | null = null
  let complaint: string | undefined
  try {
    while (!signal.aborted) {
      let looking: Look | undefined
      try {
        looking = await look(remembered, selection, query, state)
        for await (const record of looking.records) {
          print(record)
          if (signal.aborted) break
        }
        complaint = undefined
      } catch (error) {
        if (state === null || !isPassing(error)) throw error
        if (complaint !== error.message) say(`${error.message}; trying again`)
        complaint = error.message
      }
      state = looking?.state() ?? state
      await pause(LOOK_MS, undefined, { signal }).catch(() => {})
    }
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop)
  }
  process.exitCode = INTERRUPTED
}

/** What another look may not meet again: a store that was away, or objects that were replaced faster than they were read. */
function isPassing(error: unknown): error is Error {
  return isMillraceError(error) && (error.retriable || error.code === 'OBJECT_MISSING')
}
