// The worker within its limits: when it seals, what it keeps, and what it does when the archive takes nothing.
import { once } from 'node:events'
import { rename, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import net from 'node:net'
import { afterAll, expect, test } from 'vitest'
import { manifests, segmentObjects } from '../support/archived.ts'
import { filesBelow } from '../support/files.ts'
import { kafkaClient } from '../support/kafka-client.ts'
import { producerPerf } from '../support/kafka-tools.ts'
import { describeWith, useKafka, useS3 } from '../support/servers.ts'
import type { Acknowledged } from '../support/topics.ts'
import { createTopic, send } from '../support/topics.ts'
import { until } from '../support/until.ts'
import {
  archiveFolder,
  dataPath,
  expectAcknowledged,
  expectBrokersLog,
  expectClean,
  flush,
  useWorker
} from '../support/workers.ts'

const MiB = 1024 * 1024

describeWith(['kafka', 'kafka-files', 'kafka-tools'], 'a worker seals without being asked', () => {
  const worker = useWorker(() => ({
    worker: { 'segment.bytes': '1MiB', 'segment.ms': '2s', 'warm.max.bytes': '3MiB' }
  }))
  const slow = useWorker(() => ({ worker: { 'segment.bytes': '1MiB', 'warm.max.bytes': '0B' } }))

  test('by size, and leaves the rest for later', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    await producerPerf({ bootstrap: slow().bootstrap, topic, records: 5_500, recordSize: 1_000 })
    const folder = archiveFolder(slow())
    await until(async () => (await segmentObjects(folder, topic, 0)).length >= 5, { what: 'five segments' })
    const sealed = await manifests(folder, topic, 0)
    expect(sealed).toHaveLength(5)
    for (const { logBytes } of sealed) expect(logBytes).toBeGreaterThanOrEqual(MiB)
    for (const { logBytes } of sealed) expect(logBytes).toBeLessThan(1.1 * MiB)
    expect(sealed.map(({ baseOffset }) => baseOffset)).toEqual([0, ...sealed.slice(0, -1).map(one => one.nextOffset)])
    expect(sealed.at(-1)!.nextOffset).toBeLessThan(5_500)
    await flush(slow(), topic)
    await expectBrokersLog(slow(), topic)
    await expectClean(slow(), topic)
  })

  test('by age, so that a single record is archived', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker().bootstrap, topic, [[{ value: 'x' }]])
    const folder = archiveFolder(worker())
    await until(async () => (await segmentObjects(folder, topic, 0)).length > 0, { what: 'a segment' })
    await expectBrokersLog(worker(), topic)
  })

  test('and keeps the newest local copies within warm.max.bytes, or none', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    // Random letters do not shrink much: a segment takes most of a MiB in the archive too.
    await producerPerf({ bootstrap: worker().bootstrap, topic, records: 10_000, recordSize: 1_000 })
    await flush(worker(), topic)
    const archived = (await filesBelow(archiveFolder(worker()))).filter(({ name }) => name.includes(topic))
    const warm = await filesBelow(dataPath(worker(), 'warm'))
    expect(archived.filter(({ name }) => name.endsWith('.tar.gz')).length).toBeGreaterThan(8)
    expect(warm.length).toBeGreaterThan(1)
    expect(warm.reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual(3 * MiB)
    expect(warm).toEqual(archived.filter(({ name }) => name.endsWith('.tar.gz')).slice(-warm.length))
    expect(await filesBelow(dataPath(slow(), 'warm'))).toEqual([])
    expect(await filesBelow(dataPath(worker(), 'building'))).toEqual([])
  })
})

describeWith(['kafka', 'kafka-files', 'kafka-tools'], "a worker's WAL", () => {
  const worker = useWorker(() => ({ worker: { 'segment.bytes': '4MiB', 'wal.max.bytes': '64MiB' } }))

  test('stays small under a steady load, since what is archived is deleted', { timeout: 180_000 }, async () => {
    const topic = await createTopic(useKafka().bootstrap, { partitions: 3 })
    const sizes: number[] = []
    let isArchived = false
    const measure = async () => {
      sizes.push((await filesBelow(dataPath(worker(), 'wal'))).reduce((sum, { size }) => sum + size, 0))
      return isArchived
    }
    const measuring = until(measure, { what: 'all is archived', interval: 100, timeout: 180_000 })
    measuring.catch(() => {})
    const load = { bootstrap: worker().bootstrap, topic, records: 100_000, recordSize: 1_000, throughput: 10_000 }
    await producerPerf({ ...load, settings: { acks: 'all' } })
    await flush(worker(), topic)
    isArchived = true
    await measuring
    // What is in flight when the limit is reached may still come in.
    expect(Math.max(...sizes)).toBeLessThan(66 * MiB)
    for (const partition of [0, 1, 2]) await expectBrokersLog(worker(), topic, partition)
    await until(
      async () => (await filesBelow(dataPath(worker(), 'wal'))).filter(({ name }) => name.endsWith('.wal')).length <= 3,
      {
        what: 'spent files are deleted'
      }
    )
  })
})

describeWith(['kafka', 'kafka-files'], 'a worker whose archive cannot be written', () => {
  const worker = useWorker(() => ({ worker: { 'segment.bytes': '4MiB', 'wal.max.bytes': '64MiB' } }))

  test('captures until wal.max.bytes, then tells producers to try again; goes on when the archive does', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    const folder = archiveFolder(worker())
    await rename(folder, `${folder}.away`)
    await writeFile(folder, 'a file where the folder should be')
    const acknowledged: Acknowledged = new Map()
    const producer = kafkaClient(worker().bootstrap, { retry: { retries: 0 } }).producer()
    await producer.connect()
    const produce = async (i: number) => {
      const value = `${i} ${'x'.repeat(MiB - 1_000)}`
      // Who were let wait for room, until the request's own time is up, would have given up before that, without an answer.
      const [sent] = await producer.send({ topic, acks: -1, timeout: 600_000, messages: [{ value }] })
      acknowledged.set(`0@${sent!.baseOffset}`, value)
    }
    const refused: string[] = []
    for (let i = 0; i < 90 && refused.length < 5; i++) await produce(i).catch(error => refused.push(error.cause?.type))
    expect(acknowledged.size).toBeGreaterThan(50)
    expect(acknowledged.size).toBeLessThan(70)
    // The one that filled the WAL is at the broker and must be sent again; the later ones never got there.
    expect(refused).toEqual([
      expect.stringMatching(/^NOT_ENOUGH_REPLICAS(_AFTER_APPEND)?$/),
      ...Array.from({ length: 4 }, () => 'NOT_ENOUGH_REPLICAS')
    ])
    const flushed = await worker().command(['flush', '--timeout', '3s'])
    expect(flushed.code).toBe(1)
    expect(flushed.stderr).toContain(folder)

    await rm(folder)
    await rename(`${folder}.away`, folder)
    await until(() => produce(1_000).then(() => true), { what: 'the producer gets through', timeout: 70_000 })
    await producer.disconnect()
    await flush(worker(), topic)
    await expectAcknowledged(topic, acknowledged)
    await expectBrokersLog(worker(), topic)
    await expectClean(worker(), topic)
  }, 120_000)
})

describeWith(
  ['kafka', 'kafka-files'],
  'a worker whose archive cannot be written, with capture.on.failure: pass',
  () => {
    const worker = useWorker(() => ({
      worker: { 'segment.bytes': '4MiB', 'wal.max.bytes': '64MiB', 'capture.on.failure': 'pass' }
    }))

    test('lets producers go on when the WAL is full, and fetches from the broker what it did not capture', async () => {
      const topic = await createTopic(useKafka().bootstrap)
      const folder = archiveFolder(worker())
      await rename(folder, `${folder}.away`)
      await writeFile(folder, 'a file where the folder should be')
      const producer = kafkaClient(worker().bootstrap, { retry: { retries: 0 } }).producer()
      await producer.connect()
      const value = 'x'.repeat(MiB - 1_000)
      for (let i = 0; i < 90; i++) await producer.send({ topic, acks: -1, messages: [{ value }] })
      await producer.disconnect()
      expect((await fetch(`${worker().httpUrl}/readyz`)).status).toBe(200)
      const metrics = await (await fetch(`${worker().httpUrl}/metrics`)).text()
      const passed = Number(/produce_requests_total\{.*outcome="passed".*\} (\d+)/.exec(metrics)?.[1])
      expect(passed).toBeGreaterThan(20)
      expect(passed).toBeLessThan(40)

      await rm(folder)
      await rename(`${folder}.away`, folder)
      await flush(worker(), topic)
      await expectBrokersLog(worker(), topic)
      await expectClean(worker(), topic)
      expect((await manifests(folder, topic, 0)).flatMap(({ gaps }) => gaps)).toEqual([])
    }, 120_000)
  }
)

describeWith(['kafka', 's3'], 'a worker whose bucket does not answer', () => {
  let relay: Relay
  const worker = useWorker(async () => {
    relay = await startRelay(Number(new URL(useS3().endpoint).port))
    const s3 = { ...useS3(), endpoint: `http://127.0.0.1:${relay.port}` }
    return { archiveUrl: `s3://${await useS3().createBucket()}`, s3 }
  })
  afterAll(() => relay.close())

  test('ends a flush in time, and archives when the bucket answers again', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker().bootstrap, topic, [[{ value: 'x' }]])
    relay.freeze()
    let isPatientDone = false
    const patient = flush(worker(), topic).finally(() => void (isPatientDone = true))
    patient.catch(() => {})
    const { code, stderr } = await worker().command(['flush', '--topic', topic, '--timeout', '1s'])
    expect(code).toBe(1)
    expect(stderr).toMatch(`${topic}-0: `)
    expect(isPatientDone).toBe(false)
    relay.thaw()
    await patient
    await expectClean(worker(), topic)
  })

  test('does not keep the worker from stopping, and has after the next start what it lacked', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker().bootstrap, topic, [[{ value: 'x' }]])
    relay.freeze()
    const began = performance.now()
    expect(await worker().terminate()).toBe(0)
    expect(performance.now() - began).toBeLessThan(30_000)
    relay.thaw()
    await worker().start()
    await flush(worker(), topic)
    await expectClean(worker(), topic)
  })
})

interface Relay {
  readonly port: number
  /** From now on no byte passes. */
  freeze(): void
  thaw(): void
  close(): void
}

/** Passes every byte on to a port of loopback, until it is told not to. */
async function startRelay(to: number): Promise<Relay> {
  const sockets = new Set<net.Socket>()
  let frozen = false
  const server = net.createServer(client => {
    const upstream = net.connect(to, '127.0.0.1')
    client.pipe(upstream).pipe(client)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => sockets.delete(socket))
      if (frozen) socket.pause()
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    freeze() {
      frozen = true
      for (const socket of sockets) socket.pause()
    },
    thaw() {
      frozen = false
      for (const socket of sockets) socket.resume()
    },
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    }
  }
}
