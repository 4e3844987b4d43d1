// The worker's configuration: its options, where they come from, and the connectors beside it. Checked whole, before
// anything starts.
import { existsSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import path from 'node:path'
import type { ConfigFile } from './connect/config-file.ts'
import { readConfigFile } from './connect/config-file.ts'
import type { ArchiveConnector, Connector, SourceConnector } from './connect/connector.ts'
import type { Configured } from './connect/connector-files.ts'
import { connectorFiles, connectorOptions, names, readConnector } from './connect/connector-files.ts'
import type { Fault, Options, Values } from './connect/options.ts'
import * as option from './connect/options.ts'
import { formatFault, parseOptions } from './connect/options.ts'
import { readSecurity, securityOptions } from './connect/security-options.ts'
import { strayVariables, unwritable, variableOf } from './connect/surroundings.ts'
import { MillraceError } from './errors.ts'
import type { Address } from './kafka/address.ts'
import { MAX_DECOMPRESSED_BYTES } from './kafka/compression.ts'
import type { Security } from './kafka/security.ts'
import { PLAINTEXT } from './kafka/security.ts'

const MiB = 1024 * 1024

export const workerOptions = {
  'bootstrap.servers': {
    schema: option.addresses,
    optional: true,
    doc: 'the upstream cluster: host:port, or several with commas; the embedded broker where it is not set'
  },
  'broker.listen': {
    schema: option.address,
    default: '127.0.0.1:9092',
    doc: 'where the embedded broker listens'
  },
  'broker.max.bytes': {
    schema: option.bytes(64 * MiB),
    default: '1GiB',
    doc: 'the most that the embedded broker keeps: then it forgets its oldest records'
  },
  'data.dir': { schema: option.text, default: './data', doc: 'where the WAL, local segments and the catalog are kept' },
  'connectors.dir': {
    schema: option.text,
    default: 'config/connectors',
    doc: 'the folder with one file per connector; where this one is not there, the files that come with Millrace'
  },
  listeners: {
    schema: option.httpListener,
    default: 'http://127.0.0.1:8083',
    doc: 'where the worker takes HTTP requests'
  },
  'rest.auth': {
    schema: option.userAndPassword,
    optional: true,
    secret: true,
    doc: 'user:password that every call under /v1 has to bring; without it records are given on a loopback address only'
  },
  'wal.max.bytes': {
    schema: option.bytes(64 * MiB),
    default: '10GiB',
    doc: 'the largest size of the WAL; above half of it, what is there is sealed whatever its size and age'
  },
  'disk.reserve': {
    schema: option.bytes(0),
    default: '1GiB',
    doc: 'free space of the disk that the WAL leaves to sealing, at least twice segment.bytes'
  },
  'segment.bytes': {
    schema: option.bytes(MiB, 1024 * MiB),
    default: '64MiB',
    doc: 'seal a partition at this many bytes'
  },
  'segment.ms': {
    schema: option.duration(100),
    default: '10m',
    doc: 'seal a partition when its oldest batch is this old'
  },
  'capture.on.failure': {
    schema: option.oneOf('block', 'pass'),
    default: 'block',
    doc: 'while the WAL takes nothing, block: producers are told to retry; pass: they go on, and it is fetched from the broker later'
  },
  'warm.max.bytes': {
    schema: option.bytes(0),
    default: '1GiB',
    doc: 'how much of the archive is also kept locally, newest first, for fast reads'
  },
  'cache.max.bytes': {
    schema: option.bytes(0),
    default: '1GiB',
    doc: 'how much of the search indexes of archived segments is kept unpacked, so that searches need not fetch it again'
  },
  'hot.index': {
    schema: option.boolean,
    default: 'true',
    doc: 'whether what is not archived yet is indexed as it comes, so that a search need not read it all'
  },
  'max.decompressed.bytes': {
    // No more than every reader of an archive takes.
    schema: option.bytes(MiB, MAX_DECOMPRESSED_BYTES),
    default: '256MiB',
    doc: 'what one batch may grow to when it is decompressed; a larger one is archived as it is, and cannot be searched'
  },
  'log.level': {
    schema: option.oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace'),
    default: 'info',
    doc: 'what is logged'
  },
  ...securityOptions
} as const satisfies Options

export type WorkerConfig = Values<typeof workerOptions>

/** The cluster behind the worker: the configured one, or the embedded broker. */
export function upstreamOf(worker: WorkerConfig): readonly Address[] {
  return worker['bootstrap.servers'] ?? [reachable(worker['broker.listen'])]
}

/** An address to connect to for one to listen on. */
function reachable({ host, port }: Address): Address {
  const loopback: Record<string, string> = { '0.0.0.0': '127.0.0.1', '::': '::1' }
  return { host: loopback[host] ?? host, port }
}

export interface Configuration {
  readonly worker: WorkerConfig
  /** Towards the cluster behind the worker. */
  readonly security: Security
  readonly sources: readonly Configured<SourceConnector>[]
  readonly archive: Configured<ArchiveConnector>
  /** What is no fault, but may not be what was meant; a line each. */
  readonly warnings: readonly string[]
}

/** Where configuration may come from, beside files. */
export interface ConfigInputs {
  /** `--config`. */
  readonly file?: string | undefined
  /** `--set key=value`, each. */
  readonly set?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  /** Whether data.dir is going to be written: then it has to be a folder where that can be done. */
  readonly writesData?: boolean
}

export const DEFAULT_CONFIG_FILE = 'config/worker.yaml'

/** Reads and checks everything. Throws one CONFIG_INVALID with a line for each fault. */
export function loadConfiguration(inputs: ConfigInputs, connectors: readonly Connector[]): Configuration {
  const { worker, faults, sourceOf, variables } = readWorker(inputs, connectors)
  const directory = worker['connectors.dir']
  if (directory === undefined) throw configError(faults)
  const files = connectorFiles(directory)
  if (files === null) {
    const rule = 'must be a folder that can be read'
    throw configError([...faults, { source: sourceOf('connectors.dir'), key: 'connectors.dir', rule, got: directory }])
  }
  const configured: Configured[] = []
  for (const file of files) {
    const one = readConnector(file, connectors, faults, variables)
    if (one === null) continue
    if (configured.some(({ name }) => name === one.name)) {
      faults.push({ source: file, key: 'name', rule: 'must be used once', got: one.name })
    }
    configured.push(one)
  }

  const sources = configured.filter((one): one is Configured<SourceConnector> => one.connector.type === 'source')
  const archives = configured.filter((one): one is Configured<ArchiveConnector> => one.connector.type === 'sink')
  // A file of which not even the class is known may be the one.
  const isLacking = archives.length === 0 && configured.length === files.length
  if (isLacking || archives.length > 1) {
    const rule = `must name exactly one archive (${names(connectors, 'sink')})`
    const got = isLacking ? undefined : archives.map(one => one.name).join(', ')
    faults.push({ source: directory, key: 'connector.class', rule, got })
  }
  const security = readSecurity(worker, faults, sourceOf)
  if (security !== PLAINTEXT && worker['bootstrap.servers'] === undefined) {
    const rule = 'is for a cluster that bootstrap.servers names: the embedded broker speaks PLAINTEXT'
    faults.push({ source: sourceOf('security.protocol'), key: 'security.protocol', rule, got: security.protocol })
  }
  if (faults.length > 0) throw configError(faults)
  const warnings = strayVariables(inputs.env ?? process.env, Object.keys(workerOptions), variables)
  return { worker: worker as WorkerConfig, security, sources, archive: archives[0]!, warnings }
}

/**
 * The worker's own options alone, for commands that need no connector; `connectors` are to tell whose key a strange one is.
 * Throws as `loadConfiguration` does.
 */
export function loadWorkerConfig(inputs: ConfigInputs, connectors: readonly Connector[] = []): WorkerConfig {
  const { worker, faults } = readWorker(inputs, connectors)
  if (faults.length > 0) throw configError(faults)
  return worker as WorkerConfig
}

function configError(faults: readonly Fault[]): MillraceError {
  return new MillraceError('CONFIG_INVALID', faults.map(formatFault).join('\n'))
}

interface ReadWorker {
  readonly worker: Partial<WorkerConfig>
  readonly faults: Fault[]
  /** Where a key's value comes from. */
  sourceOf(key: string): string
  /** The environment variables that the file names. */
  readonly variables: Set<string>
}

function readWorker(inputs: ConfigInputs, connectors: readonly Connector[]): ReadWorker {
  const { file, set = [], env = process.env } = inputs
  const named = file ?? env['MILLRACE_CONFIG']
  const source = named ?? DEFAULT_CONFIG_FILE
  const found = named !== undefined || existsSync(source)
  const { values, fault, ...read }: ConfigFile = found
    ? readConfigFile(source)
    : { values: new Map(), variables: new Set() }
  const variables = new Set(read.variables)
  const sourceOf = (key: string): string => values.get(key)?.source ?? source
  if (fault) return { worker: {}, faults: [fault], sourceOf, variables }
  const faults: Fault[] = []
  for (const key of Object.keys(workerOptions)) {
    const variable = variableOf(key)
    const text = env[variable]
    if (text !== undefined) values.set(key, { text, source: `environment ${variable}` })
  }
  for (const assignment of set) {
    const at = assignment.indexOf('=')
    if (at < 1) faults.push({ source: '--set', key: assignment, rule: 'must be key=value' })
    else values.set(assignment.slice(0, at), { text: assignment.slice(at + 1), source: '--set' })
  }
  if (!values.has('connectors.dir') && !existsSync(workerOptions['connectors.dir'].default)) {
    values.set('connectors.dir', { text: packagedConnectors(), source })
  }
  const parsed = parseOptions(workerOptions, values, source)
  faults.push(...parsed.faults.map(one => ownedElsewhere(one, connectors)))
  const dataDir = parsed.values['data.dir']
  const hindrance = inputs.writesData && dataDir !== undefined ? unwritable(dataDir) : null
  if (hindrance !== null) faults.push({ source: sourceOf('data.dir'), key: 'data.dir', ...hindrance })
  return { worker: parsed.values, faults, sourceOf, variables }
}

/** A key that the worker does not know and a connector does is no spelling mistake. */
function ownedElsewhere(fault: Fault, connectors: readonly Connector[]): Fault {
  const { key = '' } = fault
  if (Object.hasOwn(workerOptions, key)) return fault
  const owners = connectors.filter(({ options }) => Object.hasOwn({ ...connectorOptions, ...options }, key))
  if (owners.length === 0) return fault
  return { ...fault, rule: `belongs into the file of a connector (${names(owners)}), in connectors.dir` }
}

/** The connector files that come with Millrace: a proxy and a folder as archive. */
function packagedConnectors(): string {
  return path.join(path.dirname(findPackageJSON(import.meta.url)!), 'config', 'connectors')
}
