// Refusals that pile up behind an answer that the broker still has to give: it is read all the same, for all of them wait for it.
import { expect, test } from 'vitest'
import { MillraceError } from '../../../src/errors.ts'
import { produce } from '../../../src/kafka/messages.ts'
import { until } from '../../support/until.ts'
import { answerProduce, produceFrame, read } from './frames.ts'
import { startHarness } from './harness.ts'
import { answerAsk, ask } from './tls-clients.ts'

const MiB = 1024 * 1024

/** A Produce request whose refusal is some hundred KiB. */
const many = (correlationId: number) =>
  produceFrame({ correlationId, acks: 1, topics: { orders: Array.from({ length: 2_000 }, (_, i) => i) } })

test.each([
  ['passes', ask(0), answerAsk],
  ['is changed or held', produceFrame({ correlationId: 0 }), answerProduce]
])('an answer that %s comes through when 8 MiB of refusals wait behind it', async (_, first, answer) => {
  const harness = await startHarness()
  const { client, broker } = await harness.connect()
  client.send(first)
  const asked = await broker.next()
  harness.fault = new MillraceError('WAL_FULL', 'x'.repeat(100))
  const paused = () => harness.metric('millrace_proxy_reads_paused_total', ',waiting_for="client"')
  let sent = 0
  while (!(await paused())) {
    client.send(many(++sent))
    expect(sent, 'the client is not read any more').toBeLessThan(100)
    const refused = () => harness.metric('millrace_proxy_produce_requests_total', ',outcome="refused"')
    await until(async () => (await refused()) === sent || (await paused()), { what: 'a refusal', interval: 1 })
  }
  expect(client.bytes).toBe(0)

  harness.fault = null
  broker.send(answer(asked))
  await until(() => harness.captures.length > 0 || client.frames.length > 0, { what: 'the answer', interval: 1 })
  for (const { resolve } of harness.captures) resolve()
  await until(() => client.frames.length === sent + 1, { what: 'all answers', interval: 1 })
  expect(client.frames.map(frame => frame.readInt32BE(4))).toEqual(client.frames.map((_, i) => i))
  expect(client.bytes).toBeGreaterThan(8 * MiB)
  const { responses } = read(produce, 12, client.frames.at(-1)!)
  expect(responses[0]!.partitionResponses).toHaveLength(2_000)
  expect(await harness.metric('millrace_proxy_inflight_bytes')).toBe(0)
})
