// Tokens whose signature, issuer and audience the broker checks, as an identity provider gives them: those of clients pass
// through the proxy, Millrace has its own; all of them end and are renewed, and one that is refused says why.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { parseAddress } from '../../src/kafka/address.ts'
import { Admin } from '../../src/kafka/admin.ts'
import { Connection } from '../../src/kafka/connection.ts'
import { metadata } from '../../src/kafka/messages.ts'
import { clusterSecurity } from '../../src/kafka/security.ts'
import { archivedLog, logDifference, logWithoutEpochs } from '../support/archived.ts'
import type { Authority, Certificate } from '../support/certificates.ts'
import { makeAuthority } from '../support/certificates.ts'
import type { ClientSettings } from '../support/kafka-secured.ts'
import {
  allowedUrls,
  listenerOf,
  oauthSettings,
  PASSWORD,
  SHORT_SESSION_MS,
  securedKafka,
  USERNAME
} from '../support/kafka-secured.ts'
import { propertiesFile } from '../support/kafka-settings.ts'
import { consoleConsume, consoleProduce, producerPerf } from '../support/kafka-tools.ts'
import type { Worker } from '../support/millrace.ts'
import { millrace, startMillrace } from '../support/millrace.ts'
import { describeWith, useOwnKafka } from '../support/servers.ts'
import type { TempFolder } from '../support/temp.ts'
import { tempFolder } from '../support/temp.ts'
import type { TokenEndpoint, TokenStyle } from '../support/token-endpoint.ts'
import { startTokenEndpoint } from '../support/token-endpoint.ts'
import { createTopic, send } from '../support/topics.ts'
import { until } from '../support/until.ts'
import { archiveFolder, flush } from '../support/workers.ts'

/** A client of its own, which is not Millrace. */
const BAKER = 'baker'

describeWith(['kafka-own', 'kafka-tools'], 'a cluster that checks the signature of tokens', () => {
  let authority: Authority
  let tokens: TokenEndpoint
  let localhost: Certificate
  let folder: TempFolder
  const kafka = useOwnKafka(async () => {
    authority = await makeAuthority()
    tokens = await startTokenEndpoint({ [USERNAME]: PASSWORD, [BAKER]: PASSWORD })
    return await securedKafka(authority, tokens)
  })
  beforeAll(async () => {
    folder = await tempFolder('signed-tokens')
    localhost = await authority.issue('localhost')
  })
  afterEach(() => tokens.reset())
  afterAll(async () => {
    await folder?.dispose()
    await tokens?.[Symbol.asyncDispose]()
    await authority?.[Symbol.asyncDispose]()
  })

  const settings = () => oauthSettings(authority, tokens.url)
  const open = () => Connection.open(parseAddress(listenerOf(kafka(), 'SASL')), 'test', clusterSecurity(settings()))

  /** A worker with tokens of its own; clients reach its proxy at `localhost` by TLS. */
  const startWorker = (listener: 'SASL' | 'SHORT') =>
    startMillrace({
      bootstrap: listenerOf(kafka(), listener),
      highestNode: 1,
      worker: settings(),
      proxy: {
        'advertised.host': 'localhost',
        'listener.security.protocol': 'SSL',
        'listener.ssl.keystore.location': localhost.file
      }
    })

  /** Kafka's own client with the tokens of BAKER: where it bootstraps, and what its tools take. */
  async function baker({ bootstrap }: Worker, more: ClientSettings = {}) {
    const file = join(folder.path, 'baker.properties')
    const handler = 'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler'
    const own = {
      ...oauthSettings(authority, tokens.url, BAKER),
      'ssl.truststore.type': 'PEM',
      'sasl.login.callback.handler.class': handler
    }
    await writeFile(file, propertiesFile({ ...own, ...more }))
    const [args, systemProperties] = [['--command-config', file], allowedUrls(tokens.url)]
    return { bootstrap: `localhost:${parseAddress(bootstrap).port}`, args, systemProperties }
  }

  async function expectArchived(worker: Worker, topic: string): Promise<void> {
    await flush(worker, topic)
    const [file] = await kafka().segmentFiles(topic, 0)
    const archived = await archivedLog(archiveFolder(worker), topic, 0)
    expect(logDifference(archived, await logWithoutEpochs(file!))).toBeNull()
  }

  test('a client with a token of its own writes and reads; Millrace fetches with its own what went past it', async () => {
    const [bakers, ours] = [tokens.given(BAKER), tokens.given(USERNAME)]
    await using worker = await startWorker('SASL')
    const topic = await createTopic(kafka().bootstrap)
    const client = await baker(worker)
    await consoleProduce({ topic, input: 'through the proxy\n', ...client })
    await send(kafka().bootstrap, topic, [[{ value: 'past it' }]])
    await consoleProduce({ topic, input: 'through it again\n', ...client })
    const lines = await consoleConsume({ topic, count: 3, ...client })
    expect(lines).toEqual(['through the proxy', 'past it', 'through it again'])
    await expectArchived(worker, topic)
    expect(tokens.given(BAKER)).toBeGreaterThanOrEqual(bakers + 3)
    // The one that it got at its start is good for all.
    expect(tokens.given(USERNAME)).toBe(ours + 1)
  })

  test('tokens and sessions end under a producer and under Millrace, and are renewed', async () => {
    // Of shorter ones Kafka's own client loses records without retries, at the broker itself as well.
    tokens.next.lifetimeS = 10
    await using worker = await startWorker('SHORT')
    const topic = await createTopic(kafka().bootstrap)
    const login = { 'sasl.login.refresh.min.period.seconds': '0', 'sasl.login.refresh.buffer.seconds': '0' }
    const client = await baker(worker, { ...login, acks: 'all', retries: '0' })
    const [bakers, ours] = [tokens.given(BAKER), tokens.given(USERNAME)]
    const seconds = (6 * SHORT_SESSION_MS) / 1000
    const records = 100 * seconds
    const report = await producerPerf({ topic, records, recordSize: 100, throughput: 100, ...client })
    expect(report).toContain(`${records} records sent`)
    expect(tokens.given(BAKER)).toBeGreaterThanOrEqual(bakers + 2)
    expect(tokens.given(USERNAME)).toBeGreaterThanOrEqual(ours + 1)
    await expectArchived(worker, topic)
    expect(await worker.logs()).not.toContain('AUTHENTICATION_FAILED')
  })

  test('a token that is over sooner than the endpoint says is renewed in time', async () => {
    Object.assign(tokens.next, { lifetimeS: 3, told: 3600 })
    using connection = await open()
    const before = tokens.given()
    const isRenewed = async () => {
      expect((await connection.request(metadata, { topics: [] })).clusterId).toBe(kafka().clusterId)
      return tokens.given() >= before + 3
    }
    await until(isRenewed, { what: 'three tokens on one connection', timeout: 20_000, interval: 10 })
  })

  const wrong: Record<string, [style: Partial<TokenStyle>, told: string]> = {
    'signed by a stranger': [{ signedBy: 'stranger' }, 'whose key has to have signed it'],
    'signed by a key that the broker does not know': [{ keyId: 'mill-2' }, 'key "mill-2" ("RS256")'],
    'of another issuer': [{ claims: { iss: 'https://elsewhere.example/' } }, 'issuer "https://elsewhere.example/"'],
    'for another audience': [{ claims: { aud: ['mail', 'files'] } }, 'audience ["mail","files"]'],
    'for nobody': [{ claims: { aud: undefined } }, 'audience none']
  }
  test.each(Object.entries(wrong))(
    'a token %s is refused, and the hint says what to compare',
    async (_, [style, told]) => {
      Object.assign(tokens.next, style)
      const refused = { code: 'AUTHENTICATION_FAILED', message: expect.stringContaining('invalid_token') }
      await expect(open()).rejects.toMatchObject({ ...refused, hint: expect.stringContaining(told) })
      const admin = new Admin([parseAddress(listenerOf(kafka(), 'SASL'))], clusterSecurity(settings()))
      await expect(admin.createTopic('any', 1, {})).rejects.toMatchObject({
        ...refused,
        hint: expect.stringContaining(told)
      })
    }
  )

  test('a worker whose tokens are refused says so, and goes on when they are right', async () => {
    tokens.next.lifetimeS = 4
    await using worker = await startWorker('SHORT')
    tokens.next.signedBy = 'stranger'
    const readiness = async () => {
      const answer = await fetch(`${worker.httpUrl}/readyz`)
      return { status: answer.status, text: await answer.text() }
    }
    const isUnready = async () => {
      const { status, text } = await readiness()
      return status === 503 && /OAUTHBEARER: .*invalid_token/.test(text)
    }
    await until(isUnready, { what: 'the refusal in /readyz', timeout: 20_000 })
    tokens.reset()
    await until(async () => (await readiness()).status === 200, { what: 'the worker is ready again', timeout: 20_000 })
    tokens.next.signedBy = 'stranger'
    const { code, stderr } = await millrace(['run', '--config', worker.configFile, '--set', 'data.dir=other'], {
      cwd: folder.path
    })
    expect(code, stderr).toBe(3)
    expect(stderr).toMatch(/OAUTHBEARER: .*invalid_token.*\n.*The token has issuer/s)
    expect(stderr + (await worker.logs())).not.toMatch(new RegExp(`eyJ|${PASSWORD}`))
  })
})
