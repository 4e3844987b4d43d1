// What the proxy counts of the requests that pass through it.
import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../../src/errors.ts'
import { listOffsets, metadata, produce } from '../../../src/kafka/messages.ts'
import { until } from '../../support/until.ts'
import { answerTo, produceFrame, request } from './frames.ts'
import type { Harness } from './harness.ts'
import { startHarness } from './harness.ts'

const accepted = (frame: Buffer) =>
  answerTo(produce, frame, {
    responses: [{ name: 'orders', partitionResponses: [{ index: 0, errorCode: 0, baseOffset: 5 }] }]
  })

const read = (harness: Harness, name: string, labels?: string) => harness.metric(name, labels)

async function outcomes(harness: Harness): Promise<Record<string, number | undefined>> {
  const all = ['answered', 'withdrawn', 'refused', 'unacknowledged'].map(async outcome => {
    const value = await read(harness, 'millrace_proxy_produce_requests_total', `,outcome="${outcome}"`)
    return [outcome, value] as const
  })
  return Object.fromEntries(await Promise.all(all))
}

test('Produce requests count by how they ended, and how long their answers were held', async () => {
  const harness = await startHarness()
  const { client, broker } = await harness.connect()
  const none = { answered: 0, withdrawn: 0, refused: 0, unacknowledged: 0 }
  expect(await outcomes(harness)).toEqual(none)
  const held = () => read(harness, 'millrace_proxy_answer_held_seconds_count')
  expect(await held()).toBe(0)

  const frame = produceFrame()
  client.send(frame)
  broker.send(accepted(await broker.next()))
  await until(() => harness.captures.length > 0, { what: 'a capture', interval: 1 })
  expect(await outcomes(harness)).toEqual(none)
  expect(await read(harness, 'millrace_proxy_inflight_bytes')).toBe(frame.length)
  const answerDue = performance.now()
  await until(() => performance.now() - answerDue > 20, { what: 'some time', interval: 5 })
  harness.captures.shift()!.resolve()
  await client.next()
  expect(await outcomes(harness)).toEqual({ ...none, answered: 1 })
  expect(await held()).toBe(1)
  expect(await read(harness, 'millrace_proxy_answer_held_seconds_sum')).toBeGreaterThan(0.02)
  expect(await read(harness, 'millrace_proxy_inflight_bytes')).toBe(0)

  client.send(produceFrame({ correlationId: 2 }))
  broker.send(accepted(await broker.next()))
  await until(() => harness.captures.length > 0, { what: 'a capture', interval: 1 })
  harness.captures.shift()!.reject(new MillraceError('WAL_FULL', 'full'))
  await client.next()
  expect(await outcomes(harness)).toEqual({ ...none, answered: 1, withdrawn: 1 })

  harness.fault = new MillraceError('WAL_FULL', 'full')
  client.send(produceFrame({ correlationId: 3 }))
  await client.next()
  expect(await outcomes(harness)).toEqual({ ...none, answered: 1, withdrawn: 1, refused: 1 })

  client.send(produceFrame({ correlationId: 4, acks: 0 }))
  await broker.next()
  expect(await outcomes(harness)).toEqual({ answered: 1, withdrawn: 1, refused: 1, unacknowledged: 1 })
  expect(await held()).toBe(2)
})

test('connections are those that are open, and the limit is the configured one', async () => {
  const harness = await startHarness({ budget: 2 ** 20 })
  expect(await read(harness, 'millrace_proxy_inflight_limit_bytes')).toBe(2 ** 20)
  const [one] = [await harness.connect(), await harness.connect()]
  expect(await read(harness, 'millrace_proxy_connections')).toBe(2)
  one.client.socket.destroy()
  await until(async () => (await read(harness, 'millrace_proxy_connections')) === 1, { what: 'one is closed' })
})

describe('what passes', () => {
  const ask = (correlationId: number) => request(listOffsets, 3, correlationId, { topics: [] })
  const requests = (harness: Harness, api: string, version: string) =>
    read(harness, 'millrace_proxy_requests_total', `,api="${api}",version="${version}"`)

  test('counts by API and version, when it has wholly come; what Kafka does not have is other', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(ask(1), ask(2), produceFrame({ acks: 0 }))
    for (let i = 0; i < 3; i++) await broker.next()
    expect([await requests(harness, 'ListOffsets', '3'), await requests(harness, 'Produce', '12')]).toEqual([2, 1])
    client.send(ask(3).subarray(0, 20))
    await until(() => broker.bytes > 0 && broker.frames.length === 0, { what: 'a part', interval: 1 })
    expect(await requests(harness, 'ListOffsets', '3')).toBe(2)
    client.send(ask(3).subarray(20))
    for (const [key, version] of [
      [-1, 0],
      [20_000, 3],
      [2, -1],
      [2, 32],
      [2, 30_000]
    ] as const) {
      const strange = ask(4)
      strange.writeInt16BE(key, 4)
      strange.writeInt16BE(version, 6)
      client.send(strange)
    }
    for (let i = 0; i < 6; i++) await broker.next()
    expect(await requests(harness, 'ListOffsets', '3')).toBe(3)
    expect(await requests(harness, 'other', 'other')).toBe(5)
    const labels = (await harness.metrics()).match(/^millrace_proxy_requests_total/gm)
    expect(labels).toHaveLength(3)
  })

  test('counts its bytes on each hop', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    const hops = async () =>
      Promise.all(
        ['client_to_proxy', 'proxy_to_broker', 'broker_to_proxy', 'proxy_to_client'].map(hop =>
          read(harness, 'millrace_proxy_bytes_total', `,hop="${hop}"`)
        )
      )
    const asked = request(metadata, 12, 1, { topics: null })
    client.send(asked)
    const brokers = [{ nodeId: 2, host: 'a-broker-with-a-long-name.internal', port: 9092, rack: null }]
    const theirs = answerTo(metadata, await broker.next(), { brokers, topics: [] })
    broker.send(theirs)
    const ours = await client.next()
    expect(ours.length).toBeLessThan(theirs.length)
    expect(await hops()).toEqual([asked.length, asked.length, theirs.length, ours.length])
    harness.fault = new MillraceError('WAL_FULL', 'full')
    const refused = produceFrame()
    client.send(refused)
    const refusal = await client.next()
    const after = [asked.length + refused.length, asked.length, theirs.length, ours.length + refusal.length]
    expect(await hops()).toEqual(after)
  })

  test('tells what answers lost here: held, rewritten, or behind a held one', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    const delay = (answer: string, what: string) =>
      read(harness, `millrace_proxy_answer_delay_seconds_${what}`, `,answer="${answer}"`)
    client.send(produceFrame({ correlationId: 1 }), ask(2), request(metadata, 12, 3, { topics: null }))
    const [first, second, third] = [await broker.next(), await broker.next(), await broker.next()]
    broker.send(accepted(first), answerTo(listOffsets, second, { topics: [] }))
    broker.send(answerTo(metadata, third, { brokers: [], topics: [] }))
    await until(() => harness.captures.length > 0, { what: 'a capture', interval: 1 })
    expect(await read(harness, 'millrace_proxy_held_answers')).toBe(1)
    const before = performance.now()
    await until(() => performance.now() - before > 50, { what: 'some time', interval: 5 })
    harness.captures.shift()!.resolve()
    for (let i = 0; i < 3; i++) await client.next()
    expect(await read(harness, 'millrace_proxy_held_answers')).toBe(0)
    for (const answer of ['produce', 'rewritten', 'passed']) {
      expect(await delay(answer, 'count'), answer).toBe(1)
      expect(await delay(answer, 'sum'), answer).toBeGreaterThan(0.04)
    }
  })
})
