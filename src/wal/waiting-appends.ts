// What the WAL thread has been asked for and has not answered yet, and the memory that it is still reading.
import type { MillraceError } from '../errors.ts'
import type { Region } from './frame-memory.ts'
import { FrameMemory } from './frame-memory.ts'

interface Waiting {
  readonly bytes: number
  readonly region: Region | undefined
  /** On the clock of `performance.now`. */
  readonly since: number
  resolve(): void
  reject(error: MillraceError): void
}

export class WaitingAppends {
  readonly memory = new FrameMemory()
  readonly #waiting = new Map<number, Waiting>()
  #nextId = 1
  #bytes = 0
  #failures = 0

  /** Bytes of all of them. */
  get bytes(): number {
    return this.#bytes
  }

  /** How many appends were refused since the start. */
  get failures(): number {
    return this.#failures
  }

  /** How long, in ms, the one that has waited longest has waited; 0 when none waits. */
  get longestMs(): number {
    const [oldest] = this.#waiting.values() // in the order of their coming
    return oldest === undefined ? 0 : performance.now() - oldest.since
  }

  /** The region is given back when `done` is settled. */
  add(bytes: number, region?: Region): { id: number; done: Promise<void> } {
    const id = this.#nextId++
    const { promise: done, resolve, reject } = Promise.withResolvers<void>()
    this.#waiting.set(id, { bytes, region, since: performance.now(), resolve, reject })
    this.#bytes += bytes
    return { id, done }
  }

  resolve(id: number): void {
    this.#take(id).resolve()
  }

  /** For what is no append. */
  reject(id: number, error: MillraceError): void {
    this.#take(id).reject(error)
  }

  refuse(id: number, error: MillraceError): void {
    this.#failures += 1
    this.reject(id, error)
  }

  refuseAll(error: MillraceError): void {
    for (const id of [...this.#waiting.keys()]) this.refuse(id, error)
  }

  /** Counts one that was not even asked for. */
  countRefusal(): void {
    this.#failures += 1
  }

  #take(id: number): Waiting {
    const waiting = this.#waiting.get(id)!
    this.#waiting.delete(id)
    this.#bytes -= waiting.bytes
    if (waiting.region !== undefined) this.memory.give(waiting.region)
    return waiting
  }
}
