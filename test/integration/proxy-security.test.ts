// The proxy between clients and a broker that are secured: TLS on either side, SASL through it, certificates that change.
import { copyFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import tls from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseAddress } from '../../src/kafka/address.ts'
import { archivedLog, logDifference, logWithoutEpochs } from '../support/archived.ts'
import type { Authority, Certificate } from '../support/certificates.ts'
import { makeAuthority } from '../support/certificates.ts'
import { kafkaClient } from '../support/kafka-client.ts'
import type { ClientSettings } from '../support/kafka-secured.ts'
import {
  addScramUser,
  listenerOf,
  PASSWORD,
  SHORT_SESSION_MS,
  saslSettings,
  securedKafka,
  USERNAME
} from '../support/kafka-secured.ts'
import { propertiesFile } from '../support/kafka-settings.ts'
import { consoleConsume, consoleProduce, producerPerf } from '../support/kafka-tools.ts'
import { kcat } from '../support/kcat.ts'
import type { Settings, Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { parseMetrics } from '../support/prometheus.ts'
import { describeWith, useOwnKafka } from '../support/servers.ts'
import type { TempFolder } from '../support/temp.ts'
import { tempFolder } from '../support/temp.ts'
import { createTopic } from '../support/topics.ts'
import { until } from '../support/until.ts'
import { archiveFolder, flush, nodeAddress } from '../support/workers.ts'

describeWith(['kafka-own', 'kafka-tools', 'kcat'], 'a secured proxy before a secured cluster', () => {
  let authority: Authority
  let localhost: Certificate
  let ours: Certificate
  let theirs: Certificate
  let folder: TempFolder
  const kafka = useOwnKafka(async () => {
    authority = await makeAuthority()
    return await securedKafka(authority)
  })
  beforeAll(async () => {
    folder = await tempFolder('proxy-security')
    ;[localhost, ours, theirs] = [
      await authority.issue('localhost'),
      await authority.issue('millrace'),
      await authority.issue('client')
    ]
    await addScramUser(kafka())
  })
  afterAll(async () => {
    await folder?.dispose()
    await authority?.[Symbol.asyncDispose]()
  })

  /** A worker at a listener of the broker; clients reach its proxy at `localhost` by TLS. */
  const worker = (listener: 'MTLS' | 'SASL' | 'SHORT', settings: ClientSettings, proxy: Settings = {}) =>
    startMillrace({
      bootstrap: listenerOf(kafka(), listener),
      highestNode: 1,
      worker: settings,
      proxy: {
        'advertised.host': 'localhost',
        'listener.security.protocol': 'SSL',
        'listener.ssl.keystore.location': localhost.file,
        ...proxy
      }
    })
  const bootstrapOf = ({ bootstrap }: Worker) => `localhost:${parseAddress(bootstrap).port}`

  const clientFile = async (settings: ClientSettings): Promise<string> => {
    const file = join(folder.path, `client-${Math.random()}.properties`)
    await writeFile(file, propertiesFile(settings))
    return file
  }

  /** The archive has what the broker's own file has. */
  async function expectArchived(proxy: Worker, topic: string): Promise<void> {
    await flush(proxy, topic)
    const [file] = await kafka().segmentFiles(topic, 0)
    const archived = await archivedLog(archiveFolder(proxy), topic, 0)
    expect(logDifference(archived, await logWithoutEpochs(file!))).toBeNull()
  }

  /** Requests of an API that a worker's proxy has counted. */
  async function requests({ httpUrl }: Worker, api: string): Promise<number> {
    const text = await (await fetch(`${httpUrl}/metrics`)).text()
    const { samples } = parseMetrics(text).get('millrace_proxy_requests_total')!
    const own = [...samples].filter(([name]) => name.includes(`api="${api}"`))
    return own.reduce((sum, [, value]) => sum + value, 0)
  }

  test('certificates on both sides: Java and librdkafka write and read, and the archive has the broker’s log', async () => {
    const upstream = { 'security.protocol': 'SSL', 'ssl.truststore.location': authority.file, 'ssl.keystore.location': ours.file } // biome-ignore format: one line
    const clientAuth = { 'listener.ssl.client.auth': 'required', 'listener.ssl.truststore.location': authority.file }
    await using proxy = await worker('MTLS', upstream, clientAuth)
    const topic = await createTopic(kafka().bootstrap)
    const bootstrap = bootstrapOf(proxy)
    const java = await clientFile({
      'security.protocol': 'SSL',
      'ssl.truststore.type': 'PEM',
      'ssl.truststore.location': authority.file,
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.location': theirs.file
    })
    const commandConfig = ['--command-config', java]
    await producerPerf({ bootstrap, topic, records: 2000, recordSize: 100, args: commandConfig })
    const rdkafka = ['security.protocol=ssl', `ssl.ca.location=${authority.file}`]
    const settings = [...rdkafka, `ssl.certificate.pem=${theirs.chain}`, `ssl.key.pem=${theirs.key}`]
    const args = ['-b', bootstrap, '-t', topic, ...settings.flatMap(setting => ['-X', setting])]
    await kcat(['-P', ...args, '-z', 'gzip'], { input: 'kcat\n'.repeat(500) })
    const read = await kcat(['-C', ...args, '-o', 'beginning', '-e', '-q'])
    const lines = await consoleConsume({ bootstrap, topic, count: 2500, args: commandConfig })
    expect(lines.slice(2000)).toEqual(Array.from({ length: 500 }, () => 'kcat'))
    expect(read.toString()).toBe(lines.map(line => `${line}\n`).join(''))
    await expectArchived(proxy, topic)

    await expect(
      kcat(['-L', '-b', bootstrap, ...rdkafka.flatMap(setting => ['-X', setting]), '-m', '5'])
    ).rejects.toThrow()
    await until(async () => (await proxy.logs()).includes('listener.ssl.client.auth requires one'), { what: 'the log' })
    await expect(kcat(['-L', '-b', bootstrap, '-m', '5'])).rejects.toThrow()
    await until(async () => (await proxy.logs()).includes('These are no TLS bytes'), { what: 'the log' })
  })

  test('SASL passes through TLS on both sides: PLAIN of librdkafka and SCRAM of Java', async () => {
    await using proxy = await worker('SASL', saslSettings(authority, 'SCRAM-SHA-512'))
    const topic = await createTopic(kafka().bootstrap)
    const bootstrap = bootstrapOf(proxy)
    const java = await clientFile({ ...saslSettings(authority, 'SCRAM-SHA-256'), 'ssl.truststore.type': 'PEM' })
    await consoleProduce({ bootstrap, topic, input: 'a\nb\n', args: ['--command-config', java] })
    const properties = [
      'security.protocol=sasl_ssl',
      `ssl.ca.location=${authority.file}`,
      'sasl.mechanism=PLAIN',
      `sasl.username=${USERNAME}`,
      `sasl.password=${PASSWORD}`
    ]
    const args = ['-b', bootstrap, ...properties.flatMap(setting => ['-X', setting])]
    const read = await kcat(['-C', '-t', topic, ...args, '-o', 'beginning', '-e', '-q'])
    expect(read.toString()).toBe('a\nb\n')
    await expect(kcat(['-L', '-m', '5', ...args, '-X', 'sasl.password=wrong'])).rejects.toThrow()

    // One that knows nothing but the broker's port is there before anybody else when we have started again.
    await proxy.kill9()
    const atNode = ['-b', `localhost:${parseAddress(nodeAddress(proxy, 1)).port}`, ...args.slice(2)]
    await proxy.start()
    await kcat(['-P', '-t', topic, ...atNode], { input: 'c\n' })
    const again = await kcat(['-C', '-t', topic, ...atNode, '-o', 'beginning', '-e', '-q'])
    expect(again.toString()).toBe('a\nb\nc\n')
    await expectArchived(proxy, topic)
  })

  test('a client authenticates itself again and again on one connection (KIP-368)', async () => {
    await using proxy = await worker('SHORT', saslSettings(authority, 'PLAIN'))
    const topic = await createTopic(kafka().bootstrap)
    const settings = { ...saslSettings(authority, 'PLAIN'), 'ssl.truststore.type': 'PEM', acks: 'all', retries: '0' }
    const seconds = (5 * SHORT_SESSION_MS) / 1000
    const records = 100 * seconds
    const run = { topic, records, recordSize: 100, throughput: 100 }
    const report = await producerPerf({
      bootstrap: bootstrapOf(proxy),
      ...run,
      args: ['--command-config', await clientFile(settings)]
    })
    expect(report).toContain(`${records} records sent`)
    // One connection for metadata, one to the broker, on which several sessions end; without retries none may break.
    expect(await requests(proxy, 'SaslAuthenticate')).toBeGreaterThanOrEqual(2 + 2)
    expect(await requests(proxy, 'SaslHandshake')).toBeGreaterThanOrEqual(2 + 2)
    await expectArchived(proxy, topic)
  })

  test('a certificate changes while a client is connected, which stays; new ones see the new one', async () => {
    const keystore = join(folder.path, 'keystore.pem')
    const replace = async ({ file }: Certificate) => {
      await copyFile(file, `${keystore}.new`)
      await rename(`${keystore}.new`, keystore)
    }
    await replace(localhost)
    await using next = await makeAuthority()
    const upstream = { 'security.protocol': 'SSL', 'ssl.truststore.location': authority.file, 'ssl.keystore.location': ours.file } // biome-ignore format: one line
    await using proxy = await worker('MTLS', upstream, { 'listener.ssl.keystore.location': keystore })
    const topic = await createTopic(kafka().bootstrap)
    const bootstrap = bootstrapOf(proxy)
    const producer = kafkaClient(bootstrap, { ssl: { ca: [authority.certificate] } }).producer()
    await producer.connect()
    await producer.send({ topic, messages: [{ value: 'before' }] })

    await replace(await next.issue('localhost'))
    const isNew = async () => {
      const { host, port } = parseAddress(bootstrap)
      const socket = tls.connect({ host, port, servername: host, ca: next.certificate, rejectUnauthorized: false })
      await new Promise(resolve => socket.once('secureConnect', resolve))
      const { authorized } = socket
      socket.destroy()
      return authorized
    }
    await until(isNew, { what: 'the new certificate' })
    await producer.send({ topic, messages: [{ value: 'after' }] })
    await producer.disconnect()
    const trusting = (certificate: string) =>
      kafkaClient(bootstrap, { ssl: { ca: [certificate] }, retry: { retries: 0 } })
    const admin = trusting(next.certificate).admin()
    await admin.connect()
    const [partition] = await admin.fetchTopicOffsets(topic)
    expect(partition!.high).toBe('2')
    await admin.disconnect()
    await expect(trusting(authority.certificate).admin().connect()).rejects.toThrow()
  })
})
