// Security settings that do not work: each error names the key, what is expected, and no secret.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SecurityValues } from '../../src/kafka/security.ts'
import { clusterSecurity, PLAINTEXT } from '../../src/kafka/security.ts'
import { tlsOptions } from '../../src/kafka/tls.ts'
import type { Authority, Certificate } from '../support/certificates.ts'
import { makeAuthority } from '../support/certificates.ts'
import { thrown } from '../support/thrown.ts'

let authority: Authority
let plain: Certificate
let encrypted: Certificate
beforeAll(async () => {
  authority = await makeAuthority()
  plain = await authority.issue('plain')
  encrypted = await authority.issue('encrypted', 'sesame')
})
afterAll(() => authority[Symbol.asyncDispose]())

const SECRET = 'grist and flour'
const login = (module: string, options: string) => `org.apache.kafka.common.security.${module} required ${options};`
const plainLogin = login('plain.PlainLoginModule', `username="miller" password="${SECRET}"`)
const sasl = { 'security.protocol': 'SASL_PLAINTEXT', 'sasl.mechanism': 'PLAIN' } as const
const oauth = { 'security.protocol': 'SASL_PLAINTEXT', 'sasl.mechanism': 'OAUTHBEARER' } as const
const endpoint = { 'sasl.oauthbearer.token.endpoint.url': 'https://login.example/token' }

test('without any of them, connections are plain', () => {
  expect(clusterSecurity({})).toBe(PLAINTEXT)
})

describe('TLS', () => {
  test('PEM is taken from files and as text, also on one line as .properties files have it', () => {
    const oneLine = (pem: string) => pem.trim().replaceAll('\n', ' ')
    const escaped = (pem: string) => pem.replaceAll('\n', '\\n')
    const given: Parameters<typeof tlsOptions>[0][] = [
      {},
      { 'ssl.truststore.location': authority.file, 'ssl.keystore.location': plain.file },
      { 'ssl.keystore.location': encrypted.file, 'ssl.key.password': 'sesame' },
      { 'ssl.keystore.key': oneLine(plain.key), 'ssl.keystore.certificate.chain': oneLine(plain.chain) },
      { 'ssl.keystore.key': escaped(plain.key), 'ssl.keystore.certificate.chain': escaped(plain.chain) },
      { 'ssl.truststore.certificates': oneLine(authority.certificate + plain.chain) }
    ]
    for (const values of given) expect(tlsOptions(values)).toHaveProperty('secureContext')
  })

  test.each<[string, () => SecurityValues, RegExp]>([
    [
      'a truststore that is not there',
      () => ({ 'ssl.truststore.location': '/no/such.pem' }),
      /^ssl\.truststore\.location: must be a file of PEM with certificates: ENOENT/
    ],
    [
      'a truststore of only a key',
      () => ({ 'ssl.truststore.certificates': plain.key }),
      /^ssl\.truststore\.certificates: must be PEM with certificates$/
    ],
    [
      'a keystore without a key',
      () => ({ 'ssl.keystore.location': authority.file }),
      /^ssl\.keystore\.location: must be a file of PEM with a private key \(got "\/.*authority\.pem"\)$/
    ],
    [
      'a certificate that is none',
      () => ({ 'ssl.truststore.certificates': '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' }),
      /^ssl\.truststore\.certificates: must be PEM with certificates$/
    ],
    [
      'a wrong password',
      () => ({ 'ssl.keystore.location': encrypted.file, 'ssl.key.password': SECRET }),
      /^ssl\.keystore\.location: must be a private key beside its own certificate/
    ],
    [
      'no password',
      () => ({ 'ssl.keystore.location': encrypted.file }),
      /^ssl\.keystore\.location: must be a private key beside its own certificate/
    ],
    [
      "another certificate's key",
      () => ({ 'ssl.keystore.key': plain.key, 'ssl.keystore.certificate.chain': encrypted.chain }),
      /^ssl\.keystore\.key: must be a private key beside its own certificate/
    ],
    [
      'a key without its certificate',
      () => ({ 'ssl.keystore.key': plain.key }),
      /^ssl\.keystore\.certificate\.chain: is required with ssl\.keystore\.key$/
    ],
    [
      'a certificate without its key',
      () => ({ 'ssl.keystore.certificate.chain': plain.chain }),
      /^ssl\.keystore\.key: is required with ssl\.keystore\.certificate\.chain$/
    ],
    [
      'a file and text',
      () => ({ 'ssl.truststore.location': authority.file, 'ssl.truststore.certificates': authority.certificate }),
      /^ssl\.truststore\.certificates: cannot be set beside ssl\.truststore\.location$/
    ]
  ])('%s', (_, values, message) => {
    expectRefused({ 'security.protocol': 'SSL', ...values() }, message)
  })
})

describe('SASL', () => {
  test.each<[string, SecurityValues, RegExp]>([
    ['no mechanism', { 'security.protocol': 'SASL_SSL' }, /^sasl\.mechanism: is required with SASL: PLAIN or SCRAM/],
    [
      'no login',
      sasl,
      /^sasl\.jaas\.config: is required with SASL: it must be .*PlainLoginModule required username="…"/
    ],
    [
      'a login that is none',
      { ...sasl, 'sasl.jaas.config': `username="miller" password="${SECRET}"` },
      /^sasl\.jaas\.config: must be .*PlainLoginModule required username="…" password="…"; with PLAIN$/
    ],
    [
      "another mechanism's module",
      { ...sasl, 'sasl.mechanism': 'SCRAM-SHA-512', 'sasl.jaas.config': plainLogin },
      /^sasl\.jaas\.config: must be .*ScramLoginModule .* with SCRAM-SHA-512$/
    ],
    [
      'no username',
      { ...sasl, 'sasl.jaas.config': login('plain.PlainLoginModule', `password="${SECRET}"`) },
      /^sasl\.jaas\.config: .* \(username is missing\)$/
    ],
    [
      'an option that is not known',
      { ...sasl, 'sasl.jaas.config': plainLogin.replace(';', ` pasword="${SECRET}";`) },
      /^sasl\.jaas\.config: .* \(pasword is unknown\)$/
    ],
    [
      'no client secret',
      { ...oauth, ...endpoint, 'sasl.jaas.config': login('oauthbearer.OAuthBearerLoginModule', 'clientId="miller"') },
      /^sasl\.jaas\.config: must be .*OAuthBearerLoginModule required clientId="…" .* \(clientSecret is missing\)$/
    ],
    ['no endpoint', oauth, /^sasl\.oauthbearer\.token\.endpoint\.url: is required with OAUTHBEARER$/],
    [
      'a mechanism that nobody uses',
      { 'security.protocol': 'SSL', 'sasl.mechanism': 'PLAIN', 'sasl.jaas.config': plainLogin },
      /^security\.protocol: must be SASL_SSL or SASL_PLAINTEXT for sasl\.mechanism to be used \(got "SSL"\)$/
    ],
    [
      'a truststore that nobody uses',
      { 'ssl.truststore.location': 'ca.pem' },
      /^security\.protocol: must be SSL or SASL_SSL for ssl\.truststore\.location to be used \(got "PLAINTEXT"\)$/
    ]
  ])('%s', (_, values, message) => {
    expectRefused(values, message)
  })
})

function expectRefused(values: SecurityValues, message: RegExp): void {
  const error = thrown(() => clusterSecurity(values))
  expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringMatching(message) })
  expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain(SECRET)
}
