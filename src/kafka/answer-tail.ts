// Fetch and share group answers name brokers at their very end (KIP-951, KIP-932). They may be 50 MiB of records, so they are
// walked through as they arrive, from length to length (answer-walk.ts), and only that end is kept.
import { MillraceError } from '../errors.ts'
import type { Walk } from './answer-walk.ts'
import { walkFetch, walkShareAcknowledge, walkShareFetch } from './answer-walk.ts'
import { Cursor, Sink } from './cursor.ts'
import { fetch, shareAcknowledge, shareFetch } from './messages.ts'
import type { Infer, Type } from './wire.ts'
import { struct } from './wire.ts'

const { nodeEndpoints } = fetch.fields.response

/** What comes after the topics: the brokers that are named, and tagged fields that are not known. */
export type AnswerTail = Infer<{ nodeEndpoints: typeof nodeEndpoints }>

interface Ending {
  /** The first version that has it. */
  readonly from: number
  readonly walk: (version: number) => Walk
  readonly tail: Type<any>
}

const endings = new Map<number, Ending>([
  [fetch.key, { from: nodeEndpoints.from, walk: walkFetch, tail: struct({ nodeEndpoints }) }],
  [
    shareFetch.key,
    { from: 1, walk: walkShareFetch, tail: struct({ nodeEndpoints: shareFetch.fields.response.nodeEndpoints }) }
  ],
  [
    shareAcknowledge.key,
    {
      from: 1,
      walk: walkShareAcknowledge,
      tail: struct({ nodeEndpoints: shareAcknowledge.fields.response.nodeEndpoints })
    }
  ]
])

/** Whether answers of this API and version name brokers at their end. */
export function hasEndpointsAtEnd(key: number, version: number): boolean {
  return version >= (endings.get(key)?.from ?? Number.POSITIVE_INFINITY)
}

/** The bytes of a tail. */
export function writeTail(key: number, version: number, tail: AnswerTail): Buffer {
  const sink = new Sink()
  endings.get(key)!.tail.write(sink, tail, { version, flexible: true })
  return sink.finish()
}

/** Walks through one answer frame in the pieces in which it arrives. */
export class AnswerScanner {
  readonly #version: number
  readonly #ending: Ending
  readonly #walk: Walk
  /** Bytes to pass over before the walk goes on; at 0 it wants to see the next byte. */
  #pass = 0
  #isAtTail = false
  readonly #tail: Buffer[] = []

  /** For an answer of which `hasEndpointsAtEnd` is true. */
  constructor(key: number, version: number) {
    this.#version = version
    this.#ending = endings.get(key)!
    this.#walk = this.#ending.walk(version)
    this.#step(0)
  }

  /** Takes the next bytes, from the size field on, and gives back those that lie before the tail. Throws WIRE_CORRUPT. */
  push(chunk: Buffer): Buffer {
    let at = 0
    while (!this.#isAtTail && at < chunk.length) {
      if (this.#pass === 0) {
        this.#step(chunk[at++]!)
      } else {
        const passed = Math.min(this.#pass, chunk.length - at)
        at += passed
        this.#pass -= passed
        if (this.#pass === 0) this.#step(0)
      }
    }
    if (at === chunk.length) return chunk // a view less for nearly all of a large answer
    this.#tail.push(chunk.subarray(at))
    return chunk.subarray(0, at)
  }

  /** The tail, once the frame is complete: its bytes, and what they say. Throws WIRE_CORRUPT. */
  finish(): { bytes: Buffer; tail: AnswerTail } {
    const bytes = this.#tail.length === 1 ? this.#tail[0]! : Buffer.concat(this.#tail)
    const cursor = new Cursor(bytes)
    const tail: AnswerTail = this.#ending.tail.read(cursor, { version: this.#version, flexible: true })
    if (cursor.remaining > 0)
      throw new MillraceError('WIRE_CORRUPT', `${cursor.remaining} bytes follow an answer's end`)
    return { bytes, tail }
  }

  #step(byte: number): void {
    const { done, value } = this.#walk.next(byte)
    if (done) this.#isAtTail = true
    else this.#pass = value
  }
}
