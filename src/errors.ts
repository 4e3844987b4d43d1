// The one error class of Millrace and the table of its codes: what each means to the caller and to the shell.

/** What a code says beside its message: the exit code of a command that ends with it, and whether trying again may help. */
interface ErrorKind {
  readonly exit: 1 | 2 | 3
  readonly retriable: boolean
}

const wrong = { exit: 1, retriable: false } as const
const usage = { exit: 2, retriable: false } as const
const unreachable = { exit: 3, retriable: true } as const

export const errorKinds = {
  /** A configuration file, variable or flag is not what it should be. */
  CONFIG_INVALID: usage,
  /** A command was called with arguments it does not take. */
  USAGE: usage,
  /** Another process works on the same data folder. */
  DATA_LOCKED: usage,
  /** A port that Millrace should listen on is taken. */
  LISTEN_FAILED: usage,
  /** Bytes that should be a record batch are not one. */
  BATCH_CORRUPT: wrong,
  /** A record batch has a format or codec that Millrace does not read. */
  BATCH_UNSUPPORTED: wrong,
  /** A record batch grows beyond the limit when it is decompressed. */
  BATCH_TOO_LARGE: wrong,
  /** Bytes from the network are not a Kafka message. */
  WIRE_CORRUPT: wrong,
  /** A stored WAL frame or WAL file fails its checks. */
  WAL_CORRUPT: wrong,
  /** The WAL could not make an append durable. */
  WAL_FAILED: { exit: 1, retriable: true },
  /** The WAL has reached wal.max.bytes, or its disk has less free than disk.reserve. */
  WAL_FULL: { exit: 1, retriable: true },
  /** The thread that builds segments ended before it had answered, or is closed. */
  SEALING_FAILED: { exit: 1, retriable: true },
  /** A segment object fails its checks. */
  SEGMENT_CORRUPT: wrong,
  /** The archive holds something that contradicts its own rules. */
  ARCHIVE_CORRUPT: wrong,
  /** An archived object that should be there is not. */
  OBJECT_MISSING: wrong,
  /** The object store answered with an error. */
  STORE_FAILED: { exit: 3, retriable: true },
  /** A search query cannot be parsed. */
  QUERY_INVALID: usage,
  /** The worker has too many searches to answer, or is stopping. */
  SEARCH_BUSY: { exit: 1, retriable: true },
  /** A plan was refused because carrying it out would do harm. */
  PLAN_REFUSED: wrong,
  /** A Kafka broker could not be reached, or the connection broke. */
  BROKER_UNREACHABLE: unreachable,
  /** A Kafka broker does not believe who we are, or we do not believe who it is. */
  AUTHENTICATION_FAILED: { exit: 3, retriable: false },
  /** A Kafka broker answered with an error code. */
  BROKER_ERROR: { exit: 1, retriable: false },
  /** The worker that a command needs does not answer. */
  WORKER_UNREACHABLE: unreachable,
  /** Something did not finish in the time it was given. */
  TIMEOUT: { exit: 1, retriable: true }
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errorKinds

export interface ErrorDetails {
  /** What the user can do about it, as a sentence. */
  hint?: string | undefined
  /** Overrides the code's own answer where this instance knows better. */
  retriable?: boolean | undefined
  cause?: unknown
}

/** Every error that Millrace raises on purpose. Anything else that surfaces is a bug. */
export class MillraceError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly retriable: boolean

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? {} : { cause: details.cause })
    this.name = 'MillraceError'
    this.code = code
    this.hint = details.hint
    this.retriable = details.retriable ?? errorKinds[code].retriable
  }

  /** The exit code of a command that ends with this error. */
  get exitCode(): number {
    return errorKinds[this.code].exit
  }
}

/** True for a MillraceError, with the given code if one is named. */
export function isMillraceError(error: unknown, code?: ErrorCode): error is MillraceError {
  return error instanceof MillraceError && (code === undefined || error.code === code)
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
