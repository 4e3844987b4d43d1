// Access tokens for OAUTHBEARER, by the grant for client credentials. Source: RFC 6749, section 4.4; KIP-768.
import type { ErrorCode } from '../errors.ts'
import { MillraceError, messageOf } from '../errors.ts'

export interface TokenRequest {
  /** `sasl.oauthbearer.token.endpoint.url`. */
  readonly endpoint: string
  readonly clientId: string
  readonly clientSecret: string
  readonly scope: string | undefined
}

const TIMEOUT_MS = 10_000
/**
 * A token is used for this part of its life, as Kafka's clients do (`sasl.login.refresh.window.factor`). It is less than a
 * session is used for, so that one that ends with its token is renewed with another.
 */
const USED_FOR = 0.8

/** Gets tokens, and keeps one while it is good for further connections. */
export class OauthTokens {
  readonly #request: TokenRequest
  #last = ''
  /** Until when the last one is used. */
  #until = Number.NEGATIVE_INFINITY

  constructor(request: TokenRequest) {
    this.#request = request
  }

  /** Throws AUTHENTICATION_FAILED; BROKER_UNREACHABLE while the endpoint is, or is in trouble itself. */
  async get(): Promise<string> {
    if (performance.now() < this.#until) return this.#last
    const asked = performance.now()
    const { token, expiresInMs } = await askForToken(this.#request)
    this.#last = token
    this.#until = asked + expiresInMs * USED_FOR
    return token
  }

  /** A broker has refused the last token, which is not used again. Gives what to do about it. */
  refused(): string {
    this.#until = Number.NEGATIVE_INFINITY
    return hintOf(this.#last)
  }
}

/** Brokers say no more than `invalid_token`, so the token tells what there is to compare. */
function hintOf(token: string): string {
  const { head, claims } = partsOf(token)
  if (head['alg'] === undefined) return 'The token is no JWT, which is what brokers check by themselves.'
  const { iss, aud, exp } = claims
  const told = (value: unknown) => JSON.stringify(value)?.slice(0, 200) ?? 'none'
  const key = `key ${told(head['kid'])} (${told(head['alg'])})`
  const end = new Date(typeof exp === 'number' ? exp * 1000 : Number.NaN)
  const until = Number.isNaN(end.getTime()) ? 'no time' : end.toISOString()
  const rules =
    'sasl.oauthbearer.expected.issuer, .expected.audience and .jwks.endpoint.url, whose key has to have signed it'
  return (
    `The token has issuer ${told(iss)}, audience ${told(aud)}, ${key}, and holds until ${until}. ` +
    `Compare this with the broker's clock and its ${rules}.`
  )
}

/** What can be read of a JWT, nothing of any other token. Source: RFC 7515, section 7.1. */
function partsOf(token: string): { head: Record<string, unknown>; claims: Record<string, unknown> } {
  const [head, claims] = token.split('.').map(part => parsed(Buffer.from(part, 'base64url').toString()))
  return { head: head ?? {}, claims: claims ?? {} }
}

async function askForToken(request: TokenRequest): Promise<{ token: string; expiresInMs: number }> {
  const { endpoint, clientId, clientSecret, scope } = request
  const failed = (code: ErrorCode, what: string, cause?: unknown) =>
    new MillraceError(code, `no token from ${endpoint}: ${what}`, {
      hint: 'Check sasl.oauthbearer.token.endpoint.url, and clientId, clientSecret and scope in sasl.jaas.config.',
      cause
    })
  const basic = Buffer.from(`${clientId}:${clientSecret}`).toString('base64')
  let response: Response
  let text: string
  try {
    response = await fetch(endpoint, {
      method: 'POST',
      headers: { authorization: `Basic ${basic}`, accept: 'application/json' },
      body: new URLSearchParams({ grant_type: 'client_credentials', ...(scope !== undefined && { scope }) }),
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS)
    })
    text = await response.text()
  } catch (cause) {
    // What fetch throws says no more than that it failed.
    const reason = cause instanceof Error && cause.cause !== undefined ? cause.cause : cause
    throw failed('BROKER_UNREACHABLE', messageOf(reason), cause)
  }
  const answer = parsed(text)
  if (!response.ok) {
    const code = typeof answer['error'] === 'string' ? ` ${answer['error']}` : ''
    const isTheirs = response.status >= 500
    throw failed(isTheirs ? 'BROKER_UNREACHABLE' : 'AUTHENTICATION_FAILED', `HTTP ${response.status}${code}`)
  }
  const { access_token: token, expires_in: expiresIn } = answer
  if (typeof token !== 'string' || token === '')
    throw failed('AUTHENTICATION_FAILED', 'its answer holds no access_token')
  return { token, expiresInMs: lifetimeOf(token, expiresIn) }
}

/** Milliseconds, 0 where nobody tells. The shorter of what endpoint and token say: some give what they gave before. */
function lifetimeOf(token: string, expiresIn: unknown): number {
  const { exp } = partsOf(token).claims
  const told = [Number(expiresIn) * 1000, typeof exp === 'number' ? exp * 1000 - Date.now() : Number.NaN]
  const known = told.filter(ms => !Number.isNaN(ms))
  return known.length > 0 ? Math.max(0, Math.min(...known)) : 0
}

function parsed(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
