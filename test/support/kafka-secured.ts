// A broker with listeners that speak TLS and SASL, beside the plain one: the settings of the broker, and of clients.

import type { Authority } from './certificates.ts'
import type { KafkaAddress, KafkaOptions } from './kafka.ts'
import { kafkaTool } from './kafka-tools.ts'
import type { TokenEndpoint } from './token-endpoint.ts'
import { AUDIENCE, ISSUER } from './token-endpoint.ts'

/** What Kafka's clients take, by their keys. */
export type ClientSettings = Readonly<Record<string, string>>

export const USERNAME = 'miller'
export const PASSWORD = 'grist"flour'

/** How long a session of the listener SHORT holds. */
export const SHORT_SESSION_MS = 2_000

export type Mechanism = 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512' | 'OAUTHBEARER'

const PACKAGE = 'org.apache.kafka.common.security'
const modules: Readonly<Record<Mechanism, string>> = {
  PLAIN: `${PACKAGE}.plain.PlainLoginModule`,
  'SCRAM-SHA-256': `${PACKAGE}.scram.ScramLoginModule`,
  'SCRAM-SHA-512': `${PACKAGE}.scram.ScramLoginModule`,
  OAUTHBEARER: `${PACKAGE}.oauthbearer.OAuthBearerLoginModule`
}

/** JAAS in one line, as brokers and clients take it. */
function jaas(mechanism: Mechanism, options: ClientSettings): string {
  const quoted = (text: string) => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
  const pairs = Object.entries(options).map(([name, value]) => `${name}=${quoted(value)}`)
  return `${modules[mechanism]} required ${pairs.join(' ')};`
}

/**
 * Listeners at localhost: MTLS asks for a certificate, SASL takes each mechanism inside TLS, SHORT does so for sessions of
 * SHORT_SESSION_MS, OPEN takes PLAIN without TLS. OAUTHBEARER is among them where somebody gives tokens, whose signature,
 * issuer and audience the broker checks.
 */
export async function securedKafka(authority: Authority, tokens?: TokenEndpoint): Promise<KafkaOptions> {
  const { key, chain } = await authority.issue('localhost')
  const mechanisms: Mechanism[] = [
    'PLAIN',
    'SCRAM-SHA-256',
    'SCRAM-SHA-512',
    ...(tokens ? ['OAUTHBEARER' as const] : [])
  ]
  const settings: Record<string, string> = {
    'listener.security.protocol.map':
      'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,MTLS:SSL,SASL:SASL_SSL,SHORT:SASL_SSL,OPEN:SASL_PLAINTEXT',
    'ssl.keystore.type': 'PEM',
    'ssl.keystore.key': key,
    'ssl.keystore.certificate.chain': chain,
    'ssl.truststore.type': 'PEM',
    'ssl.truststore.certificates': authority.certificate,
    'listener.name.mtls.ssl.client.auth': 'required',
    'sasl.enabled.mechanisms': mechanisms.join(','),
    'listener.name.open.sasl.enabled.mechanisms': 'PLAIN',
    ...(tokens && {
      'sasl.oauthbearer.jwks.endpoint.url': tokens.keys.url,
      'sasl.oauthbearer.expected.issuer': ISSUER,
      'sasl.oauthbearer.expected.audience': AUDIENCE
    })
  }
  for (const listener of ['sasl', 'short', 'open']) {
    for (const mechanism of mechanisms) {
      const prefix = `listener.name.${listener}.${mechanism.toLowerCase()}`
      settings[`${prefix}.sasl.jaas.config`] = {
        PLAIN: jaas('PLAIN', { [`user_${USERNAME}`]: PASSWORD }),
        OAUTHBEARER: jaas(mechanism, {}),
        'SCRAM-SHA-256': jaas(mechanism, {}),
        'SCRAM-SHA-512': jaas(mechanism, {})
      }[mechanism]
      if (mechanism === 'OAUTHBEARER') {
        settings[`${prefix}.sasl.server.callback.handler.class`] =
          `${PACKAGE}.oauthbearer.OAuthBearerValidatorCallbackHandler`
      }
      if (listener === 'short') settings[`${prefix}.connections.max.reauth.ms`] = String(SHORT_SESSION_MS)
    }
  }
  return {
    nodes: 1,
    listeners: ['MTLS', 'SASL', 'SHORT', 'OPEN'],
    settings,
    ...(tokens && { systemProperties: allowedUrls(tokens.keys.url), readable: [tokens.keys.folder] })
  }
}

/** Kafka's Java asks no other URL than these for keys and tokens (CVE-2025-27817). */
export function allowedUrls(...urls: string[]): Readonly<Record<string, string>> {
  return { 'org.apache.kafka.sasl.oauthbearer.allowed.urls': urls.join(',') }
}

/** Lets USERNAME in by SCRAM too. */
export async function addScramUser({ bootstrap }: KafkaAddress): Promise<void> {
  const credentials = ['SCRAM-SHA-256', 'SCRAM-SHA-512'].map(name => `${name}=[iterations=4096,password=${PASSWORD}]`)
  const user = ['--entity-type', 'users', '--entity-name', USERNAME]
  for (const one of credentials) {
    const args = ['--bootstrap-server', bootstrap, '--alter', '--add-config', one, ...user]
    await kafkaTool('kafka.admin.ConfigCommand', args)
  }
}

/** The bootstrap address of a listener. */
export function listenerOf({ nodes }: KafkaAddress, name: 'MTLS' | 'SASL' | 'SHORT' | 'OPEN'): string {
  return nodes.map(({ listeners }) => `localhost:${listeners![name]}`).join(',')
}

/** A client's settings for one mechanism inside TLS. */
export function saslSettings(authority: Authority, mechanism: Exclude<Mechanism, 'OAUTHBEARER'>): ClientSettings {
  return {
    'security.protocol': 'SASL_SSL',
    'ssl.truststore.location': authority.file,
    'sasl.mechanism': mechanism,
    'sasl.jaas.config': jaas(mechanism, { username: USERNAME, password: PASSWORD })
  }
}

/** The same with tokens from an endpoint, for USERNAME unless told. */
export function oauthSettings(authority: Authority, endpoint: string, clientId = USERNAME): ClientSettings {
  return {
    'security.protocol': 'SASL_SSL',
    'ssl.truststore.location': authority.file,
    'sasl.mechanism': 'OAUTHBEARER',
    'sasl.jaas.config': jaas('OAUTHBEARER', { clientId, clientSecret: PASSWORD, scope: 'kafka' }),
    'sasl.oauthbearer.token.endpoint.url': endpoint
  }
}
