// What every store of archived objects promises, whatever holds the bytes, and which keys it takes. The archive is built on
// these promises and no others; `test/support/object-store-contract.ts` holds each store to them.
import { MillraceError } from '../errors.ts'

export interface ObjectInfo {
  readonly key: string
  /** Bytes. */
  readonly size: number
  /** In hex; null where the store does not say: in listings, and for an S3 object that something else put there. */
  readonly sha256: string | null
  /**
   * In listings, where the store has something like it: another where the object under this key is another one, as after an archive
   * was put back from a copy.
   */
  readonly tag?: string | undefined
}

/** The bytes of a new object: a small body in memory, or a local file that nobody changes any more: it may become the object. */
export type ObjectSource = Buffer | { readonly path: string }

/** A part of an object in bytes, the end exclusive. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/**
 * A flat space of immutable objects, shared by any number of processes. Every method may be called at any time and many at
 * once, by several workers on several machines; none needs to know of the others.
 *
 * Keys are segments parted by `/` (`checkKey` has the rules), and no key is the folder of another: beside `a/b` there is no
 * object `a`. Order is that of the key's UTF-8 bytes (`compareKeys`).
 *
 * A write or delete is seen by every later call of every process at once. Bytes are given back as they are stored: checking
 * them is for the reader, since archived objects carry their own checksums.
 *
 * Whatever goes wrong is a MillraceError: OBJECT_MISSING where said below; ARCHIVE_CORRUPT where a store contradicts itself
 * about an object; else STORE_FAILED, with what was tried on which object and a hint for the usual misuse. Of STORE_FAILED,
 * `retriable` is false where the same call would fail again whatever the store does (a bad key, bytes that do not have the
 * SHA-256). After any other failed put the object may or may not be there: put it again.
 */
export interface ObjectStore extends AsyncDisposable {
  /** As the user wrote it, for messages. */
  readonly url: string

  /**
   * Stores an object whole if its key is free, and never changes one that is there: of many puts to one key, by whomever,
   * exactly one body wins. When it resolves the object is durable.
   *
   * 'stored': the object under the key has this SHA-256, put there by this call or an earlier one (a retry whose first try had
   * worked, or another worker with the same bytes). 'exists': something else stands there. Bytes that do not have `sha256`
   * (hex) are refused with STORE_FAILED, unless the key is taken, and nothing is stored.
   */
  putIfAbsent(key: string, source: ObjectSource, sha256: string): Promise<'stored' | 'exists'>

  /** An object's size and SHA-256, null if it is absent. A folder reads the whole file for it, S3 answers from metadata. */
  head(key: string): Promise<ObjectInfo | null>

  /** An object's bytes, or those of a range; what lies past the end is left out. Throws OBJECT_MISSING. */
  get(key: string, range?: ByteRange): Promise<Buffer>

  /** The last `bytes` bytes of an object (all of a shorter one) and its whole size, in one request. Throws OBJECT_MISSING. */
  tail(key: string, bytes: number): Promise<{ data: Buffer; size: number }>

  /**
   * Every object whose key begins with `prefix` (any string, '' for all) and, if given, comes after the key `startAfter`,
   * in key order. Paged inside, so memory stays flat. What is put or deleted meanwhile may or may not be in it.
   */
  list(prefix: string, startAfter?: string): AsyncIterable<ObjectInfo>

  /** Removes an object; one that is absent is fine. */
  delete(key: string): Promise<void>
}

/** The folder of a folder store where objects are written before they get their names; no key may begin with it. */
export const TEMP_FOLDER = '.tmp'

/** Refuses, in every store, a key that some store could not hold or that would lead out of a folder. Throws STORE_FAILED. */
export function checkKey(key: string): void {
  const segments = key.split('/')
  const wrong = segments.includes('')
    ? 'has an empty segment'
    : segments.some(segment => segment === '.' || segment === '..')
      ? 'has a segment . or ..'
      : // XML, in which S3 lists keys, cannot hold control characters; no file system takes a NUL.
        /\p{Cc}/u.test(key)
        ? 'has a control character'
        : !key.isWellFormed()
          ? 'is not Unicode'
          : segments[0] === TEMP_FOLDER && `begins with ${TEMP_FOLDER}, which is reserved`
  if (wrong) throw new MillraceError('STORE_FAILED', `object key ${JSON.stringify(key)} ${wrong}`, { retriable: false })
}

/** The order of keys: by their UTF-8 bytes, which JavaScript's own comparison is not for characters above U+FFFF. */
export function compareKeys(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right))
}

/** The error for bytes that do not have the SHA-256 they were put with. */
export function wrongDigest(key: string, expected: string, cause?: unknown): MillraceError {
  const message = `the bytes for object ${key} do not have the SHA-256 ${expected}: nothing was stored`
  return new MillraceError('STORE_FAILED', message, { retriable: false, cause })
}

/** The error for an object that should be there. */
export function objectMissing(url: string, key: string, cause?: unknown): MillraceError {
  return new MillraceError('OBJECT_MISSING', `${url} has no object ${key}`, { cause })
}
