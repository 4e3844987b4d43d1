// What goes wrong, as clients tell it.
import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Client } from '../clients/client.ts'
import { createTopic, send, withAdmin } from '../topics.ts'

export function errorTests(client: Client, bootstrap: () => string): void {
  test('is told that a record is too large, and goes on', async () => {
    const topic = await createTopic(bootstrap())
    const tooLarge = { key: null, value: 'x'.repeat(2_000_000) }
    const options = { acks: 'all', maxBytes: 8_000_000 } as const
    await expect(client.produce(bootstrap(), topic, [tooLarge], options)).rejects.toThrow(
      /too.?large|larger than the max/i
    )
    await client.produce(bootstrap(), topic, [{ key: null, value: 'small enough' }], options)
    const read = await client.consume(bootstrap(), topic, { from: 'beginning', count: 1 })
    expect(read.map(({ value }) => value)).toEqual(['small enough'])
  })

  test('begins at the earliest record when its offset is out of range', async () => {
    const topic = await createTopic(bootstrap())
    await send(bootstrap(), topic, [[{ value: 'first' }, { value: 'second' }]])
    const read = await client.consume(bootstrap(), topic, { from: { offset: 1_000_000 }, count: 2 })
    expect(read.map(({ value }) => value)).toEqual(['first', 'second'])
  })

  if (client.can.makeTopicByReading) return
  test('is told of an unknown topic, which is not made by reading', async () => {
    const topic = `unknown-${randomUUID()}`
    const reading = client.consume(bootstrap(), topic, { from: 'beginning', count: 1 })
    await expect(reading).rejects.toThrow(/unknown topic/i)
    expect(await withAdmin(bootstrap(), admin => admin.listTopics())).not.toContain(topic)
  })
}
