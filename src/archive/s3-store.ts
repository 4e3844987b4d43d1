// Objects in an S3 bucket below a prefix, of AWS or any store with conditional puts.
import { open } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import type {
  GetObjectCommandOutput,
  PutObjectCommandInput,
  S3Client,
  ServerSideEncryption,
  StorageClass
} from '@aws-sdk/client-s3'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  paginateListObjectsV2
} from '@aws-sdk/client-s3'
import { MillraceError, messageOf } from '../errors.ts'
import type { S3Options } from './s3-client.ts'
import { createS3Client } from './s3-client.ts'
import { isAbsent, isTransient, isWrongDigest, statusOf, storeFailed } from './s3-errors.ts'
import type { ByteRange, ObjectInfo, ObjectSource, ObjectStore } from './store-contract.ts'
import { checkKey, objectMissing, wrongDigest } from './store-contract.ts'

interface Place {
  readonly bucket: string
  /** Empty, or ends with a slash. */
  readonly prefix: string
}

const SHA256_METADATA = 'millrace-sha256'
/** S3's own limit for one put. https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const MAX_PUT_BYTES = 5 * 1024 ** 3
const PUT_ATTEMPTS = 6
const READ_ATTEMPTS = 3
const FIRST_BACKOFF_MS = 100

/** Opens a bucket and asks for its first object. Throws STORE_FAILED if it cannot be reached or read. */
export async function openS3Store(url: string, place: Place, options: S3Options): Promise<ObjectStore> {
  const client = createS3Client(options)
  try {
    // Not HeadBucket, whose answer has no body and so does not say what is wrong.
    await client.send(new ListObjectsV2Command({ Bucket: place.bucket, Prefix: place.prefix, MaxKeys: 1 }))
  } catch (error) {
    client.destroy()
    throw storeFailed(`open ${url}`, error)
  }
  return new S3Store(url, client, place, options)
}

class S3Store implements ObjectStore {
  readonly url: string
  readonly #client: S3Client
  readonly #place: Place
  readonly #options: S3Options

  constructor(url: string, client: S3Client, place: Place, options: S3Options) {
    this.url = url
    this.#client = client
    this.#place = place
    this.#options = options
  }

  async putIfAbsent(key: string, source: ObjectSource, sha256: string): Promise<'stored' | 'exists'> {
    const input = {
      ...this.#at(key),
      IfNoneMatch: '*',
      ChecksumSHA256: Buffer.from(sha256, 'hex').toString('base64'),
      Metadata: { [SHA256_METADATA]: sha256 },
      StorageClass: this.#options.storageClass as StorageClass | undefined,
      ServerSideEncryption: this.#options.sse as ServerSideEncryption | undefined
    }
    let perhapsThere = false
    for (let tried = 1; ; tried += 1) {
      try {
        const there = perhapsThere ? await this.#look(key) : null
        if (there !== null) return there.sha256 === sha256 ? 'stored' : 'exists'
        if (Buffer.isBuffer(source)) await this.#client.send(new PutObjectCommand({ ...input, Body: source }))
        else await this.#putFile(input, source.path)
        return 'stored'
      } catch (error) {
        if (error instanceof MillraceError) throw error
        if (isWrongDigest(error)) throw wrongDigest(key, sha256, error)
        const taken = statusOf(error) === 412
        // Without an answer, ours may have been stored; or the key was taken, and a server that says so before it has read the
        // body cuts the line. The client's own tries do not know that, and it never sends a stream again.
        perhapsThere = taken || isTransient(error)
        // 409: another put or a delete of the key is under way.
        const again = perhapsThere || statusOf(error) === 409
        if (!again || tried === PUT_ATTEMPTS) throw this.#failed('put', key, error)
        if (!taken) await backoff(tried)
      }
    }
  }

  async #putFile(input: Omit<PutObjectCommandInput, 'Body'>, path: string): Promise<void> {
    const failed = (cause: unknown) =>
      new MillraceError('STORE_FAILED', `could not read ${path} to put it: ${messageOf(cause)}`, { cause })
    await using file = await open(path).catch(cause => Promise.reject(failed(cause)))
    const { size } = await file.stat()
    if (size > MAX_PUT_BYTES) {
      throw new MillraceError('STORE_FAILED', `${path} has ${size} bytes: a single S3 put takes 5 GiB`, {
        retriable: false,
        hint: 'Lower segment.bytes or the merge size.'
      })
    }
    const body = file.createReadStream({ autoClose: false, start: 0 })
    // The client waits on when a stream breaks.
    const broken = new AbortController()
    body.once('error', error => broken.abort(failed(error)))
    try {
      const command = new PutObjectCommand({ ...input, Body: body, ContentLength: size })
      await this.#client.send(command, { abortSignal: broken.signal })
    } catch (error) {
      throw broken.signal.aborted ? broken.signal.reason : error
    } finally {
      body.destroy()
    }
  }

  async head(key: string): Promise<ObjectInfo | null> {
    try {
      return await this.#look(key)
    } catch (error) {
      throw this.#failed('read', key, error)
    }
  }

  /** As `head`, with the client's own errors. */
  async #look(key: string): Promise<ObjectInfo | null> {
    const command = new HeadObjectCommand({ ...this.#at(key), ChecksumMode: 'ENABLED' })
    const answer = await this.#client.send(command).catch(error => (isAbsent(error) ? null : Promise.reject(error)))
    if (answer === null) return null
    const noted = answer.Metadata?.[SHA256_METADATA] ?? null
    const checked = sha256In(answer.ChecksumSHA256)
    if (noted !== null && checked !== null && noted !== checked) {
      const message = `${this.#name(key)} has the SHA-256 ${checked}, its metadata says ${noted}`
      throw new MillraceError('ARCHIVE_CORRUPT', message)
    }
    return { key, size: answer.ContentLength ?? 0, sha256: noted ?? checked }
  }

  async get(key: string, range?: ByteRange): Promise<Buffer> {
    if (range === undefined) return (await this.#read(key)).data
    // HTTP has no empty range.
    if (range.end <= range.start) return (await this.#sizeOnly(key)).data
    return (await this.#read(key, `bytes=${range.start}-${range.end - 1}`)).data
  }

  async tail(key: string, bytes: number): Promise<{ data: Buffer; size: number }> {
    return bytes > 0 ? await this.#read(key, `bytes=-${bytes}`) : await this.#sizeOnly(key)
  }

  async #read(key: string, range?: string): Promise<{ data: Buffer; size: number }> {
    for (let tried = 1; ; tried += 1) {
      let answer: GetObjectCommandOutput
      try {
        answer = await this.#client.send(new GetObjectCommand({ ...this.#at(key), Range: range }))
      } catch (error) {
        if (isAbsent(error)) throw objectMissing(this.url, key, error)
        // The range begins past the end, or the object is empty.
        if (statusOf(error) === 416) return await this.#sizeOnly(key)
        throw this.#failed('read', key, error)
      }
      try {
        const data = Buffer.from(await answer.Body!.transformToByteArray())
        const whole = /\/(\d+)$/.exec(answer.ContentRange ?? '')?.[1]
        return { data, size: whole === undefined ? data.length : Number(whole) }
      } catch (error) {
        // The client tries again only until the answer begins.
        if (tried === READ_ATTEMPTS) throw this.#failed('read', key, error)
      }
      await backoff(tried)
    }
  }

  async #sizeOnly(key: string): Promise<{ data: Buffer; size: number }> {
    const found = await this.head(key)
    if (found === null) throw objectMissing(this.url, key)
    return { data: Buffer.alloc(0), size: found.size }
  }

  async *list(prefix: string, startAfter?: string): AsyncGenerator<ObjectInfo> {
    const { bucket, prefix: above } = this.#place
    const StartAfter = startAfter === undefined ? undefined : above + startAfter
    const pages = paginateListObjectsV2(
      { client: this.#client },
      { Bucket: bucket, Prefix: above + prefix, StartAfter }
    )
    try {
      for await (const { Contents = [] } of pages) {
        for (const { Key = '', Size = 0, ETag } of Contents) {
          // Consoles mark folders by empty objects with such names.
          if (!Key.endsWith('/')) yield { key: Key.slice(above.length), size: Size, sha256: null, tag: ETag }
        }
      }
    } catch (error) {
      throw this.#failed('list', prefix, error)
    }
  }

  async delete(key: string): Promise<void> {
    try {
      await this.#client.send(new DeleteObjectCommand(this.#at(key)))
    } catch (error) {
      if (!isAbsent(error)) throw this.#failed('delete', key, error)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy()
  }

  #at(key: string): { Bucket: string; Key: string } {
    checkKey(key)
    return { Bucket: this.#place.bucket, Key: this.#place.prefix + key }
  }

  #name(key: string): string {
    return `s3://${this.#place.bucket}/${this.#place.prefix}${key}`
  }

  #failed(verb: string, key: string, error: unknown): MillraceError {
    return error instanceof MillraceError ? error : storeFailed(`${verb} ${this.#name(key)}`, error)
  }
}

/** The store's checksum in hex. That of a multipart object is no hash of its bytes: a dash and the count of parts follow it. */
function sha256In(checksum: string | undefined): string | null {
  return checksum === undefined || checksum.includes('-') ? null : Buffer.from(checksum, 'base64').toString('hex')
}

/** Waits twice as long after each try, and never two callers equally long. */
async function backoff(tried: number): Promise<void> {
  await pause(FIRST_BACKOFF_MS * 2 ** (tried - 1) * (0.5 + Math.random()))
}
