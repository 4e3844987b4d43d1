// A cluster that changes behind the proxy while clients produce: brokers join, leave, restart and move, leaderships move, and
// all of it goes away and comes back; and the proxy that restarts before clients that know nothing but a broker's port.
import { randomUUID } from 'node:crypto'
import net from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseAddress } from '../../src/kafka/address.ts'
import { javaLoad } from '../support/clients/java-load.ts'
import { kafkaTool } from '../support/kafka-tools.ts'
import { kcat } from '../support/kcat.ts'
import { expectArchived, expectLeadersLogs } from '../support/leaders.ts'
import type { Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { freePort } from '../support/ports.ts'
import { promptElections, reassign, untilAssigned } from '../support/reassign.ts'
import { describeWith, useOwnKafka } from '../support/servers.ts'
import type { Acknowledged } from '../support/topics.ts'
import { produceUntil, send, withAdmin } from '../support/topics.ts'
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

  test('a broker that joins is led by the proxy’s address for it, and is gone when it has left', timed, async () => {
    const topic = await makeTopic()
    const joined = await underLoad(worker.bootstrap, topic, async more => {
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

    const left = await underLoad(worker.bootstrap, topic, async more => {
      await more('before it leaves')
      await reassign(cluster().bootstrap, topic, everyoneLeads)
      await cluster().stop(joining)
      const where = ['--bootstrap-server', cluster().bootstrap, '--id', String(joining)]
      await kafkaTool('org.apache.kafka.tools.ClusterTool', ['unregister', ...where])
      await more('when it has left')
    })
    await expectOffered(topic, [1, 2, 3])
    await expectArchived(worker, cluster(), topic, left)
    await closedPromptly(nodeAddress(worker, joining))
  })

  test('leaderships that move cost nothing and double nothing', timed, async () => {
    const topic = await makeTopic()
    const acknowledged = await underLoad(worker.bootstrap, topic, async more => {
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
    const acknowledged = await underLoad(worker.bootstrap, topic, async more => {
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
    const acknowledged = await underLoad(worker.bootstrap, topic, async more => {
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
      const acknowledged = await underLoad(nodeAddress(worker, 1), topic, async more => {
        await more('before the restart')
        await worker[end]()
        const began = underLoad(nodeAddress(worker, 2), topic, more => more('when they began without us'), newcomers)
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
    const acknowledged = await underLoad(worker.bootstrap, topic, async more => {
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

  /** The proxy's addresses of these brokers, and nothing else, are what a client is told. */
  async function expectOffered(topic: string, ids: readonly number[]): Promise<void> {
    const listed = (await kcat(['-b', worker.bootstrap, '-L', '-t', topic])).toString()
    const brokers = [...listed.matchAll(/broker (\d+) at (\S+)/g)].map(([, id, address]) => [Number(id), address])
    expect(brokers.sort()).toEqual(ids.map(id => [id, nodeAddress(worker, id)]))
  }
})

/**
 * What is acknowledged to two idempotent clients, Kafka's own and kafkajs, that produce while `work` goes on. What work is given
 * waits until each of them has gone on in every partition.
 */
async function underLoad(
  bootstrap: string,
  topic: string,
  work: (more: (when: string) => Promise<unknown>) => Promise<unknown>,
  acknowledged: Acknowledged = new Map()
): Promise<Acknowledged> {
  const stop = new AbortController()
  const clients: Acknowledged[] = [new Map(), new Map()]
  const name = randomUUID()
  const loads = [
    javaLoad(stop.signal, { bootstrap, topic, perSecond: 200 }, clients[0]!),
    produceUntil(stop.signal, { bootstrap, topic, name, idempotent: true }, clients[1]!)
  ]
  const died = Promise.all(loads).then(() => undefined)
  died.catch(() => {})
  const counts = () =>
    clients.flatMap(one =>
      Array.from(
        { length: partitions },
        (_, p) =>
          one
            .keys()
            .filter(at => at.startsWith(`${p}@`))
            .toArray().length
      )
    )
  const more = async (when: string) => {
    const before = counts()
    const isEnough = () => counts().every((count, i) => count >= before[i]! + 20)
    const enough = until(isEnough, { what: `both clients go on in every partition ${when}`, timeout: 40_000 })
    await Promise.race([enough, died.then(() => enough)]).catch(cause => {
      throw new Error(`${before} → ${counts()}`, { cause })
    })
  }
  try {
    await work(more)
  } finally {
    stop.abort()
  }
  await died
  for (const one of clients) for (const [place, value] of one) acknowledged.set(place, value)
  return acknowledged
}

/** Resolves when a connection to an address has ended, which must not take as long as to reach what is not there. */
function closedPromptly(address: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const socket = net.connect(parseAddress(address))
  socket.on('error', () => {})
  socket.on('close', () => resolve())
  socket.setTimeout(5_000, () => reject(new Error(`${address} keeps a connection that leads nowhere`)))
  return promise.finally(() => socket.destroy())
}

/** A server that closes each connection at once. */
async function closingServer(): Promise<{ port: number } & AsyncDisposable> {
  const server = net.createServer(socket => socket.destroy())
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  return { port, [Symbol.asyncDispose]: async () => void server.close() }
}
