// Security settings where users write them: in the worker's configuration and in the file of --command-config.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { bundledConnectors } from '../src/bundled-connectors.ts'
import { readCommandConfig } from '../src/cli/command-config.ts'
import type { ConfigInputs } from '../src/config.ts'
import { loadConfiguration } from '../src/config.ts'
import { isMillraceError, messageOf } from '../src/errors.ts'
import { millrace } from './support/millrace.ts'
import type { TempFolder } from './support/temp.ts'
import { tempFolder } from './support/temp.ts'
import { thrown } from './support/thrown.ts'

let folder: TempFolder
beforeEach(async () => {
  folder = await tempFolder('config')
  await mkdir(join(folder.path, 'connectors'))
  await writeFile(
    join(folder.path, 'connectors', 'archive.yaml'),
    'name: archive\nconnector.class: file-archive\narchive.url: file:./archive\n'
  )
})
afterEach(() => folder.dispose())

const SECRET = 'grist and flour'
const plain = `org.apache.kafka.common.security.plain.PlainLoginModule required username="miller" password="${SECRET}";`

async function load(lines: string, inputs: ConfigInputs = {}) {
  const file = join(folder.path, 'worker.yaml')
  await writeFile(file, `connectors.dir: ${join(folder.path, 'connectors')}\n${lines}`)
  return loadConfiguration({ file, env: {}, ...inputs }, bundledConnectors)
}

/** The lines of the error, without the folder; none of them may tell the password. */
function linesOf(error: unknown): string[] {
  expect(isMillraceError(error, 'CONFIG_INVALID'), messageOf(error)).toBe(true)
  expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain(SECRET)
  return messageOf(error).replaceAll(`${folder.path}/`, '').split('\n')
}

async function faults(lines: string, inputs?: ConfigInputs): Promise<string[]> {
  return linesOf(await load(`bootstrap.servers: kafka:9093\n${lines}`, inputs).catch((error: unknown) => error))
}

const sasl = 'security.protocol: SASL_SSL\nsasl.mechanism: PLAIN\n'

test('the worker has what the file says, from the environment too', async () => {
  const env = { MILLRACE_SASL_JAAS_CONFIG: plain }
  const { security } = await load(`bootstrap.servers: kafka:9093\n${sasl}`, { env })
  expect(security).toMatchObject({ protocol: 'SASL_SSL', tls: { secureContext: {} }, sasl: { mechanism: 'PLAIN' } })
  expect((await load('bootstrap.servers: kafka:9093\n')).security).toMatchObject({ protocol: 'PLAINTEXT' })
})

describe('a fault names file, key and rule, and no secret', () => {
  test('of wrong values, all at once', async () => {
    const lines = [
      'security.protocol: TLS',
      'ssl.truststore.type: JKS',
      'ssl.endpoint.identification.algorithm: none',
      'sasl.mechanism: GSSAPI',
      'sasl.oauthbearer.token.endpoint.url: login.example'
    ]
    expect(await faults(lines.join('\n'))).toEqual([
      'worker.yaml: security.protocol: must be PLAINTEXT or SSL or SASL_PLAINTEXT or SASL_SSL (got "TLS")',
      expect.stringMatching(/^worker\.yaml: ssl\.truststore\.type: must be PEM: .*keytool.*openssl.* \(got "JKS"\)$/),
      'worker.yaml: ssl.endpoint.identification.algorithm: must be https or empty (got "none")',
      'worker.yaml: sasl.mechanism: must be PLAIN or SCRAM-SHA-256 or SCRAM-SHA-512 or OAUTHBEARER (got "GSSAPI")',
      expect.stringMatching(
        /^worker\.yaml: sasl\.oauthbearer\.token\.endpoint\.url: must be an http:.* \(got "login.example"\)$/
      )
    ])
  })

  test.each<[string, string, ConfigInputs | undefined, RegExp]>([
    [
      'a key spelt wrong',
      `sasl.jaas.confg: '${plain}'\n`,
      undefined,
      /^worker\.yaml: sasl\.jaas\.confg: unknown key: did you mean sasl\.jaas\.config\?$/
    ],
    ['nested keys', `sasl:\n  jaas: '${plain}'\n`, undefined, /^worker\.yaml: sasl: must be a single value/],
    [
      'a variable that is not set',
      `${sasl}sasl.jaas.config: '${plain}\${env:CONFIG_TEST_NONE}'\n`,
      undefined,
      /^worker\.yaml: sasl\.jaas\.config: environment variable CONFIG_TEST_NONE must be set$/
    ],
    [
      'a login that is none',
      `${sasl}sasl.jaas.config: '${SECRET}'\n`,
      undefined,
      /^worker\.yaml: sasl\.jaas\.config: must be org\.apache.*PlainLoginModule required/
    ],
    [
      'a password of Kafka that PEM has not',
      `ssl.keystore.password: ${SECRET}\n`,
      undefined,
      /^worker\.yaml: ssl\.keystore\.password: unknown key/
    ],
    [
      'a password without a user',
      `rest.auth: ${SECRET}\n`,
      undefined,
      /^worker\.yaml: rest\.auth: must be user:password$/
    ],
    [
      'one under a key spelt wrong',
      `rest.auht: 'miller:${SECRET}'\n`,
      undefined,
      /^worker\.yaml: rest\.auht: unknown key: did you mean rest\.auth\?$/
    ],
    [
      'one under nested keys',
      `rest:\n  auth: 'miller:${SECRET}'\n`,
      undefined,
      /^worker\.yaml: rest: must be a single value/
    ],
    ['a wrong flag', sasl, { set: [`sasl.jaas.config=${SECRET}`] }, /^--set: sasl\.jaas\.config: must be org\.apache/],
    [
      'a file that is not there',
      `security.protocol: SSL\nssl.truststore.location: ${'/no/such.pem'}\n`,
      undefined,
      /^worker\.yaml: ssl\.truststore\.location: must be a file of PEM with certificates: ENOENT/
    ]
  ])('%s', async (_, lines, inputs, rule) => {
    expect(await faults(lines, inputs)).toEqual([expect.stringMatching(rule)])
  })

  test('of a secured cluster that is not named', async () => {
    const error = await load(`${sasl}sasl.jaas.config: '${plain}'\n`).catch((failure: unknown) => failure)
    expect(linesOf(error)).toEqual([
      'worker.yaml: security.protocol: is for a cluster that bootstrap.servers names: the embedded broker speaks PLAINTEXT (got "SASL_SSL")'
    ])
  })
})

describe('--command-config', () => {
  const file = () => join(folder.path, 'client.properties')

  test("is a file of Kafka's own tools: what they have beside is passed over", async () => {
    const handler = 'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler'
    const token = 'OAuthBearerLoginModule required clientId="miller" clientSecret="secret" scope="kafka";'
    const lines = [
      'client.id=tool',
      'security.protocol=SASL_SSL',
      'sasl.mechanism=OAUTHBEARER',
      `sasl.login.callback.handler.class=${handler}`,
      String.raw`sasl.oauthbearer.token.endpoint.url=https\://login.example/token`,
      `sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.${token.replace(' scope', ' \\\n    scope')}`
    ]
    await writeFile(file(), lines.join('\n'))
    expect(readCommandConfig(file())).toMatchObject({ protocol: 'SASL_SSL', sasl: { mechanism: 'OAUTHBEARER' } })
  })

  test('one line for each fault', async () => {
    await writeFile(file(), `security.protocl=SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=${SECRET}\n`)
    expect(linesOf(thrown(() => readCommandConfig(file())))).toEqual([
      'client.properties: security.protocl: unknown key: did you mean security.protocol? (got "SSL")',
      'client.properties: security.protocol: must be SASL_SSL or SASL_PLAINTEXT for sasl.mechanism to be used (got "PLAINTEXT")'
    ])
    expect(linesOf(thrown(() => readCommandConfig('no-such.properties')))).toEqual([
      expect.stringMatching(/^no-such\.properties: cannot be read: ENOENT/)
    ])
  })

  test('replay takes it only beside --bootstrap', async () => {
    const { code, stderr } = await millrace([
      'replay',
      '--topic',
      't',
      '--archive',
      `file:${folder.path}`,
      '--command-config',
      'x'
    ])
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--command-config: goes with --bootstrap')
    })
  })
})
