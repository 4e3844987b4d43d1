// A cluster of three behind the proxy: every node is reached through it and none round it, groups work, and the death of a
// leader under load costs nothing that was acknowledged.
import { randomUUID } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { kafkaClient } from '../support/kafka-client.ts'
import { consoleConsume, kafkaTool } from '../support/kafka-tools.ts'
import { kcat } from '../support/kcat.ts'
import { archivedValues, expectArchived, expectLeadersLogs, leadersOf } from '../support/leaders.ts'
import type { Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { describeWith, useOwnKafka } from '../support/servers.ts'
import type { Acknowledged } from '../support/topics.ts'
import { createTopic, produceUntil, send, withAdmin } from '../support/topics.ts'
import { until } from '../support/until.ts'
import { archiveFolder, expectClean, flush, nodeAddress } from '../support/workers.ts'

describeWith(['kafka-own', 'kafka-tools', 'kcat'], 'a cluster of three nodes', () => {
  // A node that is killed holds back the high watermark until the controller misses it.
  const cluster = useOwnKafka({ nodes: 3, settings: { 'broker.session.timeout.ms': '6000' } })
  let worker: Worker
  beforeAll(async () => {
    worker = await startMillrace({ bootstrap: cluster().bootstrap, highestNode: 3 })
  })
  afterAll(() => worker?.dispose())

  const offered = (nodeId: number): string => nodeAddress(worker, nodeId)

  /** No port of a broker's own is in a client's answer. */
  function expectNoLeak(text: string): void {
    for (const { port } of cluster().nodes) expect(text).not.toContain(String(port))
  }

  test('is named to clients by the proxy’s addresses only', async () => {
    const topic = await createTopic(cluster().bootstrap, { partitions: 3 })
    const listed = (await kcat(['-b', worker.bootstrap, '-L', '-t', topic])).toString()
    for (const id of [1, 2, 3]) expect(listed).toContain(`broker ${id} at ${offered(id)}`)
    expectNoLeak(listed)

    const described = await withAdmin(worker.bootstrap, admin => admin.describeCluster())
    expect(described.brokers.map(({ nodeId, host, port }) => [nodeId, `${host}:${port}`]).sort()).toEqual(
      [1, 2, 3].map(id => [id, offered(id)])
    )

    // The newest client asks DescribeCluster, and every node for its versions.
    const versions = await kafkaTool('org.apache.kafka.tools.BrokerApiVersionsCommand', [
      '--bootstrap-server',
      worker.bootstrap
    ])
    for (const id of [1, 2, 3]) expect(versions).toMatch(`${offered(id)} (id: ${id} rack: rack-${id}`)
    expectNoLeak(versions)
    const cli = await kafkaTool('org.apache.kafka.tools.ClusterTool', [
      'list-endpoints',
      '--bootstrap-server',
      worker.bootstrap
    ])
    for (const id of [1, 2, 3]) expect(cli).toContain(offered(id).split(':')[1])
    expectNoLeak(cli)
  })

  test('consumer groups find their coordinator, join and commit through the proxy', async () => {
    const topic = await createTopic(cluster().bootstrap, { partitions: 3 })
    const values = Array.from({ length: 30 }, (_, i) => `value ${i}`)
    await kcat(['-b', worker.bootstrap, '-P', '-t', topic], { input: values.join('\n') })
    // Each group hashes to a coordinator of its own, so that several of them meet all nodes.
    for (const group of ['red', 'green', 'blue']) {
      const consumed = await consoleConsume({
        bootstrap: worker.bootstrap,
        topic,
        count: values.length,
        args: ['--group', `${group}-${topic}`]
      })
      expect(consumed.sort()).toEqual([...values].sort())
      const described = await kafkaTool('org.apache.kafka.tools.consumer.group.ConsumerGroupCommand', [
        ...['--bootstrap-server', worker.bootstrap, '--describe', '--state', '--group', `${group}-${topic}`]
      ])
      expect(described).toMatch(/127\.0\.0\.1:\d+/)
      expectNoLeak(described)
      // What it committed stands at the cluster.
      const committed = await withAdmin(cluster().bootstrap, admin =>
        admin.fetchOffsets({ groupId: `${group}-${topic}`, topics: [topic] })
      )
      // A partition without records has no committed offset, which reads as -1.
      const offsets = committed.flatMap(({ partitions }) => partitions.map(({ offset }) => Math.max(0, Number(offset))))
      expect(offsets.reduce((sum, offset) => sum + offset)).toBe(values.length)
    }
    // librdkafka's group, too.
    const settings = ['-X', 'auto.offset.reset=earliest', '-e', '-q']
    const read = await kcat(['-b', worker.bootstrap, ...settings, '-G', topic, topic])
    expect(read.toString().trim().split('\n').sort()).toEqual([...values].sort())
  })

  test('a leader that dies under load costs nothing that was acknowledged, and comes back', async () => {
    const topic = await createTopic(cluster().bootstrap, { partitions: 3 })
    const acknowledged: Acknowledged = new Map()
    const running = new AbortController()
    const where = { bootstrap: worker.bootstrap, topic, idempotent: true }
    const load = Promise.all(
      ['a', 'b', 'c'].map(name => produceUntil(running.signal, { ...where, name }, acknowledged))
    )
    const enough = async (what: string) => {
      const before = acknowledged.size
      await until(() => acknowledged.size > before + 200, { what, timeout: 40_000 })
    }
    await enough('records are acknowledged')
    const victim = await leaderOf(topic)
    await cluster().kill(victim)
    await until(async () => (await leaderOf(topic)) !== victim, { what: 'another node leads', timeout: 30_000 })
    await enough('records are acknowledged without the dead node')
    await cluster().start(victim)
    await enough('records are acknowledged when it is back')
    running.abort()
    await load

    await expectArchived(worker, cluster(), topic, acknowledged)

    await send(worker.bootstrap, topic, [[{ value: 'through all nodes again' }]])
    const listed = (await kcat(['-b', worker.bootstrap, '-L', '-t', topic])).toString()
    expect(listed).toContain(`broker ${victim} at ${offered(victim)}`)
    expectNoLeak(listed)
  }, 120_000)

  test('what only a leader had that died is beside the archive, which equals the next one’s log, by a clean election too', async () => {
    const topic = await onTwoNodes({})
    const producer = kafkaClient(worker.bootstrap, { retry: { retries: 0 } }).producer()
    await producer.connect()
    const sendOne = (value: string, acks: number) => producer.send({ topic, acks, messages: [{ value }] })
    await sendOne('load: on both', -1)
    await cluster().freeze(2)
    try {
      for (const i of [1, 2]) await sendOne(`load: alone ${i}`, 1)
      await cluster().kill(1)
    } finally {
      await cluster().thaw(2)
    }
    await producer.disconnect()
    await until(async () => (await leaderOf(topic)) === 2, { what: 'the other node leads', timeout: 30_000 })
    // Round the proxy, so that nothing that was captured contradicts what is lost.
    await send(cluster().bootstrap, topic, [[{ value: 'load: in their place' }], [{ value: 'load: and behind it' }]])
    await cluster().start(1)
    await flush(worker, topic)
    await expectLeadersLogs(worker, cluster(), topic)
    await expectClean(worker, topic)
    const values = [...(await archivedValues(worker, topic)).values()].map(value => value.replace('load: ', ''))
    // The follower may have asked for the first just before it stood still, and have found it when it went on.
    const passedOn = values.filter(value => value.includes('alone')).length
    expect(values).toEqual(['on both', ...['alone 1'].slice(0, passedOn), 'in their place', 'and behind it'])
    expect(await extrasOf(topic)).toEqual([1, 2].slice(passedOn))
  }, 120_000)

  test('what an election took back is beside the archive, which equals the log that is left', async () => {
    const topic = await takeBack(async () => {})
    await flush(worker, topic)
    expect(await extrasOf(topic)).toEqual([1, 2])
    // Round the proxy, so that nothing that was captured contradicts what was taken back.
    await send(cluster().bootstrap, topic, [[{ value: 'load: in its place' }, { value: 'load: and behind it' }]])
    await cluster().start(1)
    await send(worker.bootstrap, topic, [[{ value: 'load: through the proxy again' }]])
    await flush(worker, topic)
    await expectLeadersLogs(worker, cluster(), topic)
    await expectClean(worker, topic)
    expect([...(await archivedValues(worker, topic)).values()].sort()).toEqual(
      ['and behind it', 'in its place', 'on both', 'through the proxy again'].map(what => `load: ${what}`)
    )
    expect(await extrasOf(topic)).toEqual([1, 2])
  }, 120_000)

  test('what an election put in the place of what is archived is beside it, captured or not', async () => {
    const topic = await takeBack(archived => flush(worker, archived))
    // The archive reaches offset 3, the log 1. Round the proxy, and through it.
    await send(cluster().bootstrap, topic, [[{ value: 'load: in its place, not captured' }]])
    await flush(worker, topic)
    expect(await extrasOf(topic)).toEqual([1])
    await send(worker.bootstrap, topic, [[{ value: 'load: in its place, captured' }]])
    await send(cluster().bootstrap, topic, [[{ value: 'load: not captured either' }]])
    await send(worker.bootstrap, topic, [[{ value: 'load: behind it' }]])
    await flush(worker, topic)
    await expectClean(worker, topic)
    expect([...(await archivedValues(worker, topic)).entries()].sort()).toEqual(
      ['on both', 'taken back 1', 'taken back 2', 'not captured either', 'behind it'].map((what, offset) => [
        `0@${offset}`,
        `load: ${what}`
      ])
    )
    expect(await extrasOf(topic)).toEqual([1, 2])
    await cluster().start(1)
  }, 120_000)

  /**
   * A topic that has one record at offset 0, and of which an unclean election took back two batches behind it. `before` is called
   * when its leader has these alone; then it is stopped, and the other node leads.
   */
  async function takeBack(before: (topic: string) => Promise<unknown>): Promise<string> {
    const topic = await onTwoNodes({ 'unclean.leader.election.enable': 'true' })
    await send(worker.bootstrap, topic, [[{ value: 'load: on both' }]])
    await cluster().kill(2)
    await send(worker.bootstrap, topic, [[{ value: 'load: taken back 1' }], [{ value: 'load: taken back 2' }]], {
      acks: 1
    })
    await until(async () => (await inSync(topic)).length === 1, { what: 'the leader goes on alone', timeout: 30_000 })
    await before(topic)
    await cluster().kill(1)
    await cluster().start(2)
    await until(async () => (await leaderOf(topic)) === 2, { what: 'the other node leads', timeout: 30_000 })
    return topic
  }

  /** A topic of one partition, which the first node leads and the second follows. */
  async function onTwoNodes(settings: Record<string, string>): Promise<string> {
    const topic = `taken-back-${randomUUID()}`
    const configEntries = Object.entries({ ...settings, 'min.insync.replicas': '1' }).map(([name, value]) => ({
      name,
      value
    }))
    const replicaAssignment = [{ partition: 0, replicas: [1, 2] }]
    await withAdmin(cluster().bootstrap, admin =>
      admin.createTopics({ topics: [{ topic, replicaAssignment, configEntries }] })
    )
    return topic
  }

  /** At which offsets the archive has batches beside the main line. */
  async function extrasOf(topic: string): Promise<number[]> {
    const names = await readdir(archiveFolder(worker), { recursive: true })
    const found = names.flatMap(name => (name.includes(`${topic}/`) ? (/extra\/(\d+)-/.exec(name)?.[1] ?? []) : []))
    return found.map(Number).sort()
  }

  async function inSync(topic: string): Promise<readonly number[]> {
    const { topics } = await withAdmin(cluster().bootstrap, admin => admin.fetchTopicMetadata({ topics: [topic] }))
    return topics[0]!.partitions[0]!.isr
  }

  const leaderOf = async (topic: string): Promise<number> => (await leadersOf(cluster(), topic))[0]!
})
