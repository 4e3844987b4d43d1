// What only an S3 store has: its options on the wire, tries after faults, errors that say what to do. Between the store and the
// real server stands a relay that notes requests and can spoil chosen ones.

import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand
} from '@aws-sdk/client-s3'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ObjectStore, S3Options } from '../../src/archive/object-store.ts'
import { openObjectStore } from '../../src/archive/object-store.ts'
import { keysOf, putText, sha256Of } from '../support/object-store-contract.ts'
import { freePort } from '../support/ports.ts'
import type { Fault, Relay } from '../support/s3-relay.ts'
import { relayTo } from '../support/s3-relay.ts'
import { describeS3, useS3 } from '../support/servers.ts'
import { tempFolder } from '../support/temp.ts'

describeS3('the S3 store', () => {
  beforeEach(() => {
    for (const [name, value] of Object.entries(useS3().env)) vi.stubEnv(name, value)
  })
  afterEach(() => {
    vi.unstubAllEnvs()
  })

  async function openThrough(relay: Relay, options: S3Options = {}): Promise<ObjectStore> {
    const url = `s3://${await useS3().createBucket()}/prefix`
    const store = await openObjectStore(url, { s3: { endpoint: relay.endpoint, ...options } })
    relay.seen.length = 0
    return store
  }

  test('sends its options and the checksum with a put', async () => {
    await using relay = await relayTo(useS3().endpoint)
    await using store = await openThrough(relay, { storageClass: 'STANDARD', sse: 'AES256' })
    await putText(store, 'object', 'body').catch(() => undefined) // a server without encryption may refuse
    const { headers } = relay.seen[0]!
    expect(headers).toMatchObject({
      'if-none-match': '*',
      'x-amz-checksum-sha256': Buffer.from(sha256Of(Buffer.from('body')), 'hex').toString('base64'),
      'x-amz-meta-millrace-sha256': sha256Of(Buffer.from('body')),
      'x-amz-storage-class': 'STANDARD',
      'x-amz-server-side-encryption': 'AES256'
    })
  })

  test('signs for the region it is given, else that of AWS_REGION, else us-east-1', async () => {
    await using relay = await relayTo(useS3().endpoint)
    const open = (s3: S3Options) => openObjectStore('s3://no-such-bucket', { s3 }).catch(() => undefined)
    await open({ endpoint: relay.endpoint, region: 'eu-north-7' })
    vi.stubEnv('AWS_REGION', 'eu-south-8')
    await open({ endpoint: relay.endpoint })
    vi.stubEnv('AWS_REGION', undefined)
    await open({ endpoint: relay.endpoint })
    const [given, environment, usual] = relay.seen.map(({ headers }) => headers.authorization)
    expect(given).toContain('/eu-north-7/s3/')
    expect(environment).toContain('/eu-south-8/s3/')
    expect(usual).toContain('/us-east-1/s3/')
  })

  test('has the bucket in the path at an endpoint, unless told', async () => {
    const message = async (pathStyle?: boolean) => {
      const s3 = { endpoint: 'http://store.invalid', pathStyle }
      return await openObjectStore('s3://the-bucket', { s3 }).then(String, error => error.message)
    }
    expect(await message()).toMatch(/ store\.invalid/)
    expect(await message(true)).toMatch(/ store\.invalid/)
    expect(await message(false)).toMatch(/ the-bucket\.store\.invalid/)
  })

  describe.each(['a buffer', 'a file'])('a put of %s', kind => {
    const body = Buffer.alloc(3 * 1024 * 1024, 'x')
    test.each<{ name: string; faults: Fault[] }>([
      { name: 'a conflict', faults: [{ status: 409, code: 'ConditionalRequestConflict' }] },
      { name: 'a busy store', faults: [{ status: 503, code: 'SlowDown' }] },
      { name: 'a line that breaks', faults: ['cut'] },
      { name: 'an answer that is lost', faults: ['lose the answer'] },
      { name: 'one after the other', faults: [{ status: 500, code: 'InternalError' }, 'lose the answer'] }
    ])('is tried again after $name', async ({ faults }) => {
      await using folder = await tempFolder('source')
      const path = join(folder.path, 'segment')
      await writeFile(path, body)
      await using relay = await relayTo(useS3().endpoint)
      await using store = await openThrough(relay)
      relay.faults.push(...faults)
      expect(await store.putIfAbsent('object', kind === 'a file' ? { path } : body, sha256Of(body))).toBe('stored')
      expect(relay.faults).toEqual([])
      expect(await store.head('object')).toEqual({ key: 'object', size: body.length, sha256: sha256Of(body) })
    })
  })

  test('reads again when an answer breaks off, but not for ever', async () => {
    await using relay = await relayTo(useS3().endpoint)
    await using store = await openThrough(relay)
    await putText(store, 'object', '0123456789')
    relay.halves = 2
    expect((await store.get('object')).toString()).toBe('0123456789')
    relay.halves = 1
    expect((await store.tail('object', 4)).data.toString()).toBe('6789')
    relay.halves = 3
    await expect(store.get('object')).rejects.toMatchObject({ code: 'STORE_FAILED', retriable: true })
    expect(relay.halves).toBe(0)
  })

  test('gives up on a put that always conflicts', async () => {
    await using relay = await relayTo(useS3().endpoint)
    await using store = await openThrough(relay)
    relay.faults.push(...Array.from({ length: 100 }, () => ({ status: 409, code: 'ConditionalRequestConflict' })))
    await expect(putText(store, 'object', 'body')).rejects.toMatchObject({
      code: 'STORE_FAILED',
      retriable: true,
      message: expect.stringMatching(
        /^could not put s3:\/\/millrace-.*\/prefix\/object: ConditionalRequestConflict.*409/
      )
    })
  })

  test('refuses a file beyond the limit of a single put', async () => {
    await using folder = await tempFolder('source')
    const path = join(folder.path, 'huge')
    await using file = await open(path, 'w')
    await file.truncate(5 * 1024 ** 3 + 1)
    await using relay = await relayTo(useS3().endpoint)
    await using store = await openThrough(relay)
    await expect(store.putIfAbsent('huge', { path }, '0'.repeat(64))).rejects.toMatchObject({
      code: 'STORE_FAILED',
      retriable: false,
      message: `${path} has 5368709121 bytes: a single S3 put takes 5 GiB`
    })
    expect(relay.seen.length).toBe(0)
  })

  test('takes the SHA-256 of foreign objects from the checksum, or says that it does not know it', async () => {
    const s3 = useS3()
    const bucket = await s3.createBucket()
    const client = s3.client()
    const body = Buffer.from('foreign')
    const at = { Bucket: bucket, Key: 'prefix/multipart' }
    const checksum = Buffer.from(sha256Of(body), 'hex').toString('base64')
    await client.send(new PutObjectCommand({ ...at, Key: 'prefix/checked', Body: body, ChecksumSHA256: checksum }))
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ ...at, ChecksumAlgorithm: 'SHA256' }))
    const part = { ...at, UploadId, PartNumber: 1, Body: body, ChecksumSHA256: checksum }
    const { ETag } = await client.send(new UploadPartCommand(part))
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag, ChecksumSHA256: checksum }] }
    await client.send(new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload }))
    const lie = { Metadata: { 'millrace-sha256': '0'.repeat(64) }, ChecksumSHA256: checksum }
    await client.send(new PutObjectCommand({ ...at, Key: 'prefix/lie', Body: body, ...lie }))
    // As a console makes a folder.
    await client.send(new PutObjectCommand({ ...at, Key: 'prefix/folder/', Body: '', ContentLength: 0 }))
    client.destroy()
    await using store = await openObjectStore(`s3://${bucket}/prefix/`, { s3: { endpoint: s3.endpoint } })
    expect(await store.head('checked')).toEqual({ key: 'checked', size: 7, sha256: sha256Of(body) })
    expect(await store.head('multipart')).toEqual({ key: 'multipart', size: 7, sha256: null })
    await expect(store.head('lie')).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' })
    expect(await keysOf(store.list(''))).toEqual(['checked', 'lie', 'multipart'])
  })

  test('says what to do when the bucket is not there', async () => {
    const opened = openObjectStore('s3://no-such-bucket/prefix', { s3: { endpoint: useS3().endpoint } })
    await expect(opened).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringMatching(/^could not open s3:\/\/no-such-bucket\/prefix: NoSuchBucket: .*\(HTTP 404\)$/),
      hint: 'Make the bucket first, or correct the name in the archive URL.'
    })
  })

  test('says what to do when nothing answers', async () => {
    const opened = openObjectStore('s3://bucket', { s3: { endpoint: `http://127.0.0.1:${await freePort()}` } })
    await expect(opened).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('ECONNREFUSED'),
      hint: expect.stringContaining('s3.endpoint')
    })
  })

  test('says what to do when there are no credentials', async () => {
    await using folder = await tempFolder('home')
    // The default chain looks in all these places; a file that is not there ends each of them.
    const none = { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '', AWS_EC2_METADATA_DISABLED: 'true' }
    const files = { AWS_CONFIG_FILE: folder.path, AWS_SHARED_CREDENTIALS_FILE: folder.path, HOME: folder.path }
    for (const [name, value] of Object.entries({ ...none, ...files })) vi.stubEnv(name, value)
    const opened = openObjectStore('s3://bucket', { s3: { endpoint: useS3().endpoint } })
    await expect(opened).rejects.toMatchObject({
      code: 'STORE_FAILED',
      hint: expect.stringContaining('No credentials')
    })
  })

  test('says what to do when the credentials are wrong', async () => {
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'wrong')
    const opened = openObjectStore(`s3://${await useS3().createBucket()}`, { s3: { endpoint: useS3().endpoint } })
    await expect(opened).rejects.toMatchObject({
      message: expect.stringContaining('SignatureDoesNotMatch'),
      hint: expect.stringContaining('AWS_SECRET_ACCESS_KEY')
    })
    const cause = await opened.catch(error => error.cause)
    expect(Object.keys(cause), 'no connection in logs').not.toContain('$response')
  })
})
