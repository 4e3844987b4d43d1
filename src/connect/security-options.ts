// The options by which a connection is secured, under the names that Kafka's clients have for them.
import { isMillraceError } from '../errors.ts'
import { saslMechanisms } from '../kafka/sasl.ts'
import type { Security } from '../kafka/security.ts'
import { clusterSecurity, PLAINTEXT, securityProtocols } from '../kafka/security.ts'
import type { Fault, Options, Values } from './options.ts'
import * as option from './options.ts'

/** TLS: whom to trust and which certificate to show. PEM only. */
export const sslOptions = {
  'ssl.truststore.location': {
    schema: option.text,
    optional: true,
    doc: 'a PEM file with the certificates of the authorities to trust; the usual public ones where none are named'
  },
  'ssl.truststore.certificates': {
    schema: option.text,
    optional: true,
    doc: 'the same as text in place of a file'
  },
  'ssl.truststore.type': { schema: option.pem, default: 'PEM', doc: 'always PEM' },
  'ssl.keystore.location': {
    schema: option.text,
    optional: true,
    doc: 'a PEM file with a private key and its certificate chain, to be shown to the other side'
  },
  'ssl.keystore.certificate.chain': {
    schema: option.text,
    optional: true,
    doc: 'the certificate chain as text in place of a file'
  },
  'ssl.keystore.key': {
    schema: option.text,
    optional: true,
    secret: true,
    doc: 'the private key as text in place of a file'
  },
  'ssl.keystore.type': { schema: option.pem, default: 'PEM', doc: 'always PEM' },
  'ssl.key.password': {
    schema: option.text,
    optional: true,
    secret: true,
    doc: 'the password of an encrypted private key'
  }
} as const satisfies Options

/** Kafka's own, which ask an endpoint for tokens. */
const tokenHandlers = ['OAuthBearerLoginCallbackHandler', 'secured.OAuthBearerLoginCallbackHandler'].map(
  name => `org.apache.kafka.common.security.oauthbearer.${name}`
)

/** Towards a cluster. */
export const securityOptions = {
  'security.protocol': {
    schema: option.oneOf(...securityProtocols),
    default: 'PLAINTEXT',
    doc: 'what the brokers at `bootstrap.servers` speak'
  },
  ...sslOptions,
  'ssl.endpoint.identification.algorithm': {
    schema: option.hostCheck,
    default: 'https',
    doc: 'https, or nothing: then a broker may show a certificate that names another host'
  },
  'sasl.mechanism': {
    schema: option.oneOf(...saslMechanisms),
    optional: true,
    doc: 'how to say who we are, with SASL_SSL and SASL_PLAINTEXT'
  },
  'sasl.jaas.config': {
    schema: option.text,
    optional: true,
    secret: true,
    doc: 'who we are, as Kafka has it: org.apache.kafka.common.security.plain.PlainLoginModule required username="…" password="…";'
  },
  'sasl.login.callback.handler.class': {
    schema: option.oneOf(...tokenHandlers),
    optional: true,
    doc: "what Kafka's clients need beside OAUTHBEARER; it is done without"
  },
  'sasl.oauthbearer.token.endpoint.url': {
    schema: option.httpUrl,
    optional: true,
    doc: 'where tokens come from, with OAUTHBEARER; `NODE_EXTRA_CA_CERTS` names an authority of your own for it'
  }
} as const satisfies Options

/** Reads the files that the options name. What is wrong is added to `faults`, under the source of its key. */
export function readSecurity(
  values: Partial<Values<typeof securityOptions>>,
  faults: Fault[],
  sourceOf: (key: string) => string
): Security {
  // A key with a wrong value has none: what is said of the others would be wrong.
  if (faults.some(({ key = '' }) => Object.hasOwn(securityOptions, key))) return PLAINTEXT
  try {
    return clusterSecurity(values)
  } catch (error) {
    if (!isMillraceError(error, 'CONFIG_INVALID')) throw error
    const [key, rule] = error.message.split(/: (.*)/s) as [string, string]
    faults.push({ source: sourceOf(key), key, rule: error.hint === undefined ? rule : `${rule}. ${error.hint}` })
    return PLAINTEXT
  }
}
