// What a broker that has stopped costs the clients of the others: nothing. And what of its own is lost: nothing.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster } from '../../src/kafka/cluster.ts'
import { kafkaClient } from '../support/kafka-client.ts'
import { kcat } from '../support/kcat.ts'
import { archivedValues, expectLeadersLogs } from '../support/leaders.ts'
import type { Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { describeWith, useOwnKafka } from '../support/servers.ts'
import { send, withAdmin } from '../support/topics.ts'
import { until } from '../support/until.ts'
import { flush } from '../support/workers.ts'

const KiB = 1024

describeWith(['kafka-own', 'kcat'], 'one of three brokers that does nothing', () => {
  const cluster = useOwnKafka({ nodes: 3, settings: { 'broker.session.timeout.ms': '30000' } })
  let worker: Worker
  beforeAll(async () => {
    worker = await startMillrace({ bootstrap: cluster().bootstrap, proxy: { 'capture.inflight.bytes': '4MiB' } })
  })
  afterAll(() => worker?.dispose())

  const topicOn = async (node: number): Promise<string> => {
    const topic = `on-${node}`
    const replicaAssignment = [{ partition: 0, replicas: [node] }]
    await withAdmin(cluster().bootstrap, admin =>
      admin.createTopics({ waitForLeaders: true, topics: [{ topic, replicaAssignment }] })
    )
    return topic
  }
  /** Resolves when a node that stood still knows what has been made since. */
  const untilCaughtUp = async (node: number) => {
    const topic = `since-${node}`
    await withAdmin(cluster().bootstrap, admin => admin.createTopics({ waitForLeaders: false, topics: [{ topic }] }))
    const { port } = cluster().nodes.find(({ id }) => id === node)!
    using itself = new Cluster([{ host: '127.0.0.1', port }])
    await until(async () => (await itself.refresh([topic])).length > 0, { what: `node ${node} has caught up` })
  }
  const producer = async () => {
    const client = kafkaClient(worker.bootstrap, { requestTimeout: 60_000, retry: { retries: 5 } })
    const one = client.producer({ idempotent: false })
    await one.connect()
    return one
  }
  const inflight = async (): Promise<number> => {
    const text = await (await fetch(`${worker.httpUrl}/metrics`)).text()
    return Number(/^millrace_proxy_inflight_bytes\{.*\} (\d+)$/m.exec(text)![1])
  }

  test('keeps no more than half of what may be in flight; the others are written and read as ever', {
    timeout: 120_000
  }, async () => {
    const [stopped, ...others] = [await topicOn(2), await topicOn(1), await topicOn(3)] as const
    const many = await Promise.all(Array.from({ length: 12 }, producer))
    const record = (KiBs: number) => [{ value: Buffer.alloc(KiBs * KiB, 'x') }]
    // Each knows where its leader is before that stops.
    await Promise.all(many.map(one => one.send({ topic: stopped, messages: record(1) })))
    const free = await producer()
    for (const topic of others) await free.send({ topic, messages: record(1) })

    await cluster().freeze(2)
    const waiting = Promise.all(many.map(one => one.send({ topic: stopped, messages: record(512) })))
    waiting.catch(() => {})
    await until(async () => (await inflight()) > 1.5 * 1024 * KiB, { what: 'as many wait as may' })
    for (let i = 0; i < 100; i++) for (const topic of others) await free.send({ topic, messages: record(900) })
    expect(await inflight()).toBeLessThanOrEqual(2 * 1024 * KiB)
    for (const topic of others) {
      const sizes = await kcat(['-C', '-b', worker.bootstrap, '-t', topic, '-o', 'beginning', '-e', '-q', '-f', '%S\n'])
      expect(sizes.toString().trim().split('\n')).toHaveLength(101)
    }

    await cluster().thaw(2)
    await waiting
    await Promise.all([...many, free].map(one => one.disconnect()))
    await until(async () => (await inflight()) === 0, { what: 'nothing is in flight' })
    for (const topic of [stopped, ...others]) {
      await flush(worker, topic)
      await expectLeadersLogs(worker, cluster(), topic)
    }
  })

  test.each([1, 2, 3])('clients that come to the bootstrap listener get in while broker %i is frozen', async node => {
    // There is a topic of which this client's metadata does not tell the id, so that the worker asks the cluster beside it.
    await send(worker.bootstrap, 'known', [[{ value: 'to all' }]])
    await cluster().freeze(node)
    try {
      const impatient = ['-X', 'socket.timeout.ms=2000', '-X', 'api.version.request.timeout.ms=2000']
      const shown = await kcat(['-L', '-b', worker.bootstrap, '-m', '20', ...impatient])
      expect(shown.toString()).toContain('3 brokers:')
    } finally {
      await cluster().thaw(node)
      await untilCaughtUp(node)
    }
  })

  test('what a leader has appended, and says was not replicated in time, is archived, once', async () => {
    const topic = 'replicated'
    const replicaAssignment = [{ partition: 0, replicas: [1, 2, 3] }]
    await withAdmin(cluster().bootstrap, admin =>
      admin.createTopics({ waitForLeaders: true, topics: [{ topic, replicaAssignment }] })
    )
    await send(worker.bootstrap, topic, [[{ value: 'replicated' }]])
    const client = kafkaClient(worker.bootstrap, { retry: { retries: 0 } }).producer()
    await client.connect()
    await cluster().freeze(2)
    const sent = client.send({ topic, acks: -1, timeout: 1_000, messages: [{ value: 'late' }] })
    await expect(sent).rejects.toMatchObject({ cause: { type: 'REQUEST_TIMED_OUT' } })
    await cluster().thaw(2)
    await client.disconnect()
    await flush(worker, topic)
    await expectLeadersLogs(worker, cluster(), topic)
    expect([...(await archivedValues(worker, topic))]).toEqual([
      ['0@0', 'replicated'],
      ['0@1', 'late']
    ])
  })
})
