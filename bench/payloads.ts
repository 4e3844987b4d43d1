// Records for the benchmarks: JSON orders of about 1 KiB, always the same ones.
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'

const PAYLOADS = 10_000

/** Writes them to a file, one a line, as kafka-producer-perf-test takes them. */
export async function writePayloads(file: string): Promise<void> {
  const out = createWriteStream(file)
  const random = seeded(42)
  const words = Array.from({ length: 2_000 }, () => Math.floor(random() * 2 ** 40).toString(36))
  for (let id = 0; id < PAYLOADS; id++) {
    const order = {
      id,
      customer: `c-${Math.floor(random() * 1e6)}`,
      status: 'shipped',
      amount: Math.floor(random() * 1e5) / 100,
      note: ''
    }
    while (JSON.stringify(order).length < 1_015) order.note += `${words[Math.floor(random() * words.length)]} `
    out.write(`${JSON.stringify(order)}\n`)
  }
  out.end()
  await once(out, 'close')
}

/** Mulberry32: the same numbers in [0, 1) for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
