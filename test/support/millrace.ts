// Drives the real command line as child processes: single commands, and a worker that can be killed and started again.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { RunOptions } from './child.ts'
import { runToEnd } from './child.ts'
import type { Foreground } from './foreground.ts'
import { foreground, programArgs } from './foreground.ts'
import { freePortRange } from './ports.ts'
import type { S3Address } from './s3.ts'
import { tempFolder } from './temp.ts'

export interface CommandResult {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs one command to its end, whatever its exit code. */
export async function millrace(args: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
  const env = { ...withoutOurs(), ...options.env }
  const { code, stdout, stderr } = await runToEnd(process.execPath, [...programArgs, ...args], { ...options, env })
  return { code, stdout: stdout.toString(), stderr: stderr.toString() }
}

export interface WorkerOptions {
  /** The upstream cluster; the embedded broker, on a port of its own, where it is left out. */
  bootstrap?: string
  /** Where segments go: a folder beside the data unless told. */
  archiveUrl?: string
  /** The server of an `s3://` archive. */
  s3?: S3Address
  /** Keys over those of worker.yaml, proxy.yaml and archive.yaml. */
  worker?: Settings
  proxy?: Settings
  archive?: Settings
  /** More connector files by name, or `undefined` to leave out `proxy` or `archive`. */
  connectors?: Record<string, Settings | undefined>
  env?: Record<string, string>
  /** The highest node id of the cluster, 3 unless told: each id up to it gets a port. */
  highestNode?: number
}

export type Settings = Record<string, string | number | boolean>

export interface Worker extends Foreground, AsyncDisposable {
  /** The proxy's address for clients. */
  readonly bootstrap: string
  readonly httpUrl: string
  readonly archiveUrl: string
  readonly folder: string
  readonly configFile: string
  /** Runs a command with this worker's config and environment. */
  command(args: readonly string[], options?: RunOptions): Promise<CommandResult>
}

/** Writes a configuration into a new folder, starts `millrace run` with it and waits for its line `ready`. */
export async function startMillrace(options: WorkerOptions): Promise<Worker> {
  const temp = await tempFolder('worker')
  const folder = temp.path
  const configFile = join(folder, 'config', 'worker.yaml')
  const archiveUrl = options.archiveUrl ?? `file:${join(folder, 'archive')}`
  const { bootstrap, httpUrl } = await writeConfig(folder, archiveUrl, options)
  const env = { ...withoutOurs(), ...s3Env(options.s3), ...options.env }
  const running = foreground(['run', '--config', configFile], { folder, env })
  const dispose = async () => {
    await running.dispose()
    await temp.dispose()
  }
  const worker: Worker = {
    ...running,
    get pid() {
      return running.pid
    },
    get addresses() {
      return running.addresses
    },
    bootstrap,
    httpUrl,
    archiveUrl,
    folder,
    configFile,
    command: (args, more = {}) =>
      millrace([...args, '--config', configFile], { cwd: folder, ...more, env: { ...env, ...more.env } }),
    dispose,
    [Symbol.asyncDispose]: dispose
  }
  try {
    await worker.start()
    return worker
  } catch (error) {
    await dispose()
    throw error
  }
}

/** A command in the foreground in a folder of its own, such as `broker` or `serve`, once it is ready. */
export async function startCommand(
  args: readonly string[],
  options: { s3?: S3Address; env?: Record<string, string> } = {}
): Promise<Foreground & AsyncDisposable & { readonly folder: string }> {
  const temp = await tempFolder('millrace')
  const env = { ...withoutOurs(), ...s3Env(options.s3), ...options.env }
  const running = foreground(args, { folder: temp.path, env })
  const { dispose: end } = running
  const dispose = async () => {
    await end()
    await temp.dispose()
  }
  try {
    await running.start()
  } catch (error) {
    await dispose()
    throw error
  }
  return Object.assign(running, { folder: temp.path, dispose, [Symbol.asyncDispose]: dispose })
}

async function writeConfig(folder: string, archiveUrl: string, options: WorkerOptions) {
  const { highestNode = 3, s3 } = options
  const firstPort = await freePortRange(3 + highestNode)
  const bootstrap = `127.0.0.1:${firstPort}`
  const httpUrl = `http://127.0.0.1:${firstPort + 1}`
  const connectorsFolder = join(folder, 'config', 'connectors')
  const worker: Settings = {
    ...(options.bootstrap === undefined
      ? { 'broker.listen': `127.0.0.1:${firstPort + 2 + highestNode}` }
      : { 'bootstrap.servers': options.bootstrap }),
    'data.dir': join(folder, 'data'),
    'connectors.dir': connectorsFolder,
    'disk.reserve': '0B', // twice segment.bytes then, which machines with little room have too
    listeners: httpUrl,
    ...options.worker
  }
  const proxy: Settings = {
    name: 'proxy',
    'connector.class': 'kafka-proxy',
    'tasks.max': 1,
    listen: bootstrap,
    'node.port.base': firstPort + 1,
    'advertised.host': '127.0.0.1',
    ...options.proxy
  }
  const archive: Settings = {
    name: 'archive',
    'connector.class': archiveUrl.startsWith('s3:') ? 's3-archive' : 'file-archive',
    'archive.url': archiveUrl,
    ...(s3 && { 's3.endpoint': s3.endpoint, 's3.region': s3.region, 's3.path.style': true }),
    ...options.archive
  }
  await mkdir(connectorsFolder, { recursive: true })
  await writeFile(join(folder, 'config', 'worker.yaml'), stringify(worker))
  const connectors: Record<string, Settings | undefined> = { proxy, archive, ...options.connectors }
  for (const [name, settings] of Object.entries(connectors)) {
    if (settings !== undefined) await writeFile(join(connectorsFolder, `${name}.yaml`), stringify(settings))
  }
  return { bootstrap, httpUrl }
}

/** Unsets what is in our environment for the tests or for vitest: `MILLRACE_…` would be taken for configuration. */
export function withoutOurs(): Record<string, undefined> {
  const ours = Object.keys(process.env).filter(name => /^(MILLRACE_|VITEST|NODE_ENV$|NODE_OPTIONS$)/.test(name))
  return Object.fromEntries(ours.map(name => [name, undefined]))
}

function s3Env(s3: S3Address | undefined): Record<string, string> {
  if (s3 === undefined) return {}
  return { AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey, AWS_REGION: s3.region }
}
