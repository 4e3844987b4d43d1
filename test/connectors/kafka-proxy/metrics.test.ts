// What the proxy counts of the requests that pass through it.
import { expect, test } from 'vitest'
import { MillraceError } from '../../../src/errors.ts'
import { produce } from '../../../src/kafka/messages.ts'
import { parseMetrics } from '../../support/prometheus.ts'
import { until } from '../../support/until.ts'
import { answerTo, produceFrame } from './frames.ts'
import type { Harness } from './harness.ts'
import { startHarness } from './harness.ts'

const accepted = (frame: Buffer) =>
  answerTo(produce, frame, {
    responses: [{ name: 'orders', partitionResponses: [{ index: 0, errorCode: 0, baseOffset: 5 }] }]
  })

/** Reads one value of the proxy's. */
async function read(harness: Harness, name: string, labels = ''): Promise<number | undefined> {
  const families = parseMetrics(await harness.metrics())
  const family = families.get(name) ?? families.get(name.replace(/_(count|sum)$/, ''))
  return family?.samples.get(`${name}{connector="proxy"${labels}}`)
}

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
