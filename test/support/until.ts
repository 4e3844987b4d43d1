// Waiting for something by asking again and again, with a deadline: what tests use in place of sleeping.

import { setTimeout as pause } from 'node:timers/promises'

type Falsy = false | undefined | null | 0 | ''

export interface UntilOptions {
  /** What is awaited, as it should read in the error: "the broker answers". */
  what: string
  /** Milliseconds until it fails, 10,000 unless told. */
  timeout?: number
  /** Milliseconds between two looks, 50 unless told. */
  interval?: number
  /** Ends the wait early with the signal's reason. */
  signal?: AbortSignal
}

/** Resolves with the condition's first truthy value. A condition that throws counts as "not yet"; its last error is the cause when the deadline passes. */
export async function until<T>(condition: () => T | Promise<T>, options: UntilOptions): Promise<Exclude<T, Falsy>> {
  const { what, timeout = 10_000, interval = 50, signal } = options
  const deadline = performance.now() + timeout
  let cause: unknown
  do {
    signal?.throwIfAborted()
    try {
      const value = await condition()
      if (value) return value as Exclude<T, Falsy>
      cause = undefined
    } catch (error) {
      cause = error
    }
    await pause(interval)
  } while (performance.now() < deadline)
  throw new Error(`waited ${timeout} ms in vain: ${what}`, { cause })
}
