// A real S3 server for tests: one named in the environment, MinIO in Docker, or versitygw over a folder.

import { mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { GenericContainer, Wait } from 'testcontainers'
import { cached } from './cache.ts'
import { runOrThrow, spawnGuarded } from './child.ts'
import { hasDocker } from './docker.ts'
import type { Missing } from './found.ts'
import { findProgram, isMissing, reasonOf } from './found.ts'
import { freePort } from './ports.ts'
import { keepFolders, tempFolder } from './temp.ts'
import { until } from './until.ts'

/** Where the server answers and who may; plain data, so that it can be handed to another process. */
export interface S3Address {
  readonly endpoint: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Where objects lie as plain files, `<folder>/<bucket>/<key>`, if the server keeps them so. */
  readonly folder?: string
}

export interface S3Server extends S3Address, AsyncDisposable {
  createBucket(): Promise<string>
  /** Stops the server if it is ours; after a failure its log stays, and where it is is printed. */
  dispose(outcome?: { failed: boolean }): Promise<void>
}

const versitygw = 'github.com/versity/versitygw/cmd/versitygw@v1.8.0'
// Docker Hub no longer has MinIO's own images.
const minioImage = 'quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z'
const ownCredentials = { region: 'us-east-1', accessKeyId: 'millrace', secretAccessKey: 'millrace-secret' }

/** Starts or finds an S3 server, or says why there is none. */
export async function startS3(): Promise<S3Server | Missing> {
  const given = process.env['MILLRACE_S3']
  if (given !== undefined && given !== '') return givenServer(given)
  const reasons = []
  if (await hasDocker()) {
    try {
      return await startMinio()
    } catch (error) {
      reasons.push(`MinIO in Docker: ${reasonOf(error)}`)
    }
  } else reasons.push('no Docker engine')
  const program = await findVersitygw()
  if (!isMissing(program)) return await startVersitygw(program)
  return { missing: [...reasons, program.missing].join(', and ') }
}

/** A client of the server; the caller destroys it. */
export function s3Client(address: S3Address): S3Client {
  const { endpoint, region, accessKeyId, secretAccessKey } = address
  return new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })
}

/** A new empty bucket with a name of its own. */
export async function createBucket(address: S3Address): Promise<string> {
  const bucket = `millrace-${crypto.randomUUID()}`
  const client = s3Client(address)
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
    return bucket
  } finally {
    client.destroy()
  }
}

function serverAt(address: S3Address, dispose: S3Server['dispose']): S3Server {
  return { ...address, createBucket: () => createBucket(address), dispose, [Symbol.asyncDispose]: () => dispose() }
}

function givenServer(endpoint: string): S3Server | Missing {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION = 'us-east-1' } = process.env
  if (!AWS_ACCESS_KEY_ID || !AWS_SECRET_ACCESS_KEY) {
    return { missing: 'MILLRACE_S3 is set, but not AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY' }
  }
  const credentials = { accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY }
  return serverAt({ endpoint, region: AWS_REGION, ...credentials }, async () => undefined)
}

async function startMinio(): Promise<S3Server> {
  const { accessKeyId, secretAccessKey } = ownCredentials
  const container = await new GenericContainer(minioImage)
    .withCommand(['server', '/data'])
    .withEnvironment({ MINIO_ROOT_USER: accessKeyId, MINIO_ROOT_PASSWORD: secretAccessKey })
    .withExposedPorts(9000)
    .withWaitStrategy(Wait.forHttp('/minio/health/ready', 9000))
    .start()
  const endpoint = `http://${container.getHost()}:${container.getMappedPort(9000)}`
  return serverAt({ endpoint, ...ownCredentials }, async () => void (await container.stop({ timeout: 0 })))
}

async function findVersitygw(): Promise<string | Missing> {
  const installed = await findProgram('versitygw')
  if (installed !== undefined) return installed
  if ((await findProgram('go')) === undefined) return { missing: 'neither versitygw nor Go to build it on PATH' }
  try {
    const folder = await cached('versitygw-1.8.0', versitygw, async target => {
      await runOrThrow('go', ['install', versitygw], { env: { GOBIN: target }, timeout: 600_000 })
    })
    return join(folder, 'versitygw')
  } catch (error) {
    return { missing: `building versitygw: ${reasonOf(error)}` }
  }
}

async function startVersitygw(program: string): Promise<S3Server> {
  const scratch = await tempFolder('s3')
  const folder = join(scratch.path, 'buckets')
  const logFile = join(scratch.path, 'server.log')
  await mkdir(folder)
  const listen = `127.0.0.1:${await freePort()}`
  const log = await open(logFile, 'a')
  const { accessKeyId, secretAccessKey } = ownCredentials
  const env = { ...process.env, ROOT_ACCESS_KEY: accessKeyId, ROOT_SECRET_KEY: secretAccessKey }
  const stdio = ['ignore' as const, log.fd, log.fd]
  const server = spawnGuarded(program, ['--port', listen, 'posix', folder], { stdio, env, folder: scratch.path })
  await log.close()
  const dispose = async (outcome = { failed: false }) => {
    server.signal('SIGKILL')
    await server.exited
    if (!outcome.failed || keepFolders) return await scratch.dispose()
    await rm(folder, { recursive: true, force: true })
    console.error(`log of the S3 server: ${logFile}`)
  }
  const address = { endpoint: `http://${listen}`, ...ownCredentials, folder }
  try {
    const what = `versitygw answers at ${listen} (log: ${logFile})`
    const died = new AbortController()
    server.exited.then(
      () => died.abort(new Error(`versitygw ended at its start (log: ${logFile})`)),
      error => died.abort(error)
    )
    await until(async () => await fetch(address.endpoint), { what, timeout: 30_000, signal: died.signal })
    return serverAt(address, dispose)
  } catch (error) {
    await dispose({ failed: true })
    throw error
  }
}
