// Producing in every way a client knows, and reading it back with all clients.
import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Client, NewRecord, ProduceOptions, ReadRecord } from '../clients/client.ts'
import { clients } from '../clients/clients.ts'
import { isHere } from '../servers.ts'

const ways: readonly ProduceOptions[] = [
  { codec: 'none', acks: 1 },
  { codec: 'gzip', acks: 'all' },
  { codec: 'snappy', acks: 1 },
  { codec: 'lz4', acks: 'all', idempotent: true },
  { codec: 'zstd', acks: 'all', idempotent: true },
  // Last, since nothing says when it has arrived.
  { codec: 'none', acks: 0 }
]

export function produceTests(client: Client, bootstrap: () => string): void {
  test('all clients read what it produced, with all codecs and acks, into a topic made by that', async () => {
    const topic = `made-by-producing-${randomUUID()}`
    const sent: NewRecord[] = []
    for (const way of ways) {
      const records = recordsFor(way, client)
      await client.produce(bootstrap(), topic, records, way)
      sent.push(...records)
    }
    const expected = sent.map((record, offset) => ({ headers: [], ...record, partition: 0, offset }))
    const readers = clients.filter(({ needs }) => isHere(needs))
    const reading = readers.map(reader => reader.consume(bootstrap(), topic, { from: 'beginning', count: sent.length }))
    for (const [i, records] of (await Promise.all(reading)).entries()) {
      expect(records.map(timeless), readers[i]!.name).toEqual(expected)
      expect(Math.min(...records.map(({ timestamp }) => Date.now() - timestamp))).toBeLessThan(60_000)
    }
    expect(await client.offsets(bootstrap(), topic, 'latest')).toEqual(new Map([[0, sent.length]]))
  }, 60_000)
}

function recordsFor({ codec, acks, idempotent = false }: ProduceOptions, { can }: Client): NewRecord[] {
  const name = `${codec} acks=${acks}${idempotent ? ' idempotent' : ''}`
  return [
    {
      key: `key ${name}`,
      value: `value ${name} ${'grain '.repeat(200)}`,
      headers: [
        ['twice', 'a'],
        ['twice', 'b'],
        ['null', can.writeNullHeaders ? null : 'null']
      ]
    },
    { key: null, value: 'without a key' },
    { key: 'without a value', value: null, headers: [['wörter', 'Ähre 麦 🌾']] },
    { key: 'large', value: incompressible(1_000_000) }
  ]
}

/** Letters that hardly shrink, so that batches are as large with a codec as without. */
function incompressible(length: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32_768))
  const text = Buffer.from(bytes).toString('base64')
  return text.repeat(Math.ceil(length / text.length)).slice(0, length)
}

function timeless({ timestamp: _, ...record }: ReadRecord): Omit<ReadRecord, 'timestamp'> {
  return record
}
