// The image, built and run by Docker itself.

import { fileURLToPath } from 'node:url'
import type { StartedTestContainer } from 'testcontainers'
import { GenericContainer, getContainerRuntimeClient, Wait } from 'testcontainers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { kafkaClient } from '../support/kafka-client.ts'
import { freePortRange } from '../support/ports.ts'
import { describeWith } from '../support/servers.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

describeWith(['docker'], 'the image', () => {
  let container: StartedTestContainer
  let bootstrap: string

  beforeAll(async () => {
    // What clients are told must be reachable here, so that the ports are the same inside and outside.
    const first = await freePortRange(2)
    bootstrap = `localhost:${first}`
    const proxy = `name: proxy
connector.class: kafka-proxy
listen: 0.0.0.0:${first}
node.port.base: ${first}
advertised.host: \${env:MILLRACE_ADVERTISED_HOST}
`
    const image = await GenericContainer.fromDockerfile(root).build()
    container = await image
      .withExposedPorts({ container: first, host: first }, { container: first + 1, host: first + 1 })
      .withCopyContentToContainer([{ content: proxy, target: '/etc/millrace/connectors/kafka-proxy.yaml' }])
      .withDroppedCapabilities('ALL')
      .withWaitStrategy(Wait.forHealthCheck())
      .start()
  }, 600_000)

  afterAll(() => container?.stop())

  test('captures, archives, and ends on SIGTERM', async () => {
    const producer = kafkaClient(bootstrap).producer()
    await producer.connect()
    await producer.send({ topic: 'greetings', messages: [{ value: 'hello from the image' }] })
    await producer.disconnect()
    expect(await container.exec(['millrace', 'flush'])).toMatchObject({ exitCode: 0 })
    expect(await container.exec(['millrace', 'verify'])).toMatchObject({
      exitCode: 0,
      output: expect.stringContaining('greetings-0')
    })
    expect((await container.exec(['id', '-u'])).output).toBe('1000\n')

    await container.stop({ remove: false, timeout: 45_000 })
    const { container: containers } = await getContainerRuntimeClient()
    const { State } = await containers.getById(container.getId()).inspect()
    expect(State).toMatchObject({ Status: 'exited', ExitCode: 0 })
  })
})
