// Many producers at once, each with one batch under way: `node bench/crowd.ts BOOTSTRAP TOPIC PARTITIONS PRODUCERS SENDS BYTES
// EVERY-MS`, 0 for as fast as they go. Prints how many records they sent, and how long they waited for their answers but for the
// first tenth, in which connections are new and code is compiled, as JSON.
import { setTimeout as delay } from 'node:timers/promises'
import { parseAddress } from '../src/kafka/address.ts'
import { encodeBatch } from '../src/kafka/batch.ts'
import { Cluster, LATEST } from '../src/kafka/cluster.ts'

export interface Waits {
  readonly records: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
}

const [bootstrap, topic, ...numbers] = process.argv.slice(2) as [string, string, ...string[]]
const [partitions, producers, sends, bytes, everyMs] = numbers.map(Number) as [number, number, number, number, number]
const value = Buffer.alloc(bytes, 'x')
const batch = encodeBatch([{ offset: 0, timestamp: Date.now(), key: null, value, headers: [] }]).toWire()
const waits: number[] = []

async function connect(number: number): Promise<() => Promise<void>> {
  const cluster = new Cluster([parseAddress(bootstrap)])
  const at = { topic, partition: number % partitions }
  await cluster.listOffset(at, LATEST)
  return async () => {
    // Each begins at a time of its own, and keeps to its times whatever an answer takes.
    let due = performance.now() + (number * everyMs) / producers
    for (let sent = 0; sent < sends; sent++) {
      if (everyMs === 0) due = performance.now()
      await delay(Math.max(0, due - performance.now()))
      // A timer may be early by less than a millisecond; who comes late has waited since it was due.
      const since = Math.min(due, performance.now())
      await cluster.produceBatch(at, batch)
      if (sent >= sends / 10) waits.push(performance.now() - since)
      due += everyMs
    }
    cluster[Symbol.dispose]()
  }
}

const connected = await Promise.all(Array.from({ length: producers }, (_, number) => connect(number)))
await Promise.all(connected.map(produce => produce()))
waits.sort((a, b) => a - b)
const at = (share: number): number => waits[Math.floor(share * (waits.length - 1))]!
const report: Waits = { records: producers * sends, p50: at(0.5), p99: at(0.99) }
process.stdout.write(JSON.stringify(report))
