// Options of worker and proxy that no other test sets: each shows its effect.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { askCluster } from '../support/kafka-client.ts'
import type { Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { freePort } from '../support/ports.ts'
import { describeKafka, useKafka } from '../support/servers.ts'
import { createTopic, send } from '../support/topics.ts'

describeKafka('a worker with its options set', () => {
  const [wanted, internal, unwanted, excluded] = ['wanted', '__internal', 'unwanted', 'excluded'].map(
    name => `${name}-${randomUUID()}`
  ) as [string, string, string, string]
  const topics = [wanted, internal, unwanted, excluded]
  let worker: Worker
  let nodePort = 0

  beforeAll(async () => {
    const { bootstrap, nodes } = useKafka()
    for (const name of topics) await createTopic(bootstrap, { name })
    nodePort = await freePort()
    worker = await startMillrace({
      bootstrap,
      worker: { 'log.level': 'debug' },
      proxy: {
        'node.ports': `${nodes[0]!.id}:${nodePort}`,
        'advertised.host': 'localhost',
        topics: `${wanted},${internal},${excluded}`,
        'topics.exclude': excluded,
        'capture.inflight.bytes': '1MiB'
      }
    })
  })
  afterAll(() => worker?.dispose())

  test('clients are told the advertised host and the port of the node', async () => {
    const { nodes } = await askCluster(worker.bootstrap)
    expect(nodes).toEqual([{ id: useKafka().nodes[0]!.id, host: 'localhost', port: nodePort }])
  })

  test('only the named topics are captured, internal ones too; the excluded one is not', async () => {
    // More at a time than may be in flight, so that requests have to wait for one another.
    const batches = Array.from({ length: 8 }, () => [{ value: 'x'.repeat(600_000) }])
    await Promise.all(topics.map(topic => send(worker.bootstrap, topic, batches)))
    // A record that went round the proxy is fetched at flush, and that is logged at debug.
    await send(useKafka().bootstrap, wanted, [[{ value: 'round the proxy' }]])
    const { code, stdout, stderr } = await worker.command(['flush', '--json'])
    expect(code, stderr).toBe(0)
    const archived = JSON.parse(stdout).partitions as { topic: string; archivedThrough: number }[]
    expect(new Map(archived.map(({ topic, archivedThrough }) => [topic, archivedThrough]))).toEqual(
      new Map([
        [wanted, 8],
        [internal, 7]
      ])
    )
    expect(await worker.logs()).toContain('fetched what was not captured')
  })
})
