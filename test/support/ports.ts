// Free ports for servers that must know their port before they start.

import { createServer } from 'node:net'

// Below every system's ephemeral range (Linux 32768, macOS 49152): a port from inside that range can be taken by an
// outgoing connection while its server restarts, and a client that keeps trying to reach it may connect to itself.
const lowest = 15_000
const highest = 32_000

/** `count` neighbouring ports on loopback that were free a moment ago; gives the first. */
export async function freePortRange(count: number): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const first = lowest + Math.floor(Math.random() * (highest - lowest - count))
    const ports = Array.from({ length: count }, (_, index) => first + index)
    const free = await Promise.all(ports.map(isFree))
    if (free.every(Boolean)) return first
  }
  throw new Error(`no ${count} neighbouring free ports between ${lowest} and ${highest}`)
}

/** A port on loopback that was free a moment ago. */
export function freePort(): Promise<number> {
  return freePortRange(1)
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
