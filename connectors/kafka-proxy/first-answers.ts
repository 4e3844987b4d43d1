// Which brokers keep their clients waiting for a first answer: one that hangs takes connections, and never answers.
import type net from 'node:net'
import type { Address } from 'millrace/kafka'
import { formatAddress } from 'millrace/kafka'

/** More than a connection, or its first answer, takes, which is about the broker itself: its versions, or how to authenticate. */
const SILENT_MS = 1_000

/** Longer than anybody waits for it: such a client has asked for nothing, or for what takes its time. */
const FORGET_MS = 60_000

interface Wait {
  readonly since: number
}

export class FirstAnswers {
  /** The waits for each address. */
  readonly #waits = new Map<string, Set<Wait>>()

  /** Somebody waits for a broker, until the function that this gives is called. */
  wait(address: Address): () => void {
    const key = formatAddress(address)
    const wait = { since: performance.now() }
    const waits = this.#waits.get(key) ?? new Set()
    this.#waits.set(key, waits.add(wait))
    return () => {
      if (waits.delete(wait) && waits.size === 0) this.#waits.delete(key)
    }
  }

  /** Waits from the first bytes that come from a client until the first of its broker's, or the end of the connection. */
  watch(client: net.Socket, broker: net.Socket, address: Address): void {
    client.once('data', () => {
      if (broker.closed) return
      const heard = this.wait(address)
      broker.once('data', heard)
      broker.once('close', heard)
    })
  }

  /** The addresses in their order, but those last that somebody has waited for too long. */
  order(addresses: readonly Address[]): Address[] {
    const silent = addresses.filter(address => this.#isSilent(address))
    return [...addresses.filter(address => !silent.includes(address)), ...silent]
  }

  #isSilent(address: Address): boolean {
    const now = performance.now()
    const isTelling = ({ since }: Wait) => now - since >= SILENT_MS && now - since < FORGET_MS
    return [...(this.#waits.get(formatAddress(address)) ?? [])].some(isTelling)
  }
}
