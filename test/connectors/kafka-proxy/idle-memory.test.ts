// A connection that is idle keeps nothing of what it sent last.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { until } from '../../support/until.ts'
import { answerProduce, produceFrame } from './frames.ts'
import type { End, Harness } from './harness.ts'
import { startHarness } from './harness.ts'
import { listener, secure, trusting, useCertificates } from './tls-clients.ts'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')
const certificates = useCertificates()

const MiB = 1024 * 1024
const CONNECTIONS = 8
const SIZE = 4 * MiB

function buffered(): number {
  collect()
  return process.memoryUsage().arrayBuffers
}

/** A Produce request with all that follows; none of it stays with the test. */
async function produceOnce(harness: Harness, client: End, acks: number): Promise<void> {
  const broker = await harness.accepted()
  client.send(produceFrame({ size: SIZE, acks }))
  const asked = await broker.next()
  if (acks !== 0) {
    broker.send(answerProduce(asked))
    await until(() => harness.captures.length > 0, { what: 'a capture', interval: 1 })
    harness.captures.shift()!.resolve()
    await client.next()
  }
}

test.each([
  ['TLS', 1],
  ['plain', 0]
])('%s, acks=%d', async (protocol, acks) => {
  const made = certificates()
  const harness = await startHarness({ budget: 128 * MiB, options: protocol === 'TLS' ? listener(made) : {} })
  const clients: End[] = []
  const before = buffered()
  for (let i = 0; i < CONNECTIONS; i++) {
    const client = protocol === 'TLS' ? await secure(harness, trusting(made)) : harness.connectWith()
    clients.push(client)
    await produceOnce(harness, client, acks)
  }
  await until(() => buffered() - before < (CONNECTIONS * SIZE) / 4, { what: 'their memory', timeout: 5_000 })
  expect(clients.every(({ ended }) => !ended)).toBe(true)
})
