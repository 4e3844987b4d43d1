// A cluster that changes behind the proxy while clients produce: brokers join, leave, restart and move, leaderships move, and
// all of it goes away and comes back; and the proxy that restarts before clients that know nothing but a broker's port.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseAddress } from '../../src/kafka/address.ts'
import { Cluster } from '../../src/kafka/cluster.ts'
import { underLoad } from '../support/clients/under-load.ts'
import { kafkaTool } from '../support/kafka-tools.ts'
import { kcat } from '../support/kcat.ts'
import { expectArchived, expectLeadersLogs } from '../support/leaders.ts'
import type { Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { freePort } from '../support/ports.ts'
import { parseMetrics } from '../support/prometheus.ts'
import { promptElections, reassign, untilAssigned } from '../support/reassign.ts'
import { describeWith, useOwnKafka } from '../support/servers.ts'
import { closingServer, connectTo } from '../support/sockets.ts'
import type { Acknowledged } from '../support/topics.ts'
import { send, withAdmin } from '../support/topics.ts'
import { until } from '../support/until.ts'
import { flush, nodeAddress } from '../support/workers.ts'

const partitions = 3
/** Each of the first nodes leads a partition. */
const everyoneLeads = [
  [1, 2, 3],
  [2, 3, 1],
  [3, 1, 2]
]
const timed = { timeout: 120_000 }
/** The id of the broker that joins, past a gap. */
const joining = 5

describeWith(['kafka-own', 'kafka-tools', 'kcat'], 'a cluster that changes', () => {
  const settings = { ...promptElections, 'broker.session.timeout.ms': '6000' }
  const cluster = useOwnKafka({ nodes: 3, joining: [joining], settings })
  let worker: Worker
  beforeAll(async () => {
    worker = await startMillrace({ bootstrap: cluster().bootstrap, highestNode: joining })
  })
  afterAll(() => worker?.dispose())

  async function makeTopic(replicas: readonly number[][] = everyoneLeads): Promise<string> {
    const topic = `topic-${randomUUID()}`
    const replicaAssignment = replicas.map((its, partition) => ({ partition, replicas: its }))
    await withAdmin(cluster().bootstrap, admin => admin.createTopics({ topics: [{ topic, replicaAssignment }] }))
    return topic
  }

  const loadOf = (topic: string, bootstrap = worker.bootstrap) => ({ bootstrap, topic, partitions })

  /** Tells the cluster that a broker that is stopped will not come back. */
  const unregister = (id: number) =>
    kafkaTool('org.apache.kafka.tools.ClusterTool', [
      ...['unregister', '--bootstrap-server', cluster().bootstrap, '--id', String(id)]
    ])

  test('a broker that joins is led by the proxy’s address for it, and is gone when it has left', timed, async () => {
    const topic = await makeTopic()
    const joined = await underLoad(loadOf(topic), async more => {
      await more('before it joins')
      await cluster().start(joining)
      await reassign(cluster().bootstrap, topic, [
        [joining, 1, 2],
        [2, joining, 3],
        [joining, 3, 1]
      ])
      await more('while it leads')
    })
    await expectOffered(topic, [1, 2, 3, joining])
    await expectArchived(worker, cluster(), topic, joined)

    const left = await underLoad(loadOf(topic), async more => {
      await more('before it leaves')
      await reassign(cluster().bootstrap, topic, everyoneLeads)
      await cluster().stop(joining)
      await unregister(joining)
      await more('when it has left')
    })
    await expectOffered(topic, [1, 2, 3])
    await expectArchived(worker, cluster(), topic, left)
    // It may come back, and then its port is there.
    const told = () => logLines(worker, `broker ${joining} is not in the cluster`)
    const [before, cut] = [(await told()).length, await withoutBroker(worker)]
    expect(await connectTo(nodeAddress(worker, joining))).toBe('closed')
    await until(async () => (await told()).length > before, { what: 'the log says so' })
    expect(await told()).toHaveLength(before + 1)
    expect(await withoutBroker(worker)).toBe(cut + 1)
  })

  test('the port of a broker that has left is closed, and is the same when it is back', timed, async () => {
    await cluster().start(joining)
    const proxy = { 'node.removed.after.ms': '3s' }
    await using other = await startMillrace({ bootstrap: cluster().bootstrap, highestNode: joining, proxy })
    const topic = await makeTopic()
    const address = nodeAddress(other, joining)
    await send(address, topic, [[{ value: 'while it is there' }]])
    await cluster().stop(joining)
    await unregister(joining)
    const left = { what: 'the port is closed', timeout: 20_000 }
    await until(async () => (await connectTo(address)) === 'refused', left)
    expect(await logLines(other, 'a broker has left the cluster: its port is closed')).toHaveLength(1)
    await send(nodeAddress(other, 1), topic, [[{ value: 'by those that are left' }]])
    await cluster().start(joining)
    await send(address, topic, [[{ value: 'when it is back' }]])
    await flush(other, topic)
    await expectLeadersLogs(other, cluster(), topic)
    await cluster().stop(joining)
    await unregister(joining)
  })

  test('leaderships that move cost nothing and double nothing', timed, async () => {
    const topic = await makeTopic()
    const acknowledged = await underLoad(loadOf(topic), async more => {
      // A leader that knows nothing yet of an idempotent producer takes its second batch before its first, and then never the first:
      // Kafka alone, without Millrace, leaves the producer with OUT_OF_ORDER_SEQUENCE_NUMBER where leaderships move so soon.
      await more('before they move')
      for (const [a, b, c] of [
        [2, 3, 1],
        [3, 1, 2]
      ] as const) {
        await reassign(cluster().bootstrap, topic, [
          [a, b, c],
          [b, c, a],
          [c, a, b]
        ])
        await more(`with the leaders ${[a, b, c]}`)
      }
    })
    await expectArchived(worker, cluster(), topic, acknowledged)
  })

  test('a broker that comes back at another port is found again, by newcomers too', timed, async () => {
    const preferred = Array(partitions).fill([3, 1, 2])
    const topic = await makeTopic(preferred)
    const acknowledged = await underLoad(loadOf(topic), async more => {
      await more('while it leads')
      await cluster().move(3)
      await untilAssigned(cluster().bootstrap, topic, preferred)
      await more('when it has moved')
    })
    await expectOffered(topic, [1, 2, 3])
    // It moves while nobody asks where it is, and then somebody comes who knows nothing else.
    await cluster().move(3)
    await send(nodeAddress(worker, 3), topic, [[{ value: 'at its new port' }]])
    await expectArchived(worker, cluster(), topic, acknowledged)
  })

  test('a broker that was down when we started is offered once it is back', timed, async () => {
    const topic = await makeTopic()
    const acknowledged = await underLoad(loadOf(topic), async more => {
      await more('before it stops')
      await cluster().stop(2)
      await more('without it')
    })
    await worker.terminate()
    await worker.start()
    await cluster().start(2)
    await send(nodeAddress(worker, 2), topic, [[{ value: 'from one who knows nothing else' }]])
    await expectOffered(topic, [1, 2, 3])
    await expectArchived(worker, cluster(), topic, acknowledged)
  })

  const endings = { 'kill -9': 'kill9', SIGTERM: 'terminate' } as const
  test.for(Object.entries(endings))(
    'clients at a broker’s port go on after our restart by %s',
    timed,
    async ([, end]) => {
      const topic = await makeTopic()
      const newcomers: Acknowledged = new Map()
      const acknowledged = await underLoad(loadOf(topic, nodeAddress(worker, 1)), async more => {
        await more('before the restart')
        await worker[end]()
        const began = underLoad(
          loadOf(topic, nodeAddress(worker, 2)),
          more => more('when they began without us'),
          newcomers
        )
        await worker.start()
        await kcat(['-b', nodeAddress(worker, 3), '-P', '-t', topic], { input: 'right after the restart' })
        await began
        await more('after the restart')
      })
      await expectArchived(worker, cluster(), topic, new Map([...acknowledged, ...newcomers]))
    }
  )

  test('a cluster that is all gone for a while is waited for', timed, async () => {
    const topic = await makeTopic()
    const acknowledged = await underLoad(loadOf(topic), async more => {
      await more('before it goes')
      await Promise.all([1, 2, 3].map(id => cluster().kill(id)))
      await until(async () => (await fetch(`${worker.httpUrl}/readyz`)).status === 503, {
        what: 'the worker says that it is unready',
        timeout: 30_000
      })
      await Promise.all([1, 2, 3].map(id => cluster().start(id)))
      await more('when it is back')
    })
    await expectArchived(worker, cluster(), topic, acknowledged)
  })

  test.for(['closes', 'refuses'] as const)('a first bootstrap server that %s connections is passed over', async how => {
    await using closing = await closingServer()
    const first = how === 'closes' ? closing.port : await freePort()
    await using other = await startMillrace({
      bootstrap: `127.0.0.1:${first},${cluster().bootstrap}`,
      highestNode: joining
    })
    const topic = await makeTopic()
    await send(other.bootstrap, topic, [[{ value: 'by the second' }]])
    await flush(other, topic)
    await expectLeadersLogs(other, cluster(), topic)
  })

  test('what nobody leads any more keeps nothing else from being archived', timed, async () => {
    const [lonely, safe] = [await makeTopic([[1], [1], [1]]), await makeTopic([[2, 3]])]
    // Of the addresses that it was given nothing is left.
    const [bootstrap] = cluster().bootstrap.split(',')
    await using other = await startMillrace({
      bootstrap: bootstrap!,
      highestNode: joining,
      worker: { 'segment.ms': '1s' }
    })
    using asker = new Cluster(cluster().bootstrap.split(',').map(parseAddress))
    const sendTo = (topic: string, partition = 0) => send(other.bootstrap, topic, [[{ value: 'x' }]], { partition })
    await sendTo(safe)
    await flush(other, safe)
    for (const partition of [0, 1, 2]) await sendTo(lonely, partition)
    await cluster().kill(1)
    try {
      const leaders = async () => [...(await asker.refresh([lonely]))[0]!.leaders.values()]
      await until(async () => (await leaders()).every(leader => leader < 0), {
        what: 'nobody leads it',
        timeout: 30_000
      })
      await sendTo(safe)
      await flush(other, safe)
    } finally {
      await cluster().start(1)
    }
    await flush(other, lonely)
    for (const topic of [lonely, safe]) await expectLeadersLogs(other, cluster(), topic)
  })

  /** The proxy's addresses of these brokers, and nothing else, are what a client is told. */
  async function expectOffered(topic: string, ids: readonly number[]): Promise<void> {
    const listed = (await kcat(['-b', worker.bootstrap, '-L', '-t', topic])).toString()
    const brokers = [...listed.matchAll(/broker (\d+) at (\S+)/g)].map(([, id, address]) => [Number(id), address])
    expect(brokers.sort()).toEqual(ids.map(id => [id, nodeAddress(worker, id)]))
  }
})

async function logLines(worker: Worker, what: string): Promise<string[]> {
  return (await worker.logs()).split('\n').filter(line => line.includes(what))
}

/** Connections that a worker's proxy has cut off for want of a broker. */
async function withoutBroker({ httpUrl }: Worker): Promise<number> {
  const text = await (await fetch(`${httpUrl}/metrics`)).text()
  const { samples } = parseMetrics(text).get('millrace_proxy_connections_cut_total')!
  return [...samples].find(([name]) => name.includes('reason="no_broker"'))![1]
}
