// Millrace's own connections to a broker whose listeners speak TLS and SASL: raw ones, kafkajs' admin, and `replay`.
import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseAddress } from '../../src/kafka/address.ts'
import { Admin } from '../../src/kafka/admin.ts'
import { batchesOf } from '../../src/kafka/batch.ts'
import { Cluster, LATEST } from '../../src/kafka/cluster.ts'
import { Connection } from '../../src/kafka/connection.ts'
import { metadata } from '../../src/kafka/messages.ts'
import type { Security } from '../../src/kafka/security.ts'
import { clusterSecurity } from '../../src/kafka/security.ts'
import type { SmallArchive } from '../archive/small-archive.ts'
import { smallArchive } from '../archive/small-archive.ts'
import { batchOf } from '../replay/batches.ts'
import type { Authority, Certificate } from '../support/certificates.ts'
import { makeAuthority } from '../support/certificates.ts'
import type { ClientSettings } from '../support/kafka-secured.ts'
import {
  addScramUser,
  listenerOf,
  oauthSettings,
  PASSWORD,
  SHORT_SESSION_MS,
  saslSettings,
  securedKafka,
  USERNAME
} from '../support/kafka-secured.ts'
import { propertiesFile } from '../support/kafka-settings.ts'
import { millrace, startMillrace } from '../support/millrace.ts'
import { freePort } from '../support/ports.ts'
import { describeWith, useOwnKafka } from '../support/servers.ts'
import { tempFolder } from '../support/temp.ts'
import type { TokenEndpoint } from '../support/token-endpoint.ts'
import { startTokenEndpoint } from '../support/token-endpoint.ts'

describeWith(['kafka-own', 'kafka-tools'], 'a secured cluster', () => {
  let authority: Authority
  const kafka = useOwnKafka(async () => {
    authority = await makeAuthority()
    tokens = await startTokenEndpoint({ [USERNAME]: PASSWORD })
    return await securedKafka(authority, tokens)
  })
  let ours: Certificate
  let tokens: TokenEndpoint
  let small: SmallArchive
  let nobody: number

  beforeAll(async () => {
    nobody = await freePort()
    ours = await authority.issue('miller', 'sesame')
    small = await smallArchive()
    await addScramUser(kafka())
  })
  afterAll(async () => {
    await tokens?.[Symbol.asyncDispose]()
    await small?.[Symbol.asyncDispose]()
    await authority?.[Symbol.asyncDispose]()
  })

  const mtls = (): ClientSettings => ({
    'security.protocol': 'SSL',
    'ssl.truststore.location': authority.file,
    'ssl.keystore.location': ours.file,
    'ssl.key.password': 'sesame'
  })

  /** Each way in: the listener and a client's settings for it. */
  const ways: Record<string, () => readonly [bootstrap: string, settings: ClientSettings]> = {
    'mutual TLS': () => [listenerOf(kafka(), 'MTLS'), mtls()],
    PLAIN: () => [listenerOf(kafka(), 'SASL'), saslSettings(authority, 'PLAIN')],
    'PLAIN without TLS': () => {
      const { 'ssl.truststore.location': _, ...settings } = saslSettings(authority, 'PLAIN')
      return [listenerOf(kafka(), 'OPEN'), { ...settings, 'security.protocol': 'SASL_PLAINTEXT' }]
    },
    'SCRAM-SHA-256': () => [listenerOf(kafka(), 'SASL'), saslSettings(authority, 'SCRAM-SHA-256')],
    'SCRAM-SHA-512': () => [listenerOf(kafka(), 'SASL'), saslSettings(authority, 'SCRAM-SHA-512')],
    OAUTHBEARER: () => [listenerOf(kafka(), 'SASL'), oauthSettings(authority, tokens.url)]
  }

  const securityOf = (settings: ClientSettings): Security => clusterSecurity(settings)
  const open = (bootstrap: string, settings: ClientSettings) =>
    Connection.open(parseAddress(bootstrap), 'test', securityOf(settings))

  test.each(Object.keys(ways))('%s: metadata, settings, appends and reads', async way => {
    const [bootstrap, settings] = ways[way]!()
    const security = securityOf(settings)
    const admin = new Admin([parseAddress(bootstrap)], security)
    using cluster = new Cluster([parseAddress(bootstrap)], security)
    expect(await cluster.clusterId()).toBe(kafka().clusterId)
    const topic = randomUUID()
    expect(await admin.createTopic(topic, 1, { 'retention.ms': '1234567' })).toBe(true)
    expect(await cluster.topicSettings(topic)).toMatchObject({ retentionMs: 1_234_567 })
    const batch = batchOf([0, 1])
    const at = { topic, partition: 0 }
    expect(await cluster.produceBatch(at, batch.toWire())).toBe(0)
    const { records, highWatermark } = await cluster.fetchLog(at, 0)
    expect(highWatermark).toBe(2)
    expect([...batchesOf(records)].map(one => one.header.crc)).toEqual([batch.header.crc])
  })

  test.each(Object.keys(ways))('%s: replay reaches it with --command-config', async way => {
    const [bootstrap, settings] = ways[way]!()
    const topic = randomUUID()
    const stream = { clusterId: 'elsewhere-0123456789ab', topic, topicId: 'AAAAAAAAAAAAAAAAAAAAAQ', partition: 0 }
    await small.append(stream, { nextOffset: 3, batches: [batchOf([0, 1, 2])] })
    await using folder = await tempFolder('client')
    const file = join(folder.path, 'client.properties')
    // As a file of Kafka's own tools has it, with what means nothing to us.
    await writeFile(file, propertiesFile({ ...settings, 'request.timeout.ms': '5000' }))
    const target = ['--bootstrap', bootstrap, '--command-config', file]
    const result = await millrace(['replay', '--archive', small.url, '--topic', topic, ...target, '--json'])
    expect(result.code, result.stderr).toBe(0)
    expect(JSON.parse(result.stdout)).toMatchObject({ complete: true, records: 3 })
    using plain = new Cluster([parseAddress(kafka().bootstrap)])
    expect(await plain.listOffset({ topic, partition: 0 }, LATEST)).toBe(3)
  })

  test.each(['mutual TLS', 'OAUTHBEARER'])(
    '%s: a worker archives what the brokers have, and replays it to them',
    async way => {
      const [bootstrap, settings] = ways[way]!()
      const topic = randomUUID()
      const plain = parseAddress(kafka().bootstrap)
      using cluster = new Cluster([plain])
      await new Admin([plain]).createTopic(topic, 1, {})
      await cluster.produceBatch({ topic, partition: 0 }, batchOf([0, 1, 2]).toWire())
      const proxy = { topics: topic, backfill: 'earliest' }
      await using worker = await startMillrace({ bootstrap, worker: { 'log.level': 'trace', ...settings }, proxy })
      const flushed = await worker.command(['flush', '--topic', topic, '--json'])
      expect(flushed.code, flushed.stderr).toBe(0)
      expect(JSON.parse(flushed.stdout).partitions).toMatchObject([{ topic, partition: 0, archivedThrough: 2 }])
      const replayed = await worker.command(['replay', '--topic', topic, '--to-topic', `${topic}-again`])
      expect(replayed.code, replayed.stderr).toBe(0)
      expect(await cluster.listOffset({ topic: `${topic}-again`, partition: 0 }, LATEST)).toBe(3)
      const logs = await worker.logs()
      for (const secret of [PASSWORD, 'sesame', 'PRIVATE KEY', 'eyJ']) expect(logs).not.toContain(secret)
    }
  )

  describe('a session that ends', () => {
    const sasl = Object.keys(ways).filter(way => !way.includes('TLS'))
    test.each(sasl)('%s: one connection outlives several', async way => {
      const [, settings] = ways[way]!()
      using connection = await open(listenerOf(kafka(), 'SHORT'), settings)
      const end = performance.now() + 3 * SHORT_SESSION_MS
      // The broker closes a connection that asks anything when its session is over.
      for (let asked = 0; performance.now() < end || asked === 0; asked++) {
        const answers = await Promise.all([1, 2, 3].map(() => connection.request(metadata, { topics: [] })))
        expect(answers.map(({ clusterId }) => clusterId)).toEqual(Array(3).fill(kafka().clusterId))
      }
    })
  })

  test('topics can be created, and their settings asked for, where sessions are short', async () => {
    const [, settings] = ways['PLAIN']!()
    const place = parseAddress(listenerOf(kafka(), 'SHORT'))
    const topic = `settings-${crypto.randomUUID()}`
    await new Admin([place], securityOf(settings)).createTopic(topic, 1, { 'compression.type': 'zstd' })
    using cluster = new Cluster([place], securityOf(settings))
    expect((await cluster.topicSettings(topic)).compressionType).toBe('zstd')
  })

  describe('what is refused says what to do', () => {
    const wrong = (settings: ClientSettings): ClientSettings => ({
      ...settings,
      'sasl.jaas.config': settings['sasl.jaas.config']!.replace('grist', 'gr1st')
    })
    const without = (settings: ClientSettings, key: string): ClientSettings =>
      Object.fromEntries(Object.entries(settings).filter(([name]) => name !== key))

    test.each<[string, () => readonly [string, ClientSettings], string, RegExp, RegExp]>([
      ...['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'].map(
        way =>
          [
            `a wrong password by ${way}`,
            () => [ways[way]!()[0], wrong(ways[way]!()[1])] as const,
            'AUTHENTICATION_FAILED',
            new RegExp(`^broker localhost:\\d+, ${way}: Authentication failed`),
            /username and password in sasl\.jaas\.config/
          ] as [string, () => readonly [string, ClientSettings], string, RegExp, RegExp]
      ),
      [
        'a wrong client secret',
        () => [listenerOf(kafka(), 'SASL'), wrong(oauthSettings(authority, tokens.url))],
        'AUTHENTICATION_FAILED',
        /^no token from http:.*: HTTP 401 invalid_client$/,
        /clientSecret/
      ],
      [
        'a token endpoint that nobody listens on',
        () => [listenerOf(kafka(), 'SASL'), oauthSettings(authority, `http://127.0.0.1:${nobody}/token`)],
        'BROKER_UNREACHABLE',
        /^no token from http:.*: connect ECONNREFUSED/,
        /token\.endpoint\.url/
      ],
      [
        'a mechanism that the listener has not',
        () => [
          listenerOf(kafka(), 'OPEN'),
          without(
            { ...saslSettings(authority, 'SCRAM-SHA-256'), 'security.protocol': 'SASL_PLAINTEXT' },
            'ssl.truststore.location'
          )
        ],
        'AUTHENTICATION_FAILED',
        /SCRAM-SHA-256: it takes only PLAIN$/,
        /sasl\.mechanism/
      ],
      [
        'SASL at a listener without',
        () => [kafka().bootstrap, ways['PLAIN without TLS']!()[1]],
        'AUTHENTICATION_FAILED',
        /PLAIN: ILLEGAL_SASL_STATE$/,
        /security\.protocol is PLAINTEXT or SSL/
      ],
      [
        'an authority that we do not trust',
        () => [listenerOf(kafka(), 'MTLS'), without(mtls(), 'ssl.truststore.location')],
        'AUTHENTICATION_FAILED',
        /^broker localhost:\d+: unable to verify the first certificate$/,
        /ssl\.truststore\.location/
      ],
      [
        'a host that the certificate does not name',
        () => [listenerOf(kafka(), 'MTLS').replace('localhost', '127.0.0.1'), mtls()],
        'AUTHENTICATION_FAILED',
        /^broker 127\.0\.0\.1:\d+: Hostname\/IP does not match certificate's altnames/,
        /ssl\.endpoint\.identification\.algorithm/
      ],
      [
        'no certificate of ours where one is asked for',
        () => [listenerOf(kafka(), 'MTLS'), without(without(mtls(), 'ssl.keystore.location'), 'ssl.key.password')],
        'AUTHENTICATION_FAILED',
        /^broker localhost:\d+: TLS: /,
        /ssl\.keystore\.location/
      ],
      [
        'TLS at a plain listener',
        () => [kafka().bootstrap, mtls()],
        'BROKER_UNREACHABLE',
        /before secure TLS connection was established$/,
        /the address of a SSL listener/
      ],
      [
        'no TLS at a TLS listener',
        () => [listenerOf(kafka(), 'MTLS'), {}],
        'BROKER_UNREACHABLE',
        /^broker localhost:\d+: /,
        /the address of a PLAINTEXT listener\? Where it is another, name it with security\.protocol/
      ]
    ])('%s', async (_, way, code, message, hint) => {
      const [bootstrap, settings] = way()
      const error = await open(bootstrap, settings).then(
        () => null,
        (failure: unknown) => failure
      )
      expect(error).toMatchObject({ code, message: expect.stringMatching(message), hint: expect.stringMatching(hint) })
      const told = JSON.stringify(error, Object.getOwnPropertyNames(error))
      for (const secret of ['gr1st', PASSWORD, 'sesame']) expect(told).not.toContain(secret)
    })

    test('a token that is over', async () => {
      // Brokers allow for clocks that are half a minute apart.
      tokens.next.lifetimeS = -60
      try {
        await expect(open(listenerOf(kafka(), 'SASL'), oauthSettings(authority, tokens.url))).rejects.toMatchObject({
          code: 'AUTHENTICATION_FAILED',
          message: expect.stringContaining('invalid_token'),
          hint: expect.stringContaining('holds until')
        })
      } finally {
        tokens.reset()
      }
    })

    test('a host that the certificate does not name is let pass where nobody asks for it', async () => {
      const settings = { ...mtls(), 'ssl.endpoint.identification.algorithm': '' }
      using connection = await open(listenerOf(kafka(), 'MTLS').replace('localhost', '127.0.0.1'), settings)
      expect(connection.closed).toBe(false)
    })

    test('the admin says the same of a wrong password', async () => {
      const [bootstrap, settings] = ways['PLAIN']!()
      const admin = new Admin([parseAddress(bootstrap)], securityOf(wrong(settings)))
      await expect(admin.createTopic('any', 1, {})).rejects.toMatchObject({
        code: 'AUTHENTICATION_FAILED',
        message: expect.stringContaining('Authentication failed')
      })
    })
  })

  test('a token is used for more than one connection', async () => {
    const security = securityOf(oauthSettings(authority, tokens.url))
    const before = tokens.given()
    const address = parseAddress(listenerOf(kafka(), 'SASL'))
    using _ = await Connection.open(address, 'test', security)
    using __ = await Connection.open(address, 'test', security)
    expect(tokens.given()).toBe(before + 1)
  })
})
