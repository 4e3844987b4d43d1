// Order events as JSON of about 300 bytes: always the same ones, each with a trace id that no other has.
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { seeded } from './payloads.ts'

const states = ['created', 'paid', 'packed', 'shipped', 'delivered', 'returned'] as const
const goods = [
  'oat flour',
  'rye flour',
  'spelt bran',
  'mill stone',
  'grain sack',
  'sieve',
  'corn meal',
  'yeast'
] as const
const warehouses = ['rotterdam-2', 'gdansk-1', 'porto-4', 'lyon-3'] as const

export interface OrderEvent {
  /** The customer. */
  readonly key: string
  readonly value: string
  readonly trace: string
}

/** The first `count` events of a seed. */
export function* orderEvents(count: number, seed = 8): Generator<OrderEvent> {
  const random = seeded(seed)
  const below = (limit: number): number => Math.floor(random() * limit)
  const hex = (digits: number): string =>
    below(16 ** digits)
      .toString(16)
      .padStart(digits, '0')
  const oneOf = <T>(values: readonly T[]): T => values[below(values.length)]!
  let time = Date.UTC(2026, 10, 1)
  for (let number = 0; number < count; number++) {
    const customer = below(50_000)
    const trace = `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${hex(12)}`
    time += below(21)
    const value = JSON.stringify({
      orderId: `o-${1_000_000 + number}`,
      trace,
      customer: { id: `c-${customer}`, email: `customer${customer}@example.com` },
      status: oneOf(states),
      amount: below(100_000) / 100,
      currency: 'EUR',
      items: [{ sku: `sku-${below(2_000)}`, name: oneOf(goods), quantity: 1 + below(9) }],
      warehouse: oneOf(warehouses),
      at: new Date(time).toISOString()
    })
    yield { key: `c-${customer}`, value, trace }
  }
}

/** Writes events to a file, a line each: key, tab, value. */
export async function writeOrderEvents(file: string, count: number, seed?: number): Promise<void> {
  const out = createWriteStream(file)
  let lines: string[] = []
  for (const { key, value } of orderEvents(count, seed)) {
    lines.push(`${key}\t${value}\n`)
    if (lines.length < 10_000) continue
    if (!out.write(lines.join(''))) await once(out, 'drain')
    lines = []
  }
  out.end(lines.join(''))
  await once(out, 'close')
}

/** `chosen` of the first `count` events, evenly spread. */
export function everyNth(count: number, chosen: number): OrderEvent[] {
  const events: OrderEvent[] = []
  let number = 0
  for (const event of orderEvents(count)) if (number++ % Math.floor(count / chosen) === 0) events.push(event)
  return events.slice(0, chosen)
}
