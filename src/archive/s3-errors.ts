// What an error of the S3 client means: for the flow (try again, absent) and for the user (a sentence and a hint).
import { MillraceError, messageOf } from '../errors.ts'

interface SdkError {
  readonly name?: string
  readonly code?: string
  readonly message?: string
  readonly $metadata?: { readonly httpStatusCode?: number }
}

const hints: readonly (readonly [names: RegExp, hint: string])[] = [
  [/^NoSuchBucket$/, 'Make the bucket first, or correct the name in the archive URL.'],
  [
    /^(AccessDenied|Forbidden|AllAccessDisabled|403)$/,
    'The credentials need s3:GetObject, s3:PutObject and s3:DeleteObject below the prefix and s3:ListBucket on the bucket.'
  ],
  [
    /^(InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|TokenRefreshRequired)$/,
    'The store does not accept the credentials: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or the profile.'
  ],
  [
    /^(CredentialsProviderError|MissingCredentials)$/,
    'No credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role.'
  ],
  [
    /^(PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraintException|301|Region is missing)$/,
    "Set s3.region (or AWS_REGION) to the bucket's own region."
  ],
  [
    /^(ECONNREFUSED|ECONNRESET|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|TimeoutError)$/,
    'Nothing answers at s3.endpoint: check its host and port, and that the store is running.'
  ],
  [
    /^(ENOTFOUND|EAI_AGAIN)$/,
    'The host is not known: check s3.endpoint and s3.region; a store of your own usually needs s3.path.style: true.'
  ],
  [
    /^(EPROTO|ERR_SSL_.*|DEPTH_ZERO_SELF_SIGNED_CERT|.*CERT.*)$/,
    'Check http or https in s3.endpoint, and its certificate.'
  ],
  [/^RequestTimeTooSkewed$/, "The machine's clock is wrong."],
  [
    /^(NotImplemented|501)$/,
    'This store lacks something that an archive needs, probably conditional puts (If-None-Match: *).'
  ],
  [/^(KeyTooLongError|KeyTooLong)$/, 'Prefix and key may have 1,024 bytes together: use a shorter prefix.']
]

/** The HTTP status of an answer, undefined if there was none. */
export function statusOf(error: unknown): number | undefined {
  return (error as SdkError).$metadata?.httpStatusCode
}

/** True for an object that is not there. A bucket that is not there answers 404 too; to HEAD it does not say which. */
export function isAbsent(error: unknown): boolean {
  return statusOf(error) === 404 && (error as SdkError).name !== 'NoSuchBucket'
}

/** True when the store found other bytes than the checksum says. */
export function isWrongDigest(error: unknown): boolean {
  return /^(BadDigest|InvalidDigest|XAmzContentChecksumMismatch|XAmzContentSHA256Mismatch)$/.test(
    (error as SdkError).name ?? ''
  )
}

/** True for what may pass by itself: no answer or a broken one, a busy store, a fault of the store. */
export function isTransient(error: unknown): boolean {
  const { name, code } = error as SdkError
  const status = statusOf(error)
  if (status === undefined) return code !== undefined || name === 'TimeoutError'
  return status >= 500 || status === 429 || status === 408 || name === 'RequestTimeout'
}

/** The error for a call that failed: `what` is what was tried and on what, as in "put s3://bucket/key". */
export function storeFailed(what: string, error: unknown): MillraceError {
  const { name, code, message } = error as SdkError
  const status = statusOf(error)
  // The name says more than the status; an answer to HEAD has only the status.
  const signs = [name, code, message, status === undefined ? undefined : String(status)]
  const hint = signs.map(hintFor).find(found => found !== undefined)
  const label = code ?? (name === 'Error' ? undefined : name)
  const reason = [...new Set([label, message])].filter(Boolean).join(': ') || messageOf(error)
  // Else a log of the cause shows the whole connection.
  if (typeof error === 'object') Object.defineProperty(error, '$response', { enumerable: false })
  const answer = status === undefined ? '' : ` (HTTP ${status})`
  return new MillraceError('STORE_FAILED', `could not ${what}: ${reason}${answer}`, { hint, cause: error })
}

function hintFor(sign: string | undefined): string | undefined {
  return hints.find(([names]) => sign !== undefined && names.test(sign))?.[1]
}
