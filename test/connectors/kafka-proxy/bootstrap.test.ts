// Through which broker clients get in that come to the bootstrap listener.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import net from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { listOffsets } from '../../../src/kafka/messages.ts'
import { until } from '../../support/until.ts'
import { answerTo, read, request } from './frames.ts'
import { End, startHarness } from './harness.ts'

const frame = request(listOffsets, 3, 1, { topics: [] })

/** A broker that takes connections, and answers nothing until it is told to. */
async function silentBroker() {
  const ends: End[] = []
  const server = net.createServer(socket => void ends.push(new End(socket))).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  return { ends, address: { host: '127.0.0.1', port: (server.address() as AddressInfo).port } }
}

/** A proxy in front of that one and one that the test scripts, which the cluster names in this order; and how to ask whichever it is. */
async function start() {
  const harness = await startHarness()
  const first = await silentBroker()
  harness.named([1, first.address], 2)
  const connect = () => new End(net.connect({ host: '127.0.0.1', port: harness.bootstrapPort }))
  const ask = () => {
    const client = connect()
    client.send(frame)
    return client
  }
  const askUntil = (isThere: () => boolean, what: string) =>
    until(() => ask() && isThere(), { what: `a client reaches ${what}`, interval: 100 })
  return { harness, first, connect, ask, askUntil }
}

test('a broker that answers nobody gets no new clients until it answers', async () => {
  const { harness, first, connect, ask, askUntil } = await start()
  const probe = connect() // asks nothing, so it is not kept waiting
  await until(() => first.ends.length === 1, { what: 'the first broker has the probe' })
  const waiting = ask()
  await askUntil(() => harness.waiting() > 0, 'the other one')
  expect(await (await harness.accepted()).next()).toEqual(frame)

  for (const end of first.ends) for (const asked of end.frames) end.send(answerTo(listOffsets, asked, { topics: [] }))
  expect(read(listOffsets, 3, await waiting.next())).toMatchObject({ topics: [] })
  const before = first.ends.length
  await askUntil(() => first.ends.length > before, 'the first one')
  expect(probe.ended).toBe(false)
})

test('one that closes what it did not answer gets new clients again', async () => {
  const { harness, first, askUntil } = await start()
  await askUntil(() => harness.waiting() > 0, 'the other one')
  for (const end of first.ends) end.socket.destroy()
  const before = first.ends.length
  await askUntil(() => first.ends.length > before, 'the first one')
})
