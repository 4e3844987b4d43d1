// A broker sends what its disk has without a look at it: bits may have flipped there. What is sound in such a log, and where
// what is damaged ends.
import { isMillraceError } from '../errors.ts'
import { BATCH_HEADER_BYTES, batchesOf, batchSize, CanonicalBatch, parseBatchHeader } from '../kafka/batch.ts'

/** The batches of a stretch of log, up to one that is damaged. `skipped` as with `batchesOf`. */
export function* soundBatchesOf(
  log: Buffer,
  skipped: (lastOffset: number) => void = () => {}
): Generator<CanonicalBatch> {
  try {
    yield* batchesOf(log, skipped)
  } catch (error) {
    if (!isMillraceError(error, 'BATCH_CORRUPT')) throw error
  }
}

export interface Damage {
  /** Where what is damaged ends: `from` itself where that is sound, undefined where nothing here tells. */
  readonly end: number | undefined
  /** The log behind it, from its first sound batch on; empty where none is there. */
  readonly rest: Buffer
}

/**
 * What is damaged at the offset `from` of a log that was read from there. It ends where its header says, if that can be
 * believed, and never behind the beginning of the next sound batch.
 */
export function damageAt(log: Buffer, from: number): Damage {
  let damaged: Pick<Damage, 'end'> | undefined
  for (let rest = log; rest.length > 0; ) {
    const size = ifSound(() => batchSize(rest))
    const batch = ifSound(() => CanonicalBatch.fromWire(rest).batch)
    const isFirst = rest === log
    if (batch === undefined && (isFirst || size !== undefined)) damaged ??= { end: statedEnd(rest, from) }
    if (batch !== undefined && batch.header.lastOffset >= from) {
      if (damaged === undefined) break
      return { end: Math.min(damaged.end ?? Number.POSITIVE_INFINITY, batch.header.baseOffset), rest }
    }
    rest = rest.subarray(size ?? rest.length)
  }
  return damaged === undefined ? { end: from, rest: log } : { ...damaged, rest: Buffer.alloc(0) }
}

/** Where a damaged batch says that it ends, if it holds `from` and the two fields that tell of it agree. */
function statedEnd(wire: Buffer, from: number): number | undefined {
  const header = ifSound(() => parseBatchHeader(wire))
  if (header === undefined) return undefined
  const { baseOffset, lastOffset, lastOffsetDelta, recordCount } = header
  return baseOffset <= from && lastOffset >= from && recordCount === lastOffsetDelta + 1 ? lastOffset + 1 : undefined
}

function ifSound<T>(parse: () => T): T | undefined {
  try {
    return parse()
  } catch (error) {
    if (!isMillraceError(error)) throw error
    return undefined
  }
}

/**
 * The first offset behind `from`, up to `to`, at which a broker does not give the same batch as at `from`, which is the first
 * of `log`. What it gives never goes back when it is asked for a later offset, so nothing that it could give is passed over.
 */
export async function endOfSame(
  read: (offset: number) => Promise<Buffer>,
  log: Buffer,
  { from, to }: { readonly from: number; readonly to: number }
): Promise<number> {
  const head = log.subarray(0, BATCH_HEADER_BYTES)
  let same = from
  let other = to
  while (other - same > 1) {
    const middle = same + Math.floor((other - same) / 2)
    if ((await read(middle)).subarray(0, BATCH_HEADER_BYTES).equals(head)) same = middle
    else other = middle
  }
  return other
}
