// The proxy's wire against a real cluster of three: no answer leads round it, in any version, and what a client gets through it
// is what the broker says.
import { randomUUID } from 'node:crypto'
import net from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Address } from '../../src/kafka/address.ts'
import { parseAddress } from '../../src/kafka/address.ts'
import type { Api, ResponseOf } from '../../src/kafka/api.ts'
import { Connection } from '../../src/kafka/connection.ts'
import * as messages from '../../src/kafka/messages.ts'
import { produceFrame, read, request } from '../connectors/kafka-proxy/frames.ts'
import { End } from '../connectors/kafka-proxy/harness.ts'
import { oneRecord } from '../fixtures/every-version.ts'
import { archivedLog, logDifference, logWithoutEpochs } from '../support/archived.ts'
import { haveRead, sendToEach } from '../support/client-suite/observe.ts'
import type { Client } from '../support/clients/client.ts'
import { confluent } from '../support/clients/confluent.ts'
import { java } from '../support/clients/java.ts'
import type { Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { describeWith, useOwnKafka } from '../support/servers.ts'
import { shareConsume, shareFromStart } from '../support/share-groups.ts'
import { createTopic, send, withAdmin } from '../support/topics.ts'
import { until } from '../support/until.ts'
import { archiveFolder, flush } from '../support/workers.ts'

const { apiVersions, fetch, listOffsets, metadata, produce, shareAcknowledge, shareFetch } = messages

const versionsFrom = (from: number, [, to]: readonly [number, number]) =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i)

describeWith(['kafka-own', 'kafka-tools', 'confluent'], 'the wire of the proxy', () => {
  const cluster = useOwnKafka({ nodes: 3 })
  let worker: Worker
  beforeAll(async () => {
    worker = await startMillrace({ bootstrap: cluster().bootstrap, highestNode: 3 })
  })
  afterAll(() => worker?.dispose())

  /** Where the proxy offers a node, and where the node itself is. */
  const offered = (nodeId: number): Address => ({
    host: '127.0.0.1',
    port: parseAddress(worker.bootstrap).port + 1 + nodeId
  })
  const direct = (nodeId: number): Address => ({
    host: '127.0.0.1',
    port: cluster().nodes.find(({ id }) => id === nodeId)!.port
  })

  interface Place {
    readonly topic: string
    readonly topicId: string
    readonly leader: number
    /** A node that neither leads nor follows. */
    readonly stranger: number
  }

  /** A topic of one partition on one node, with a few records: copies would serve consumers, too (KIP-392). */
  async function place(): Promise<Place> {
    const { bootstrap, nodes } = cluster()
    const topic = `lone-${randomUUID()}`
    const lone = { topic, numPartitions: 1, replicationFactor: 1 }
    await withAdmin(bootstrap, admin => admin.createTopics({ waitForLeaders: true, topics: [lone] }))
    await send(bootstrap, topic, [[{ value: 'a' }, { value: 'b' }], [{ value: 'c' }]])
    using connection = await Connection.open(direct(1), 'test')
    const { topics } = await connection.request(metadata, { topics: [{ name: topic }] })
    const leader = topics[0]!.partitions[0]!.leaderId
    const stranger = nodes.find(({ id }) => id !== leader)!.id
    return { topic, topicId: topics[0]!.topicId!, leader, stranger }
  }

  const fetching = ({ topic, topicId }: Place) => ({
    maxWaitMs: 0,
    minBytes: 0,
    topics: [{ topic, topicId, partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1_000_000 }] }]
  })

  const sharing = ({ topicId }: Place, memberId: string) => ({
    ...{ groupId: 'share', memberId, shareSessionEpoch: 0, maxWaitMs: 0, minBytes: 0, maxRecords: 10, batchSize: 10 },
    topics: [{ topicId, partitions: [{ partitionIndex: 0, acknowledgementBatches: [] }] }],
    forgottenTopicsData: []
  })

  test('no answer of a node that does not lead leads round the proxy, in every version that names the leader', async () => {
    const there = await place()
    const { topic: name, topicId, leader, stranger } = there
    using connection = await Connection.open(offered(stranger), 'test')
    const expected = [{ nodeId: leader, ...offered(leader), rack: `rack-${leader}` }]
    const topicData = [{ name, topicId, partitionData: [{ index: 0, records: oneRecord }] }]
    for (const version of versionsFrom(10, produce.versions)) {
      const asked = { transactionalId: null, acks: 1, timeoutMs: 1000, topicData }
      const answer = await connection.request(produce, asked, { version })
      expect(answer.nodeEndpoints, `Produce ${version}`).toEqual(expected)
    }
    for (const version of versionsFrom(16, fetch.versions)) {
      const answer = await connection.request(fetch, fetching(there), { version })
      expect(answer.responses[0]!.partitions[0]).toMatchObject({ errorCode: 6, currentLeader: { leaderId: leader } })
      expect(answer.nodeEndpoints, `Fetch ${version}`).toEqual(expected)
    }
    for (const version of versionsFrom(1, shareFetch.versions)) {
      const asked = sharing(there, `AAAAAAAAAAAAAAAAAAAAA${version}`)
      const answer = await connection.request(shareFetch, asked, { version })
      expect(answer.nodeEndpoints, `ShareFetch ${version}`).toEqual(expected)
    }
    using broker = await Connection.open(direct(stranger), 'test')
    for (const api of [produce, fetch, shareFetch, shareAcknowledge] as Api[]) {
      expect(connection.version(api), `the newest ${api.name} is offered`).toBe(broker.version(api))
    }
  })

  test('Fetch brings through the proxy what it brings without, in every version', async () => {
    const there = await place()
    using through = await Connection.open(offered(there.leader), 'test')
    using without = await Connection.open(direct(there.leader), 'test')
    for (const version of versionsFrom(fetch.versions[0], fetch.versions)) {
      const ours = await through.request(fetch, fetching(there), { version })
      expect(ours.responses[0]!.partitions[0]!.records!.length).toBeGreaterThan(100)
      expect(ours, `version ${version}`).toEqual(await without.request(fetch, fetching(there), { version }))
    }
  })

  test('a share group shares a topic of three nodes through the proxy', async () => {
    const topic = await createTopic(cluster().bootstrap, { partitions: 3 })
    const group = `group-${topic}`
    const values = Array.from({ length: 30 }, (_, i) => `value ${i}`)
    for (const partition of [0, 1, 2]) {
      const own = values.filter((_, i) => i % 3 === partition).map(value => ({ value }))
      await send(cluster().bootstrap, topic, [own], { partition })
    }
    await shareFromStart(worker.bootstrap, group)
    const shared = await shareConsume({ bootstrap: worker.bootstrap, topic, group, count: values.length })
    expect(shared.sort()).toEqual([...values].sort())
  })

  // Shorter than the brokers' own 127.0.0.1, and longer: the answer is padded, or names nobody.
  test.each([
    ['127.1', [{ host: '127.1' }], [127]],
    ['127.000.0.1', [], [127]]
  ])('consumers follow a leader that moves to another node of a proxy that is called %s', async (host, named, tags) => {
    const { bootstrap } = cluster()
    await using renamed = await startMillrace({ bootstrap, highestNode: 3, proxy: { 'advertised.host': host } })
    const there = await place()
    const { topic, leader, stranger } = there
    const sent = ['a', 'b', 'c']
    const join = (client: Client) =>
      client.join(renamed.bootstrap, { group: `${client.name}-${topic}`, topic, clientId: client.name })
    await using javas = await join(java)
    await using confluents = await join(confluent)
    for (const member of [javas, confluents]) await haveRead([member], sent)

    const partitionAssignment = [{ partition: 0, replicas: [stranger] }]
    await withAdmin(bootstrap, admin => admin.alterPartitionReassignments({ topics: [{ topic, partitionAssignment }] }))
    const port = parseAddress(renamed.bootstrap).port + 1 + leader
    using connection = await Connection.open({ host: '127.0.0.1', port }, 'test')
    const refused = async () => {
      const answer = await connection.request(fetch, fetching(there), { version: 18 })
      return answer.responses[0]!.partitions[0]!.errorCode === 6 && answer
    }
    const answer = await until(refused, { what: 'another node leads', timeout: 20_000 })
    expect(answer.nodeEndpoints).toMatchObject(named)
    expect(answer.unknownTags!.map(({ tag }) => tag)).toEqual(tags)
    sent.push(...(await sendToEach(bootstrap, topic, 1, 'after the move')))
    for (const member of [javas, confluents]) await haveRead([member], sent)
  })

  test('acks, as parsed from every version with a transactional id and a timeout, are what the broker takes them for', async () => {
    const topic = await createTopic(cluster().bootstrap)
    using connection = await Connection.open(direct(1), 'test')
    const { topics } = await connection.request(metadata, { topics: [{ name: topic }] })
    const { topicId, partitions } = topics[0]!
    const socket = net.connect({ ...offered(partitions[0]!.leaderId), noDelay: true })
    const client = new End(socket)
    const ids = { [topic]: topicId! }
    let correlationId = 0
    const owed: { id: number; version: number; acks: number }[] = []
    for (const version of versionsFrom(produce.versions[0], produce.versions)) {
      for (const acks of [-1, 0, 1, 0]) {
        correlationId++
        if (acks !== 0) owed.push({ id: correlationId, version, acks })
        const settings = { version, acks, correlationId, timeoutMs: 12_345, transactionalId: `tx-${version}` }
        client.send(produceFrame({ ...settings, topics: { [topic]: [0] }, ids }))
      }
    }
    // An acks=0 that was waited for, or an answer that was not, would leave the rest to nobody.
    for (const { id, version, acks } of owed) {
      const frame = await client.next()
      expect(frame.readInt32BE(4)).toBe(id)
      const { errorCode } = read(produce, version, frame).responses[0]!.partitionResponses[0]!
      expect(errorCode, `version ${version}, acks ${acks}`).toBe(0)
    }
    // Consumers are told of the high watermark, which the last records pass when the other nodes have them.
    const asked = { topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp: -1 }] }] }
    const end = async () => {
      client.send(request(listOffsets, 5, 9999, asked))
      return read(listOffsets, 5, await client.next()).topics[0]!.partitions[0]!.offset
    }
    await until(async () => (await end()) === 2 * correlationId, { what: 'every record is in the log' })
    expect(client.frames).toEqual([])
    await flush(worker, topic)
    const [file] = await cluster().segmentFiles(topic, 0, partitions[0]!.leaderId)
    const archived = await archivedLog(archiveFolder(worker), topic, 0)
    expect(logDifference(archived, await logWithoutEpochs(file!))).toBeNull()
  })

  test('a batch with a few bytes behind it, which brokers cut off, is captured', async () => {
    const topic = await createTopic(cluster().bootstrap)
    using connection = await Connection.open(direct(1), 'test')
    const { topics } = await connection.request(metadata, { topics: [{ name: topic }] })
    const { leaderId } = topics[0]!.partitions[0]!
    using leader = await Connection.open(offered(leaderId), 'test')
    const records = Buffer.concat([oneRecord, Buffer.from([1, 2, 3])])
    const topicData = [{ name: topic, topicId: topics[0]!.topicId!, partitionData: [{ index: 0, records }] }]
    const { responses } = await leader.request(produce, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 9_000,
      topicData
    })
    expect(responses[0]!.partitionResponses).toMatchObject([{ errorCode: 0, baseOffset: 0 }])
    await flush(worker, topic)
    const [file] = await cluster().segmentFiles(topic, 0, leaderId)
    const archived = await archivedLog(archiveFolder(worker), topic, 0)
    expect(logDifference(archived, await logWithoutEpochs(file!))).toBeNull()
  })

  test('ApiVersions of the future is refused by the proxy, as a broker would, and the next one is answered', async () => {
    const client = new End(net.connect({ ...offered(1), noDelay: true }))
    const software = { clientSoftwareName: 'future', clientSoftwareVersion: '9' }
    const newer = request(apiVersions, 4, 1, software)
    newer.writeInt16BE(99, 6)
    client.send(newer)
    const refused = await client.next()
    const broker = new End(net.connect({ ...direct(1), noDelay: true }))
    broker.send(newer)
    expect(refused).toEqual(await broker.next())
    const again = request(apiVersions, 4, 2, software)
    client.send(again)
    broker.send(again)
    const [ours, theirs] = [await client.next(), await broker.next()].map(frame => read(apiVersions, 4, frame))
    const keys = ({ apiKeys }: ResponseOf<typeof apiVersions>) => apiKeys.map(({ apiKey }) => apiKey)
    // DescribeQuorum, and what belongs between brokers; telemetry is offered by brokers that collect it only.
    expect(
      keys(theirs!)
        .filter(key => !keys(ours!).includes(key))
        .sort()
    ).toEqual([55, 80, 81, 83, 84, 85, 86, 87])
  })

  test.each([[10_001], [-1], [55]])(
    'a request that the broker or the proxy does not offer ends its connection alone: %d',
    async key => {
      const [one, other] = [new End(net.connect({ ...offered(1) })), await Connection.open(offered(1), 'test')] as const
      using _ = other
      const strange = request(metadata, 12, 1, { topics: null })
      strange.writeInt16BE(key, 4)
      one.send(strange)
      await one.end()
      expect(one.bytes).toBe(0)
      expect((await other.request(metadata, { topics: [] })).brokers).toHaveLength(3)
    }
  )
})
