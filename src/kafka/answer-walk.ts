// The ways through answers that are too large to be kept: which bytes to pass over, and which to look at for a length. The
// messages' tables say the same of their fields; a test holds the two together.
import { MillraceError } from '../errors.ts'

/** Yields how many bytes to pass over, or 0 to be given the next one. Ends where the answer's tail begins. */
export type Walk<T = void> = Generator<number, T, number>

const SIZE_AND_CORRELATION_ID = 8
const UUID = 16

/** FetchResponse from version 16 on. */
export function* walkFetch(): Walk {
  yield SIZE_AND_CORRELATION_ID
  yield* tags()
  yield 4 + 2 + 4 // throttle time, error, session id
  yield* each(function* () {
    yield UUID
    yield* each(function* () {
      yield 4 + 2 + 3 * 8 // index, error, high watermark, last stable offset, log start offset
      yield* each(() => pass(2 * 8)) // aborted transactions
      yield 4 // preferred read replica
      yield* data() // records
    })
  })
}

/** ShareFetchResponse. */
export function* walkShareFetch(): Walk {
  yield SIZE_AND_CORRELATION_ID
  yield* tags()
  yield 4 + 2 // throttle time, error
  yield* data()
  yield 4 // lock timeout
  yield* each(function* () {
    yield UUID
    yield* each(function* () {
      yield 4 + 2 // index, error
      yield* data()
      yield 2 // acknowledge error
      yield* data()
      yield* leader()
      yield* data() // records
      yield* each(() => pass(2 * 8 + 2)) // acquired records
    })
  })
}

/** ShareAcknowledgeResponse. */
export function* walkShareAcknowledge(version: number): Walk {
  yield SIZE_AND_CORRELATION_ID
  yield* tags()
  yield 4 + 2 // throttle time, error
  yield* data()
  if (version >= 2) yield 4 // lock timeout
  yield* each(function* () {
    yield UUID
    yield* each(function* () {
      yield 4 + 2 // index, error
      yield* data()
      yield* leader()
    })
  })
}

/** A compact array of structs, each of which ends with its tagged fields. */
function* each(item: () => Walk): Walk {
  for (let count = yield* length(); count > 0; count--) {
    yield* item()
    yield* tags()
  }
}

/** Compact bytes or a string. */
function* data(): Walk {
  yield* pass(yield* length())
}

function* leader(): Walk {
  yield 4 + 4 // id, epoch
  yield* tags()
}

function* tags(): Walk {
  for (let count = yield* uvarint(); count > 0; count--) {
    yield* uvarint()
    yield* pass(yield* uvarint())
  }
}

function* pass(bytes: number): Walk {
  if (bytes > 0) yield bytes
}

/** A compact length, one more than it is; -1 for null. */
function* length(): Walk<number> {
  return (yield* uvarint()) - 1
}

function* uvarint(): Walk<number> {
  for (let value = 0, shift = 0; shift < 35; shift += 7) {
    const byte = yield 0
    value += (byte & 0x7f) * 2 ** shift
    if (byte < 0x80) return value
  }
  throw new MillraceError('WIRE_CORRUPT', 'malformed varint in an answer')
}
