// Keeps the heaps of a worker's threads small: left alone, V8 lets one of 30 MB grow to 90 before it looks for what is dead in it.
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** What a heap may grow to, as a multiple of what was alive in it. V8 itself goes up to four times. */
const GROWTH = 1.5
const LOOK_MS = 1000

/**
 * Collects the garbage of the calling thread each time its heap has grown by half. V8 has no setting for this: a limit of the heap's
 * size has it collect earlier, but ends the process when one large thing comes.
 */
export function watchHeap(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const used = (): number => getHeapStatistics().used_heap_size
  let least = used()
  const look = (): void => {
    const now = used()
    if (now <= GROWTH * least) {
      least = Math.min(least, now)
    } else {
      collect()
      least = used()
    }
  }
  setInterval(look, LOOK_MS).unref()
}
