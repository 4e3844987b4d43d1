// Drives the real command line as child processes: single commands, and a worker that can be killed and started again.

import { mkdir, open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import type { GuardedChild, RunOptions } from './child.ts'
import { runToEnd, spawnGuarded } from './child.ts'
import { freePortRange } from './ports.ts'
import type { S3Address } from './s3.ts'
import { tempFolder } from './temp.ts'
import { until } from './until.ts'

const program = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

export interface CommandResult {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs one command to its end, whatever its exit code. */
export async function millrace(args: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
  const env = { ...withoutOurs(), ...options.env }
  const { code, stdout, stderr } = await runToEnd(process.execPath, [program, ...args], { ...options, env })
  return { code, stdout: stdout.toString(), stderr: stderr.toString() }
}

export interface WorkerOptions {
  /** The upstream cluster. */
  bootstrap: string
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

export interface Worker extends AsyncDisposable {
  /** The proxy's address for clients. */
  readonly bootstrap: string
  readonly httpUrl: string
  readonly archiveUrl: string
  readonly folder: string
  readonly configFile: string
  /** Runs a command with this worker's config and environment. */
  command(args: readonly string[], options?: RunOptions): Promise<CommandResult>
  /** Starts it again over the same folder and waits until it is ready. */
  start(): Promise<void>
  kill9(): Promise<void>
  /** SIGTERM; the exit code once it has drained. */
  terminate(): Promise<number | null>
  /** SIGINT, as Ctrl-C sends it; the exit code once it has drained. */
  interrupt(): Promise<number | null>
  /** All that its processes wrote to standard error so far. */
  logs(): Promise<string>
  dispose(): Promise<void>
}

/** Writes a configuration into a new folder, starts `millrace run` with it and waits for its line `ready`. */
export async function startMillrace(options: WorkerOptions): Promise<Worker> {
  const temp = await tempFolder('worker')
  const folder = temp.path
  const configFile = join(folder, 'config', 'worker.yaml')
  const logFile = join(folder, 'millrace.log')
  const archiveUrl = options.archiveUrl ?? `file:${join(folder, 'archive')}`
  const { bootstrap, httpUrl } = await writeConfig(folder, archiveUrl, options)
  const env = { ...withoutOurs(), ...s3Env(options.s3), ...options.env }
  let child: GuardedChild | undefined
  const start = async () => {
    child = await spawnLogged(['run', '--config', configFile], { cwd: folder, env, logFile })
    await ready(child, logFile)
  }
  const kill9 = async () => {
    child?.signal('SIGKILL')
    await child?.exited
  }
  const terminate = async () => {
    if (child === undefined) throw new Error('Millrace was never started')
    const { code, signal } = await child.terminate(60_000)
    if (signal === 'SIGKILL') throw new Error(`Millrace did not drain within 60 s\n${await lastLines(logFile)}`)
    return code
  }
  const interrupt = async () => {
    child?.signal('SIGINT')
    return (await child?.exited)?.code ?? null
  }
  const dispose = async () => {
    const end = child?.ended()
    if (end !== undefined && end.code !== 0 && end.signal === null) {
      console.error(`Millrace had ended with ${end.code}:\n${await lastLines(logFile)}`)
    }
    await kill9()
    await temp.dispose()
  }
  const worker: Worker = {
    bootstrap,
    httpUrl,
    archiveUrl,
    folder,
    configFile,
    command: (args, more = {}) =>
      millrace([...args, '--config', configFile], { cwd: folder, ...more, env: { ...env, ...more.env } }),
    start,
    kill9,
    terminate,
    interrupt,
    logs: () => readFile(logFile, 'utf8'),
    dispose,
    [Symbol.asyncDispose]: dispose
  }
  try {
    await start()
    return worker
  } catch (error) {
    await dispose()
    throw error
  }
}

async function writeConfig(folder: string, archiveUrl: string, options: WorkerOptions) {
  const { highestNode = 3, s3 } = options
  const firstPort = await freePortRange(2 + highestNode)
  const bootstrap = `127.0.0.1:${firstPort}`
  const httpUrl = `http://127.0.0.1:${firstPort + 1}`
  const connectorsFolder = join(folder, 'config', 'connectors')
  const worker: Settings = {
    'bootstrap.servers': options.bootstrap,
    'data.dir': join(folder, 'data'),
    'connectors.dir': connectorsFolder,
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

async function spawnLogged(
  args: readonly string[],
  place: { cwd: string; env: Record<string, string | undefined>; logFile: string }
): Promise<GuardedChild> {
  const log = await open(place.logFile, 'a')
  try {
    return spawnGuarded(process.execPath, [program, ...args], {
      stdio: ['ignore', log.fd, log.fd],
      cwd: place.cwd,
      env: { ...process.env, ...place.env },
      folder: place.cwd
    })
  } finally {
    await log.close()
  }
}

/** Waits for the line `ready` after what earlier processes wrote to the same log. */
async function ready(child: GuardedChild, logFile: string): Promise<void> {
  const ended = new AbortController()
  const isReady = async () => {
    const lines = (await readFile(logFile, 'utf8')).split('\n')
    const own = lines.map(parseLine).filter(line => line?.pid === child.process.pid)
    if (own.some(line => line?.msg === 'ready')) return true
    const end = child.ended()
    if (end !== undefined) {
      ended.abort(new Error(`Millrace ended with ${end.code ?? end.signal} at its start\n${await lastLines(logFile)}`))
    }
    return false
  }
  await until(isReady, { what: `Millrace is ready (log: ${logFile})`, timeout: 30_000, signal: ended.signal })
}

/** A log line of pino's, undefined for anything else. */
function parseLine(line: string): { msg?: string; pid?: number } | undefined {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

async function lastLines(logFile: string): Promise<string> {
  const text = await readFile(logFile, 'utf8').catch(() => '')
  return text.split('\n').slice(-40).join('\n')
}

/** Unsets what is in our environment for the tests or for vitest: `MILLRACE_…` would be taken for configuration. */
function withoutOurs(): Record<string, undefined> {
  const ours = Object.keys(process.env).filter(name => /^(MILLRACE_|VITEST|NODE_ENV$|NODE_OPTIONS$)/.test(name))
  return Object.fromEntries(ours.map(name => [name, undefined]))
}

function s3Env(s3: S3Address | undefined): Record<string, string> {
  if (s3 === undefined) return {}
  return { AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey, AWS_REGION: s3.region }
}
