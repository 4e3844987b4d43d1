// Offsets by time, and reading from a time on.
import { expect, test } from 'vitest'
import type { Client } from '../clients/client.ts'
import { createTopic, send } from '../topics.ts'

const start = 1_700_000_000_000
const second = (n: number): number => start + 1000 * n

/** Seconds of the records' timestamps, by batch: neither in order within a batch nor between batches. */
const batches = [[1, 3, 2], [5, 5], [4]]
const all = batches.flat()

export function timeTests(client: Client, bootstrap: () => string): void {
  const topicWithTimes = async () => {
    const topic = await createTopic(bootstrap(), { partitions: 2 })
    const messages = batches.map(batch => batch.map(n => ({ value: `second ${n}`, timestamp: String(second(n)) })))
    await send(bootstrap(), topic, messages)
    return topic
  }

  test('finds offsets by time', async () => {
    const topic = await topicWithTimes()
    const at = async (n: number) => (await client.offsets(bootstrap(), topic, second(n))).get(0)
    expect(await client.offsets(bootstrap(), topic, 'earliest')).toEqual(
      new Map([
        [0, 0],
        [1, 0]
      ])
    )
    expect(await client.offsets(bootstrap(), topic, 'latest')).toEqual(
      new Map([
        [0, all.length],
        [1, 0]
      ])
    )
    expect(await at(0)).toBe(0)
    expect(await at(1.5)).toBe(1)
    expect(await at(3.5)).toBe(3)
    expect(await at(5)).toBe(3)
    // kafkajs tells the end where there is no record.
    expect([undefined, all.length]).toContain(await at(5.001))
    if (client.can.maxTimestamp) {
      expect(await client.offsets(bootstrap(), topic, 'max-timestamp')).toEqual(new Map([[0, 3]]))
    }
  }, 60_000)

  test('reads from a time on', async () => {
    const topic = await topicWithTimes()
    const read = await client.consume(bootstrap(), topic, { from: { timestamp: second(2.5) }, count: 5 })
    expect(read.map(({ offset }) => offset)).toEqual([1, 2, 3, 4, 5])
    expect(read.map(({ timestamp }) => timestamp)).toEqual(all.slice(1).map(second))
  })
}
