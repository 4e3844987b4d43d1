// Reads more of an object's end than is asked for, since what lies before it is asked for next: that saves a round trip.
import type { RangeSource } from '../segment/reader.ts'

/** Keeps what it has read of the end until the next read. */
export function readingTailAhead(source: RangeSource, bytes: number): RangeSource {
  let kept: { readonly start: number; readonly data: Buffer } | null = null
  return {
    name: source.name,
    async tail(length) {
      const { data, size } = await source.tail(Math.max(length, bytes))
      kept = { start: size - data.length, data }
      return { data: data.subarray(Math.max(0, data.length - length)), size }
    },
    async get(start, end) {
      const tail = kept
      kept = null
      const isThere = tail !== null && start >= tail.start && end <= tail.start + tail.data.length
      return isThere ? tail.data.subarray(start - tail.start, end - tail.start) : await source.get(start, end)
    }
  }
}
