// What clients are told to connect to.
import { expect, test } from 'vitest'
import { startHarness } from './harness.ts'

test.each(['0.0.0.0', '::'])('listening on %s needs to be told what clients are told', async host => {
  const listen = host === '::' ? '[::]:1' : `${host}:1`
  await expect(startHarness({ options: { listen } })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: `advertised.host: is required with listen on ${host}`
  })
  const harness = await startHarness({ options: { 'advertised.host': 'kafka.example' } })
  expect(harness.proxy.addressOf(1)).toMatchObject({ host: 'kafka.example' })
})
