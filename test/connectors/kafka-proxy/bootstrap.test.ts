// How clients get in by the bootstrap listener: to what they are told to connect, and through which broker.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import net from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { listOffsets } from '../../../src/kafka/messages.ts'
import { request } from './frames.ts'
import { End, startHarness } from './harness.ts'

test('a broker that takes connections and answers nothing does not get all clients', async () => {
  const silent = net.createServer(socket => void new End(socket)).listen(0, '127.0.0.1')
  onTestFinished(() => void silent.close())
  await once(silent, 'listening')
  const harness = await startHarness()
  harness.named([1, { host: '127.0.0.1', port: (silent.address() as AddressInfo).port }], 2)
  const frame = request(listOffsets, 3, 1, { topics: [] })
  for (let client = 0; client < 2; client++) {
    new End(net.connect({ host: '127.0.0.1', port: harness.bootstrapPort })).send(frame)
  }
  expect(await (await harness.accepted()).next()).toEqual(frame)
})

test.each(['0.0.0.0', '::'])('listening on %s needs to be told what clients are told', async host => {
  const listen = host === '::' ? '[::]:1' : `${host}:1`
  await expect(startHarness({ options: { listen } })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: `advertised.host: is required with listen on ${host}`
  })
  const harness = await startHarness({ options: { 'advertised.host': 'kafka.example' } })
  expect(harness.proxy.addressOf(1)).toMatchObject({ host: 'kafka.example' })
})
