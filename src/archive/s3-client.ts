// The options of an S3 store and the client that they give: where it connects, how long it waits, what it leaves out.
import { S3Client } from '@aws-sdk/client-s3'

/** Settings of an S3 store (`s3.*` in a connector's file). Credentials come from the AWS default chain. */
export interface S3Options {
  /** The store's address if it is not AWS: `http://127.0.0.1:9000`. */
  endpoint?: string | undefined
  /** Unless told, what AWS's own settings say; at an endpoint AWS_REGION or else us-east-1. */
  region?: string | undefined
  /** The bucket in the path, not in the host name; true at an endpoint unless told. */
  pathStyle?: boolean | undefined
  /** For new objects: STANDARD_IA, …; the bucket's default unless told. */
  storageClass?: string | undefined
  /** Encryption by the store for new objects: AES256, aws:kms, …; the bucket's default unless told. */
  sse?: string | undefined
}

const CONNECT_TIMEOUT_MS = 5_000
/** Without a byte in either direction. */
const IDLE_TIMEOUT_MS = 60_000

/** The client prints a warning for each failed put of a stream; what matters is in the error that follows. */
const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }

/** A client by these options; it connects with its first request. */
export function createS3Client(options: S3Options): S3Client {
  const { endpoint, pathStyle = endpoint !== undefined } = options
  const region = options.region ?? (endpoint === undefined ? undefined : process.env['AWS_REGION'] || 'us-east-1')
  return new S3Client({
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    forcePathStyle: pathStyle,
    // Other stores than AWS refuse the checksums that the client would add, or send those of the whole with a range.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: { connectionTimeout: CONNECT_TIMEOUT_MS, socketTimeout: IDLE_TIMEOUT_MS },
    logger: silent
  })
}
