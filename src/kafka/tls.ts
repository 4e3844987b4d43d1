// TLS from Kafka's `ssl.…` options, PEM only: what a client or a server of Node needs of them.
import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import type { ConnectionOptions, SecureContext, SecureContextOptions } from 'node:tls'
import { createSecureContext } from 'node:tls'
import type { ErrorDetails } from '../errors.ts'
import { isMillraceError, MillraceError, messageOf } from '../errors.ts'

/** Values by Kafka's names. Each is a path or PEM text; a location and the text in its place exclude one another. */
export interface TlsValues {
  readonly 'ssl.truststore.location'?: string | undefined
  readonly 'ssl.truststore.certificates'?: string | undefined
  /** One file with the private key and its certificate chain. */
  readonly 'ssl.keystore.location'?: string | undefined
  readonly 'ssl.keystore.certificate.chain'?: string | undefined
  readonly 'ssl.keystore.key'?: string | undefined
  readonly 'ssl.key.password'?: string | undefined
  /** Empty: a certificate is believed whatever host it names. */
  readonly 'ssl.endpoint.identification.algorithm'?: 'https' | '' | undefined
}

/**
 * What `tls.createSecureContext` and `tls.createServer` take: whom to trust (Node's own authorities where no truststore is
 * named), and which certificate to show. Reads the files now. Throws CONFIG_INVALID that names the key.
 */
export function secureContextOptions(values: TlsValues): SecureContextOptions {
  const trusted = read(values, 'ssl.truststore.location', 'ssl.truststore.certificates', CERTIFICATE)
  const chain = read(values, 'ssl.keystore.location', 'ssl.keystore.certificate.chain', CERTIFICATE)
  const key = read(values, 'ssl.keystore.location', 'ssl.keystore.key', PRIVATE_KEY)
  const passphrase = values['ssl.key.password']
  const [chainKey, keyKey] = ['ssl.keystore.certificate.chain', 'ssl.keystore.key']
  if (chain === undefined && key !== undefined) throw wrong(chainKey, `is required with ${keyKey}`)
  if (key === undefined && chain !== undefined) throw wrong(keyKey, `is required with ${chainKey}`)
  const options = {
    ...(trusted !== undefined && { ca: trusted }),
    ...(chain !== undefined && { cert: chain.join('') }),
    ...(key !== undefined && { key: key.join('') }),
    ...(passphrase !== undefined && { passphrase })
  }
  try {
    createSecureContext(options)
    return options
  } catch (cause) {
    const named = values['ssl.keystore.location'] === undefined ? keyKey : 'ssl.keystore.location'
    throw wrong(named, `must be a private key beside its own certificate (${messageOf(cause)})`, {
      hint: 'Of an encrypted private key ssl.key.password must be the password.',
      cause
    })
  }
}

/** What `tls.connect` takes beside host, port and `servername`. */
export interface TlsOptions extends ConnectionOptions {
  /** Told when files that have changed were read again, with what is wrong where they are not used. */
  onReload?: (fault?: MillraceError) => void
}

/** No more often are files looked at. By their paths, since secrets in Kubernetes are links that change. */
const LOOK_EVERY_MS = 1_000

/**
 * Reads the files, and again whenever `secureContext` is asked for, as for each new connection, and they have changed; what
 * cannot be used then leaves the old ones in use. Throws CONFIG_INVALID that names the key.
 */
export function tlsOptions(values: TlsValues): TlsOptions {
  const anyHost = values['ssl.endpoint.identification.algorithm'] === ''
  const read = (): SecureContext => createSecureContext(secureContextOptions(values))
  let state = stateOf(values)
  let current = read()
  let lookedAt = Date.now()
  const options: TlsOptions = {
    get secureContext() {
      if (Math.abs(Date.now() - lookedAt) < LOOK_EVERY_MS) return current
      lookedAt = Date.now()
      const found = stateOf(values)
      if (found === state) return current
      state = found
      try {
        current = read()
        options.onReload?.()
      } catch (error) {
        if (!isMillraceError(error)) throw error
        options.onReload?.(error)
      }
      return current
    },
    ...(anyHost && { checkServerIdentity: () => undefined })
  }
  return options
}

/** Another whenever a file that is named has changed. */
function stateOf(values: TlsValues): string {
  return [values['ssl.truststore.location'], values['ssl.keystore.location']]
    .map(file => {
      const found = file === undefined ? undefined : statSync(file, { bigint: true, throwIfNoEntry: false })
      return found === undefined ? '' : `${found.ino} ${found.size} ${found.mtimeNs}`
    })
    .join()
}

interface Block {
  readonly label: RegExp
  readonly rule: string
}

const CERTIFICATE: Block = { label: /^CERTIFICATE$/, rule: 'PEM with certificates' }
const PRIVATE_KEY: Block = { label: /PRIVATE KEY$/, rule: 'PEM with a private key' }

/** The blocks of one kind in a file or text; undefined where neither is named. */
function read(
  values: TlsValues,
  location: keyof TlsValues,
  text: keyof TlsValues,
  { label, rule }: Block
): string[] | undefined {
  const file = values[location]
  if (file !== undefined && values[text] !== undefined) throw wrong(text, `cannot be set beside ${location}`)
  const given = file === undefined ? values[text] : readFile(location, file, rule)
  if (given === undefined) return undefined
  const found = pemBlocks(given)
    .filter(block => label.test(block.label))
    .map(block => block.text)
  // OpenSSL passes over certificates that it cannot read.
  if (found.length > 0 && (label !== CERTIFICATE.label || found.every(isCertificate))) return found
  // The text itself may be secret.
  if (file === undefined) throw wrong(text, `must be ${rule}`)
  throw wrong(location, `must be a file of ${rule} (got ${JSON.stringify(file)})`)
}

function readFile(key: string, file: string, rule: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw wrong(key, `must be a file of ${rule}: ${messageOf(cause)}`, { cause })
  }
}

function isCertificate(pem: string): boolean {
  try {
    void new X509Certificate(pem)
    return true
  } catch {
    return false
  }
}

function wrong(key: string, rule: string, details: ErrorDetails = {}): MillraceError {
  return new MillraceError('CONFIG_INVALID', `${key}: ${rule}`, details)
}

/** Properties files hold PEM in one line, with spaces or `\n` between its parts, which OpenSSL does not take. */
function pemBlocks(text: string): { label: string; text: string }[] {
  const pattern = /-----BEGIN ([A-Z0-9 ]+)-----([^-]*(?:-[^-]+)*?)-----END \1-----/g
  return [...text.replaceAll('\\n', '\n').matchAll(pattern)].map(([whole, label = '', body = '']) => {
    // Headers, as "DEK-Info: …" of an old encrypted key, must keep their lines.
    if (body.includes(':')) return { label, text: `${whole}\n` }
    const lines = body.replace(/\s/g, '').match(/.{1,64}/g) ?? []
    return { label, text: `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n` }
  })
}
