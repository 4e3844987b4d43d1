// What goes into the WAL, and what the main thread and the WAL thread say to each other. Errors travel as plain objects: a clone keeps no class.
import type { ErrorCode } from '../errors.ts'
import { MillraceError, messageOf } from '../errors.ts'
import type { Columns, StoredRow } from './row-columns.ts'
import type { StreamKey } from './stream.ts'

export interface ThreadOptions {
  readonly directory: string
  readonly fileBytes: number
  /** Free bytes of the disk that appends leave alone. */
  readonly reserveBytes: number
}

/** A batch as the proxy or a fetcher holds it. */
export interface CapturedBatch {
  readonly stream: StreamKey
  /** The offset that the broker assigned; the bytes may still carry the producer's. */
  readonly baseOffset: number
  readonly lastOffset: number
  readonly recordCount: number
  /** Bits of FrameFlag. */
  readonly flags: number
  /** The partition's leader epoch that was known before the batch was sent; without it the bytes keep what they say. */
  readonly leaderEpoch?: number
  /** The batch's bytes in pieces, as they lie in the buffers of a socket. */
  readonly chunks: readonly Uint8Array[]
}

/** Where one frame lies in its append's memory, and what its row says of it. */
export interface FrameRef {
  readonly stream: number
  readonly start: number
  /** Where the batch begins; it ends with the frame. */
  readonly batch: number
  readonly end: number
  readonly baseOffset: number
  readonly lastOffset: number
  /** The batch's own CRC. */
  readonly crc: number
  readonly flags: number
}

export interface AppendRequest {
  readonly kind: 'append'
  readonly id: number
  /** The slab in which all frames of the call lie; they are the sender's again when it has heard of the outcome. */
  readonly slab: number
  /** As many bytes as they have together. */
  readonly bytes: number
  readonly refs: readonly FrameRef[]
  /** Slabs and streams that the thread has not heard of: their numbers are the places in a list that both sides keep. */
  readonly slabs: readonly SharedArrayBuffer[]
  readonly streams: readonly StreamKey[]
  /** Store also what is there already. */
  readonly keepRepeats: boolean
  /** Take the disk's reserve too. */
  readonly beyondLimit: boolean
  /** How many failures the sender had heard of: behind one that it had not, nothing is stored. */
  readonly failuresHeard: number
}

/** Copy rows of an older file into the newest. */
export interface MoveRequest {
  readonly kind: 'move'
  readonly id: number
  readonly file: number
  readonly rows: readonly StoredRow[]
}

export type Request =
  | AppendRequest
  | MoveRequest
  | { readonly kind: 'damaged'; readonly file: number }
  | { readonly kind: 'delete'; readonly file: number }
  | { readonly kind: 'rotate' }
  | { readonly kind: 'close' }

export interface FileState {
  readonly file: number
  readonly bytesOnDisk: number
}

/** All that a file of an earlier run holds. */
export interface RecoveredFile extends FileState {
  /** As many bytes of it count. */
  readonly bytes: number
  /** The bytes of a last commit that was never finished. */
  readonly tornBytes: number
  readonly rows: Columns
  /** The ids of those rows that cannot be read, though it is known what they held. */
  readonly lost: readonly number[]
  /** The ids of the other frames that cannot be read. */
  readonly unreadable: readonly number[]
  readonly damage: readonly PlainError[]
}

export type Report =
  | {
      readonly kind: 'ready'
      readonly streams: readonly StreamKey[]
      readonly recovered: readonly RecoveredFile[]
      readonly newest: FileState
      readonly shortage: PlainError | undefined
    }
  | { readonly kind: 'unready'; readonly error: PlainError }
  /** The appends are on the disk; the rows are those that were not there before. */
  | {
      readonly kind: 'committed'
      readonly newest: FileState
      /** How long the commit took. */
      readonly ms: number
      readonly appends: readonly number[]
      readonly rows: readonly StoredRow[]
    }
  /** The rows of a move as they are in the newest file. */
  | {
      readonly kind: 'moved'
      readonly id: number
      /** Where they were. */
      readonly file: number
      readonly ids: readonly number[]
      readonly newest: FileState
      readonly rows: readonly StoredRow[]
    }
  | { readonly kind: 'unmoved'; readonly id: number; readonly error: PlainError }
  /** The disk has less free than its reserve, and why nothing is taken therefore; or it has enough again. */
  | { readonly kind: 'shortage'; readonly error: PlainError | undefined }
  | { readonly kind: 'refused'; readonly appends: readonly number[]; readonly error: PlainError }
  | { readonly kind: 'failing'; readonly error: PlainError }
  | { readonly kind: 'healthy'; readonly newest: FileState }
  | { readonly kind: 'opened'; readonly newest: FileState }
  /** `setAside` is where a damaged file is now. */
  | { readonly kind: 'deleted'; readonly file: number; readonly setAside: string | undefined }
  /** It is still there, and is tried again with the next release. */
  | { readonly kind: 'undeleted'; readonly file: number; readonly error: PlainError }

export interface PlainError {
  readonly code: ErrorCode
  readonly message: string
  readonly hint: string | undefined
  readonly cause: unknown
}

/** Anything thrown as a plain object; what is no MillraceError becomes WAL_FAILED with the thing as its cause. */
export function toPlain(error: unknown): PlainError {
  if (error instanceof MillraceError) {
    const { code, message, hint, cause } = error
    return { code, message, hint, cause: cause === undefined ? undefined : messageOf(cause) }
  }
  return { code: 'WAL_FAILED', message: messageOf(error), hint: undefined, cause: error }
}

export function fromPlain({ code, message, hint, cause }: PlainError): MillraceError {
  return new MillraceError(code, message, { hint, cause })
}
