// Reads of a Produce answer what capturing has to know. Each request is answered so, and the message's table, which reads all of
// an answer, took a tenth of the main thread at full rate.
import { MillraceError } from '../errors.ts'
import { Cursor, readInt64 } from './cursor.ts'
import { responseBodyStart, skipTags } from './headers.ts'
import { produce } from './messages.ts'

/** What became of a request's batches. */
export interface ProduceOutcome {
  /** Without topics and partitions of which nothing was appended, or nobody can tell where. */
  readonly responses: readonly {
    /** In versions up to 12. */
    readonly name?: string | undefined
    /** From version 13 on. */
    readonly topicId?: string | undefined
    readonly partitionResponses: readonly {
      readonly index: number
      readonly errorCode: number
      readonly baseOffset: number
      readonly logAppendTimeMs?: number | undefined
    }[]
  }[]
}

/** Reads a whole answer frame, size field included; also tells whether it names brokers' addresses. Throws WIRE_CORRUPT. */
export function scanProduceAnswer(frame: Buffer, version: number): ProduceOutcome & { readonly namesBrokers: boolean } {
  const compact = version >= produce.flexible
  const cursor = new Cursor(frame, responseBodyStart(frame, produce, version))
  const responses: ProduceOutcome['responses'][number][] = []
  for (let topics = count(cursor, compact); topics > 0; topics--) {
    const named = cursor.advance(version < 13 ? length(cursor, compact, 2) : 16)
    const namedTo = cursor.position
    const partitionResponses: ProduceOutcome['responses'][number]['partitionResponses'][number][] = []
    for (let partitions = count(cursor, compact); partitions > 0; partitions--) {
      const at = cursor.advance(4 + 2 + 8 + 8)
      const baseOffset = readInt64(frame, at + 6)
      // A client can have a broker answer millions of partitions that do not exist.
      if (baseOffset >= 0) {
        partitionResponses.push({
          index: frame.readInt32BE(at),
          errorCode: frame.readInt16BE(at + 4),
          baseOffset,
          // A repeated batch has the producer's own timestamp here, which may be any; it only matters whether there is one.
          logAppendTimeMs: Number(frame.readBigInt64BE(at + 14))
        })
      }
      if (version >= 5) cursor.advance(8) // log start offset
      if (version >= 8) skipErrors(cursor, compact)
      if (compact) skipTags(cursor)
    }
    if (compact) skipTags(cursor)
    if (partitionResponses.length === 0) continue
    const topic =
      version < 13
        ? { name: frame.toString('utf8', named, namedTo) }
        : { topicId: frame.toString('base64url', named, namedTo) }
    responses.push({ ...topic, partitionResponses })
  }
  cursor.advance(4) // throttle time
  return { responses, namesBrokers: compact && hasTag(cursor, 0) }
}

function skipErrors(cursor: Cursor, compact: boolean): void {
  for (let errors = count(cursor, compact); errors > 0; errors--) {
    cursor.advance(4) // index
    skipString(cursor, compact)
    if (compact) skipTags(cursor)
  }
  skipString(cursor, compact)
}

function skipString(cursor: Cursor, compact: boolean): void {
  cursor.advance(Math.max(0, length(cursor, compact, 2)))
}

/** How many an array has; none of those here may be null. */
function count(cursor: Cursor, compact: boolean): number {
  const items = length(cursor, compact, 4)
  if (items < 0) throw new MillraceError('WIRE_CORRUPT', `unexpected null before ${cursor.position}`)
  return items
}

/** The number before a string or an array; -1 for null. */
function length(cursor: Cursor, compact: boolean, plainBytes: 2 | 4): number {
  if (compact) return cursor.uvarint() - 1
  return cursor.buffer.readIntBE(cursor.advance(plainBytes), plainBytes)
}

/** Reads a section of tagged fields. */
function hasTag(cursor: Cursor, wanted: number): boolean {
  let found = false
  for (let count = cursor.uvarint(); count > 0; count--) {
    found = cursor.uvarint() === wanted || found
    cursor.advance(cursor.uvarint())
  }
  return found
}
