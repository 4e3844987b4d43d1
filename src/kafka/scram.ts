// SCRAM: both sides prove that they know the password, and neither tells it. Source: RFC 5802, RFC 7677.
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { MillraceError } from '../errors.ts'

export interface Password {
  readonly username: string
  readonly password: string
}

/** Fewer make a stolen exchange cheap to guess from (RFC 7677); more would let a false broker keep us busy. */
const ITERATIONS = { min: 4_096, max: 1_000_000 }

/**
 * The client's messages; takes the server's. `nonce` is for tests. Throws AUTHENTICATION_FAILED when the server does not keep
 * to the protocol or cannot prove that it knows the password.
 */
export async function* scram(
  digest: 'sha256' | 'sha512',
  { username, password }: Password,
  nonce = randomBytes(24).toString('base64')
): AsyncGenerator<Buffer, void, Buffer> {
  const hmac = (key: Buffer, text: string): Buffer => createHmac(digest, key).update(text).digest()
  const name = username.replaceAll('=', '=3D').replaceAll(',', '=2C')
  const clientFirst = `n=${name},r=${nonce}`
  const serverFirst = (yield Buffer.from(`n,,${clientFirst}`)).toString()
  const { salt, iterations, nonces } = readServerFirst(serverFirst, nonce)
  // As Kafka does, without SASLprep.
  const salted = await promisify(pbkdf2)(password, salt, iterations, digest === 'sha256' ? 32 : 64, digest)
  const clientKey = hmac(salted, 'Client Key')
  const withoutProof = `c=biws,r=${nonces}`
  const exchange = `${clientFirst},${serverFirst},${withoutProof}`
  const signature = hmac(createHash(digest).update(clientKey).digest(), exchange)
  const proof = clientKey.map((byte, i) => byte ^ signature[i]!)
  const serverFinal = (yield Buffer.from(`${withoutProof},p=${Buffer.from(proof).toString('base64')}`)).toString()
  const expected = hmac(hmac(salted, 'Server Key'), exchange)
  const given = Buffer.from(/^v=([^,]+)/.exec(serverFinal)?.[1] ?? '', 'base64')
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw broken('it could not prove that it knows the password')
  }
}

function readServerFirst(text: string, nonce: string): { salt: Buffer; iterations: number; nonces: string } {
  const [, nonces = '', salt = '', count = ''] = /^r=([^,]+),s=([^,]+),i=(\d+)(?:,|$)/.exec(text) ?? []
  if (!nonces.startsWith(nonce) || nonces.length === nonce.length) throw broken('its first SCRAM message is none')
  const iterations = Number(count)
  if (iterations < ITERATIONS.min || iterations > ITERATIONS.max) {
    throw broken(`it asks for ${count} SCRAM iterations: only ${ITERATIONS.min} to ${ITERATIONS.max} are done`)
  }
  return { salt: Buffer.from(salt, 'base64'), iterations, nonces }
}

function broken(what: string): MillraceError {
  return new MillraceError('AUTHENTICATION_FAILED', what, { hint: 'Is this a broker of yours?' })
}
