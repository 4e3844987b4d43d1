// SASL: says to a broker who we are, by the mechanism that `sasl.mechanism` names. Source: KIP-43, KIP-152, KIP-368.
import { MillraceError } from '../errors.ts'
import type { Api, RequestOf, ResponseOf } from './api.ts'
import { parseJaas } from './jaas.ts'
import { KafkaError, kafkaErrorName } from './kafka-errors.ts'
import { saslAuthenticate, saslHandshake } from './messages-sasl.ts'
import { OauthTokens } from './oauth-token.ts'
import type { Password } from './scram.ts'
import { scram } from './scram.ts'

export interface SaslValues {
  readonly 'sasl.mechanism'?: SaslMechanism | undefined
  readonly 'sasl.jaas.config'?: string | undefined
  readonly 'sasl.oauthbearer.token.endpoint.url'?: string | undefined
}

export const saslMechanisms = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512', 'OAUTHBEARER'] as const

export type SaslMechanism = (typeof saslMechanisms)[number]

export interface Sasl {
  readonly mechanism: SaslMechanism
  /** One authentication: gives what goes to the broker, takes what comes back. Throws AUTHENTICATION_FAILED. */
  exchange(): AsyncGenerator<Buffer, void, Buffer>
  /** To be called when a broker says no. Gives what to do about it. */
  refused(): string
}

/** How to authenticate, from Kafka's settings. Throws CONFIG_INVALID that names the key. */
export function saslOf(values: SaslValues): Sasl {
  const mechanism = values['sasl.mechanism']
  if (mechanism === undefined) throw wrong('sasl.mechanism', `is required with SASL: ${saslMechanisms.join(' or ')}`)
  if (mechanism === 'OAUTHBEARER') return { mechanism, ...oauthBearer(values) }
  const { username, password } = loginOptions(values, mechanism)
  const login = { username: username!, password: password! }
  const refused = () => 'Check username and password in sasl.jaas.config.'
  if (mechanism === 'PLAIN') return { mechanism, refused, exchange: () => plain(login) }
  const hash = mechanism === 'SCRAM-SHA-256' ? 'sha256' : 'sha512'
  return { mechanism, refused, exchange: () => scram(hash, login) }
}

/**
 * Authenticates a connection and gives the milliseconds for which that holds, 0 for as long as the connection does. Throws
 * AUTHENTICATION_FAILED with the broker's own message.
 */
export async function authenticate(
  sasl: Sasl,
  broker: string,
  ask: <A extends Api>(api: A, body: RequestOf<A>) => Promise<ResponseOf<A>>
): Promise<number> {
  const { mechanism } = sasl
  const { errorCode, mechanisms } = await ask(saslHandshake, { mechanism })
  if (errorCode === KafkaError.UNSUPPORTED_SASL_MECHANISM) {
    const reason = `it takes only ${mechanisms.join(', ')}`
    throw refusedBy(broker, mechanism, reason, 'Set sasl.mechanism to one of them.')
  }
  if (errorCode !== KafkaError.NONE) {
    const hint = 'Is this the address of a SASL listener? For another, security.protocol is PLAINTEXT or SSL.'
    throw refusedBy(broker, mechanism, kafkaErrorName(errorCode), hint)
  }
  const messages = sasl.exchange()
  for (let step = await messages.next(), lifetimeMs = 0; ; ) {
    if (step.done) return lifetimeMs
    const answer = await ask(saslAuthenticate, { authBytes: step.value })
    if (answer.errorCode !== KafkaError.NONE) {
      throw refusedBy(broker, mechanism, answer.errorMessage ?? kafkaErrorName(answer.errorCode), sasl.refused())
    }
    lifetimeMs = answer.sessionLifetimeMs ?? 0
    step = await messages.next(answer.authBytes)
  }
}

/** What a user is told when a broker says no. */
export function refusedBy(broker: string, mechanism: SaslMechanism, reason: string, hint: string): MillraceError {
  return new MillraceError('AUTHENTICATION_FAILED', `broker ${broker}, ${mechanism}: ${reason}`, { hint })
}

/** Source: RFC 4616. */
async function* plain({ username, password }: Password): AsyncGenerator<Buffer, void, Buffer> {
  yield Buffer.from(`\0${username}\0${password}`)
}

/** Source: RFC 7628; `extension_NAME` options are those of KIP-342. */
function oauthBearer(values: SaslValues): Pick<Sasl, 'exchange' | 'refused'> {
  const endpoint = values['sasl.oauthbearer.token.endpoint.url']
  if (endpoint === undefined) throw wrong('sasl.oauthbearer.token.endpoint.url', 'is required with OAUTHBEARER')
  const { clientId, clientSecret, scope, ...others } = loginOptions(values, 'OAUTHBEARER')
  const tokens = new OauthTokens({ endpoint, clientId: clientId!, clientSecret: clientSecret!, scope })
  const extensions = Object.entries(others).map(([name, value]) => `${name.replace(EXTENSION, '')}=${value}\x01`)
  const exchange = async function* (): AsyncGenerator<Buffer, void, Buffer> {
    const answer = yield Buffer.from(`n,,\x01auth=Bearer ${await tokens.get()}\x01${extensions.join('')}\x01`)
    if (answer.length === 0) return
    // A refusal comes as text first, and as an error code when it was acknowledged.
    yield Buffer.of(1)
    throw new MillraceError('AUTHENTICATION_FAILED', 'the broker has refused the token and lets us in all the same')
  }
  return { exchange, refused: () => tokens.refused() }
}

const EXTENSION = /^extension_/

interface Login {
  readonly module: string
  readonly required: readonly string[]
  readonly optional: RegExp
}

const PACKAGE = 'org.apache.kafka.common.security'
const none = /^$/
const scramLogin = { module: `${PACKAGE}.scram.ScramLoginModule`, required: ['username', 'password'], optional: none }
const LOGINS: Readonly<Record<SaslMechanism, Login>> = {
  PLAIN: { module: `${PACKAGE}.plain.PlainLoginModule`, required: ['username', 'password'], optional: none },
  'SCRAM-SHA-256': scramLogin,
  'SCRAM-SHA-512': scramLogin,
  OAUTHBEARER: {
    module: `${PACKAGE}.oauthbearer.OAuthBearerLoginModule`,
    required: ['clientId', 'clientSecret'],
    optional: /^(scope|extension_[A-Za-z]+)$/
  }
}

/** The options of the login module that the mechanism has. What was given is secret: only names of options are shown. */
function loginOptions(values: SaslValues, mechanism: SaslMechanism): Readonly<Record<string, string>> {
  const { module, required, optional } = LOGINS[mechanism]
  const form = `must be ${module} required ${required.map(name => `${name}="…"`).join(' ')};`
  const text = values['sasl.jaas.config']
  if (text === undefined) throw wrong('sasl.jaas.config', `is required with SASL: it ${form}`)
  const login = parseJaas(text)
  if (login?.name !== module) throw wrong('sasl.jaas.config', `${form} with ${mechanism}`)
  const missing = required.find(name => !login.options.get(name))
  if (missing !== undefined) throw wrong('sasl.jaas.config', `${form} (${missing} is missing)`)
  const unknown = [...login.options.keys()].find(name => !required.includes(name) && !optional.test(name))
  if (unknown !== undefined) throw wrong('sasl.jaas.config', `${form} (${unknown} is unknown)`)
  return Object.fromEntries(login.options)
}

function wrong(key: string, rule: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', `${key}: ${rule}`)
}
