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
/** A token is used for this part of its life, as Kafka's clients do (`sasl.login.refresh.window.factor`). */
const USED_FOR = 0.8

/** Gets tokens, and keeps one while it is good for further connections. */
export class OauthTokens {
  readonly #request: TokenRequest
  #kept: { readonly token: string; readonly until: number } | null = null

  constructor(request: TokenRequest) {
    this.#request = request
  }

  /** Throws AUTHENTICATION_FAILED; BROKER_UNREACHABLE while the endpoint is, or is in trouble itself. */
  async get(): Promise<string> {
    if (this.#kept !== null && performance.now() < this.#kept.until) return this.#kept.token
    const asked = performance.now()
    const { token, expiresInMs } = await askForToken(this.#request)
    this.#kept = { token, until: asked + expiresInMs * USED_FOR }
    return token
  }

  /** The broker has refused it. */
  forget(): void {
    this.#kept = null
  }
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
  return { token, expiresInMs: Number(expiresIn) > 0 ? Number(expiresIn) * 1000 : 0 }
}

function parsed(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
