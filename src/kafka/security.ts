// How Millrace's own connections to a cluster are secured, from Kafka's client settings.
import { MillraceError } from '../errors.ts'
import type { Sasl, SaslValues } from './sasl.ts'
import { saslOf } from './sasl.ts'
import type { TlsOptions, TlsValues } from './tls.ts'
import { tlsOptions } from './tls.ts'

export const securityProtocols = ['PLAINTEXT', 'SSL', 'SASL_PLAINTEXT', 'SASL_SSL'] as const

export type SecurityProtocol = (typeof securityProtocols)[number]

export interface SecurityValues extends TlsValues, SaslValues {
  /** PLAINTEXT where it is not set. */
  readonly 'security.protocol'?: SecurityProtocol | undefined
}

export interface Security {
  readonly protocol: SecurityProtocol
  /** Undefined where the brokers speak no TLS. */
  readonly tls: TlsOptions | undefined
  readonly sasl: Sasl | undefined
}

export const PLAINTEXT: Security = { protocol: 'PLAINTEXT', tls: undefined, sasl: undefined }

/** Reads the files that are named, and checks that all belongs together. Throws CONFIG_INVALID that names the key. */
export function clusterSecurity(values: SecurityValues): Security {
  const protocol = values['security.protocol'] ?? PLAINTEXT.protocol
  const usesTls = protocol.endsWith('SSL')
  const usesSasl = protocol.startsWith('SASL')
  refuseUnused(values, protocol, usesTls ? [] : tlsKeys, 'SSL or SASL_SSL')
  refuseUnused(values, protocol, usesSasl ? [] : saslKeys, 'SASL_SSL or SASL_PLAINTEXT')
  if (!usesTls && !usesSasl) return PLAINTEXT
  return { protocol, tls: usesTls ? tlsOptions(values) : undefined, sasl: usesSasl ? saslOf(values) : undefined }
}

/** Only these say that somebody wants TLS: the others have defaults. */
const tlsKeys = [
  'ssl.truststore.location',
  'ssl.truststore.certificates',
  'ssl.keystore.location',
  'ssl.keystore.certificate.chain',
  'ssl.keystore.key'
] as const
const saslKeys = ['sasl.mechanism', 'sasl.jaas.config', 'sasl.oauthbearer.token.endpoint.url'] as const

/** Who sets them takes the connection for secured; Kafka's clients say nothing. */
function refuseUnused(
  values: SecurityValues,
  protocol: SecurityProtocol,
  keys: readonly (keyof SecurityValues)[],
  fitting: string
): void {
  const unused = keys.find(key => values[key] !== undefined)
  if (unused === undefined) return
  const rule = `must be ${fitting} for ${unused} to be used (got "${protocol}")`
  throw new MillraceError('CONFIG_INVALID', `security.protocol: ${rule}`)
}
