// The embedded broker under real clients: alone, with the proxy in front of it, and killed under load.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { committed } from '../support/client-suite/observe.ts'
import { clientSuite } from '../support/client-suite.ts'
import { confluentTransaction } from '../support/clients/confluent.ts'
import { java } from '../support/clients/java.ts'
import { javaLoad } from '../support/clients/java-load.ts'
import { kafkajs } from '../support/clients/kafkajs.ts'
import type { Foreground } from '../support/foreground.ts'
import { kafkaClient } from '../support/kafka-client.ts'
import { kafkaTopics } from '../support/kafka-tools.ts'
import type { Worker } from '../support/millrace.ts'
import { startCommand, startMillrace } from '../support/millrace.ts'
import { freePort } from '../support/ports.ts'
import { describeWith } from '../support/servers.ts'
import type { Acknowledged } from '../support/topics.ts'
import { createTopic, produceUntil, withAdmin } from '../support/topics.ts'
import { until } from '../support/until.ts'

/** `millrace broker` for the tests of one describe, on a port that it keeps. Call the result inside a test. */
function useBroker() {
  let broker: Awaited<ReturnType<typeof startCommand>> | undefined
  beforeAll(async () => {
    broker = await startCommand(['broker', '--listen', `127.0.0.1:${await freePort()}`])
  })
  afterAll(() => broker?.dispose())
  return () => broker!
}

/** A worker over its embedded broker, which in the end must have archived all that the broker holds. */
function useArchivingWorker() {
  let worker: Worker | undefined
  beforeAll(async () => {
    worker = await startMillrace({})
  })
  afterAll(async () => {
    try {
      await expectArchived(worker!)
    } finally {
      await worker?.dispose()
    }
  })
  return () => worker!
}

describe('the embedded broker', () => {
  const broker = useBroker()
  clientSuite('alone', () => broker().addresses['broker']!)

  describeWith(['confluent'], 'without transactions', () => {
    test('says so at once to who wants them', async () => {
      const bootstrap = broker().addresses['broker']!
      const producer = kafkaClient(bootstrap).producer({ transactionalId: randomUUID(), maxInFlightRequests: 1 })
      await producer.connect()
      await expect(producer.transaction()).rejects.toThrow(/Failed to find group coordinator/)
      await producer.disconnect()
      await expect(confluentTransaction(bootstrap)).rejects.toThrow(/Transactions are not supported here/)
    })
  })
})

describe('the proxy in front of the embedded broker', () => {
  const worker = useArchivingWorker()
  clientSuite('together', () => worker().bootstrap)
})

describeWith(['kafka-tools'], 'the embedded broker, killed under load', () => {
  const broker = useBroker()
  killTests(broker, () => broker().addresses['broker']!)
})

describeWith(['kafka-tools'], 'the embedded broker and the proxy in front of it, killed under load', () => {
  const worker = useArchivingWorker()
  killTests(worker, () => worker().bootstrap)
})

/** `running()` is what is killed, with the broker in it; `bootstrap` is where its clients come in. */
function killTests(running: () => Foreground, bootstrapOf: () => string): void {
  test('has every acknowledged record once, topic ids and committed offsets, after kill -9', async () => {
    const bootstrap = bootstrapOf()
    const topic = await createTopic(bootstrap, { partitions: 3 })
    const fixed = `fixed-${randomUUID()}`
    const kept = Array.from({ length: 3 }, (_, partition) => ({ partition, offset: String(partition + 1) }))
    await withAdmin(bootstrap, admin => admin.setOffsets({ groupId: fixed, topic, partitions: kept }))
    const following = `following-${randomUUID()}`
    await using member = await java.join(bootstrap, { group: following, topic, clientId: 'follower' })

    const describeTopic = () => kafkaTopics(bootstrap, ['--describe', '--topic', topic])
    const described = await describeTopic()

    const acknowledged: Record<'java' | 'js', Acknowledged> = { java: new Map(), js: new Map() }
    const loading = new AbortController()
    const load = Promise.all([
      javaLoad(loading.signal, { bootstrap, topic, perSecond: 2_000 }, acknowledged.java),
      produceUntil(loading.signal, { bootstrap, topic, name: 'js', idempotent: true }, acknowledged.js)
    ])
    load.catch(() => undefined)
    const bothGoOn = async () => {
      const before = { java: acknowledged.java.size, js: acknowledged.js.size }
      const further = () => acknowledged.java.size > before.java + 500 && acknowledged.js.size > before.js + 100
      await until(further, { what: 'records of both are acknowledged', timeout: 30_000 })
    }
    for (let round = 0; round < 3; round++) {
      await bothGoOn()
      await running().kill9()
      await running().start()
    }
    await bothGoOn()
    loading.abort()
    await load

    const ends = await java.offsets(bootstrap, topic, 'latest')
    const count = [...ends.values()].reduce((a, b) => a + b, 0)
    const isRead = () => new Set(member.records.map(placeOf)).size === count
    await until(isRead, { what: 'the member has read all', timeout: 30_000 })
    await member.leave()
    expect(await committed(bootstrap, following, topic)).toEqual([0, 1, 2].map(partition => ends.get(partition)))
    expect(await committed(bootstrap, fixed, topic)).toEqual([1, 2, 3])
    // Its line has the topic's id.
    expect(await describeTopic()).toBe(described)

    const records = await kafkajs.consume(bootstrap, topic, { from: 'beginning', count })
    const stored = new Map(records.map(record => [placeOf(record), record.value]))
    for (const places of Object.values(acknowledged)) {
      expect([...places].filter(([place, value]) => stored.get(place) !== value)).toEqual([])
    }
    expect(new Set(stored.values()).size, 'no value is stored twice').toBe(count)
    expect([...acknowledged.java, ...acknowledged.js].length).toBeLessThanOrEqual(count)
  }, 120_000)
}

const placeOf = ({ partition, offset }: { partition: number; offset: number }): string => `${partition}@${offset}`

/** All that the broker holds is in the archive, and the archive is sound. */
async function expectArchived(worker: Worker): Promise<void> {
  const flushed = await worker.command(['flush'])
  expect(flushed.code, flushed.stderr).toBe(0)
  const verified = await worker.command(['verify', '--json'])
  expect(verified.code, verified.stdout + verified.stderr).toBe(0)
  const lines = verified.stdout.trim().split('\n')
  const reports = lines.map(line => JSON.parse(line)).filter(report => 'topic' in report)
  const archived = new Map(reports.map(report => [`${report.topic}-${report.partition}`, report.to]))
  const held = await withAdmin(worker.bootstrap, async admin => {
    const topics = await admin.listTopics()
    const offsets = await Promise.all(topics.map(topic => admin.fetchTopicOffsets(topic)))
    return topics.flatMap((topic, i) =>
      offsets[i]!.map(({ partition, high }) => [`${topic}-${partition}`, Number(high)])
    )
  })
  const withRecords = held.filter(([, high]) => high !== 0)
  expect(withRecords).not.toEqual([])
  expect(withRecords.map(([partition]) => [partition, archived.get(partition as string)])).toEqual(withRecords)
}
