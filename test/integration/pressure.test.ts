// What a broker that has stopped costs the clients of the others: nothing. And what of its own is lost: nothing.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cluster } from '../../src/kafka/cluster.ts'
import { manifests } from '../support/archived.ts'
import { kafkaClient } from '../support/kafka-client.ts'
import { kcat } from '../support/kcat.ts'
import { archivedValues, expectLeadersLogs } from '../support/leaders.ts'
import type { Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { describeWith, useOwnKafka } from '../support/servers.ts'
import { send, withAdmin } from '../support/topics.ts'
import { until } from '../support/until.ts'
import { archiveFolder, flush } from '../support/workers.ts'

const KiB = 1024

describeWith(['kafka-own', 'kcat'], 'one of three brokers that does nothing', () => {
  // A node that stands still counts as being there all the time that a test needs.
  const settings = { 'broker.session.timeout.ms': '60000', 'replica.lag.time.max.ms': '60000' }
  const cluster = useOwnKafka({ nodes: 3, settings })
  let worker: Worker
  beforeAll(async () => {
    worker = await startMillrace({ bootstrap: cluster().bootstrap, proxy: { 'capture.inflight.bytes': '4MiB' } })
  })
  afterAll(() => worker?.dispose())

  /** A topic of one partition whose replicas these nodes are, led by the first. */
  const topicOn = async (...replicas: number[]): Promise<string> => {
    const topic = `on-${replicas.join('-')}-${randomUUID()}`
    const replicaAssignment = [{ partition: 0, replicas }]
    await withAdmin(cluster().bootstrap, admin =>
      admin.createTopics({ waitForLeaders: true, topics: [{ topic, replicaAssignment }] })
    )
    for (const { id } of cluster().nodes) await untilKnown(topic, id)
    return topic
  }
  /** While a node stands still. */
  const whileFrozen = async (node: number, work: () => Promise<unknown>) => {
    await cluster().freeze(node)
    try {
      await work()
    } finally {
      await cluster().thaw(node)
    }
  }
  /** Resolves when a node that stood still knows what has been made since. */
  const untilCaughtUp = async (node: number) => {
    const topic = `since-${node}`
    await withAdmin(cluster().bootstrap, admin => admin.createTopics({ waitForLeaders: false, topics: [{ topic }] }))
    await untilKnown(topic, node)
  }
  const untilKnown = async (topic: string, node: number) => {
    using itself = new Cluster([{ host: '127.0.0.1', port: portOf(node) }])
    await until(async () => (await itself.refresh([topic])).length > 0, { what: `node ${node} knows ${topic}` })
  }
  const portOf = (node: number) => cluster().nodes.find(({ id }) => id === node)!.port
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

    let waiting: Promise<unknown> | undefined
    await whileFrozen(2, async () => {
      waiting = Promise.all(many.map(one => one.send({ topic: stopped, messages: record(512) })))
      waiting.catch(() => {})
      await until(async () => (await inflight()) > 1.5 * 1024 * KiB, { what: 'as many wait as may' })
      for (let i = 0; i < 100; i++) for (const topic of others) await free.send({ topic, messages: record(900) })
      expect(await inflight()).toBeLessThanOrEqual(2 * 1024 * KiB)
      for (const topic of others) {
        const of = ['-b', worker.bootstrap, '-t', topic, '-o', 'beginning']
        const sizes = await kcat(['-C', ...of, '-e', '-q', '-f', '%S\n'])
        expect(sizes.toString().trim().split('\n')).toHaveLength(101)
      }
    })
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
    try {
      await whileFrozen(node, async () => {
        const impatient = ['-X', 'socket.timeout.ms=2000', '-X', 'api.version.request.timeout.ms=2000']
        const shown = await kcat(['-L', '-b', worker.bootstrap, '-m', '20', ...impatient])
        expect(shown.toString()).toContain('3 brokers:')
      })
    } finally {
      await untilCaughtUp(node)
    }
  })

  test('what a leader has appended, and says was not replicated in time, is archived, once', async () => {
    const topic = await topicOn(1, 2, 3)
    await send(worker.bootstrap, topic, [[{ value: 'replicated' }]])
    const client = kafkaClient(worker.bootstrap, { retry: { retries: 0 } }).producer()
    await client.connect()
    await whileFrozen(2, async () => {
      const sent = client.send({ topic, acks: -1, timeout: 1_000, messages: [{ value: 'late' }] })
      await expect(sent).rejects.toMatchObject({ cause: { type: 'REQUEST_TIMED_OUT' } })
    })
    await client.disconnect()
    await flush(worker, topic)
    await expectLeadersLogs(worker, cluster(), topic)
    expect([...(await archivedValues(worker, topic))]).toEqual([
      ['0@0', 'replicated'],
      ['0@1', 'late']
    ])
  })

  test('what the high watermark has not passed is not archived; flush says so in time', async () => {
    const topic = await topicOn(1, 2)
    await send(worker.bootstrap, topic, [[{ value: 'safe' }]])
    await flush(worker, topic)
    await whileFrozen(2, async () => {
      await send(worker.bootstrap, topic, [[{ value: 'at the leader' }]], { acks: 1 })
      const { code, stderr } = await worker.command(['flush', '--topic', topic, '--timeout', '5s'])
      expect(code).toBe(1)
      expect(stderr).toMatch(`${topic}-0: the archive reaches offset 1, the high watermark is not past 1 yet`)
      // The leader still waits for the other: it was not that which let flush end.
      const told = await kcat(['-L', '-b', `127.0.0.1:${portOf(1)}`, '-t', topic])
      expect(told.toString()).toContain('isrs: 1,2')
      expect((await manifests(archiveFolder(worker), topic, 0)).at(-1)!.nextOffset).toBe(1)
    })
    await flush(worker, topic)
    await expectLeadersLogs(worker, cluster(), topic)
  })
})
