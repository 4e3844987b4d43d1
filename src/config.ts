// The worker's configuration: its options, where they come from, and the connectors beside it. Checked whole, before
// anything starts.
import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { CONFIG_EXTENSIONS, readConfigFile } from './connect/config-file.ts'
import type { ArchiveConnector, Connector, SourceConnector } from './connect/connector.ts'
import type { Fault, Options, RawValue, Values } from './connect/options.ts'
import * as option from './connect/options.ts'
import { formatFault, parseOptions } from './connect/options.ts'
import { MillraceError } from './errors.ts'

const MiB = 1024 * 1024

export const workerOptions = {
  'bootstrap.servers': { schema: option.addresses, doc: 'the upstream cluster: host:port, or several with commas' },
  'data.dir': { schema: option.text, default: './data', doc: 'where the WAL, local segments and the catalog are kept' },
  'connectors.dir': {
    schema: option.text,
    default: 'config/connectors',
    doc: 'the folder with one file per connector'
  },
  listeners: {
    schema: option.httpListener,
    default: 'http://127.0.0.1:8083',
    doc: 'where the worker takes HTTP requests'
  },
  'wal.max.bytes': {
    schema: option.bytes(64 * MiB),
    default: '10GiB',
    doc: 'the largest size of the WAL; above half of it, what is there is sealed whatever its size and age'
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
  'warm.max.bytes': {
    schema: option.bytes(0),
    default: '1GiB',
    doc: 'how much of the archive is also kept locally, newest first, for fast reads'
  },
  'log.level': {
    schema: option.oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace'),
    default: 'info',
    doc: 'what is logged'
  }
} as const satisfies Options

export type WorkerConfig = Values<typeof workerOptions>

const connectorOptions = {
  name: { schema: option.text, doc: 'a name of your choice' },
  'connector.class': { schema: option.text, doc: 'which connector this is' },
  'tasks.max': { schema: option.integer(1, 1), default: '1', doc: 'always 1 for the bundled connectors' }
} as const satisfies Options

export interface Configured<C extends Connector = Connector> {
  readonly name: string
  readonly connector: C
  readonly values: Values<any>
}

export interface Configuration {
  readonly worker: WorkerConfig
  readonly sources: readonly Configured<SourceConnector>[]
  readonly archive: Configured<ArchiveConnector>
}

/** Where configuration may come from, beside files. */
export interface ConfigInputs {
  /** `--config`. */
  readonly file?: string | undefined
  /** `--set key=value`, each. */
  readonly set?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
}

export const DEFAULT_CONFIG_FILE = 'config/worker.yaml'

/** Reads and checks everything. Throws one CONFIG_INVALID with a line for each fault. */
export function loadConfiguration(inputs: ConfigInputs, connectors: readonly Connector[]): Configuration {
  const { worker, faults } = readWorker(inputs)
  const directory = worker['connectors.dir']
  const configured: Configured[] = []
  for (const file of directory === undefined ? [] : connectorFiles(directory, faults)) {
    const one = readConnector(file, connectors, faults)
    if (one) configured.push(one)
  }
  const duplicate = configured.find((one, i) => configured.findIndex(other => other.name === one.name) < i)
  if (duplicate) faults.push({ source: directory!, key: 'name', rule: 'must be used once', got: duplicate.name })

  const sources = configured.filter((one): one is Configured<SourceConnector> => one.connector.type === 'source')
  const archives = configured.filter((one): one is Configured<ArchiveConnector> => one.connector.type === 'sink')
  const [archive] = archives
  if (faults.length === 0 && (archive === undefined || archives.length > 1)) {
    const rule = `must hold exactly one archive connector (${names(connectors, 'sink')})`
    faults.push({ source: directory!, key: 'connector.class', rule, got: archives.map(one => one.name).join(', ') })
  }
  if (faults.length > 0) throw configError(faults)
  return { worker: worker as WorkerConfig, sources, archive: archive! }
}

/** The worker's own options alone, for commands that need no connector. Throws as `loadConfiguration` does. */
export function loadWorkerConfig(inputs: ConfigInputs): WorkerConfig {
  const { worker, faults } = readWorker(inputs)
  if (faults.length > 0) throw configError(faults)
  return worker as WorkerConfig
}

function configError(faults: readonly Fault[]): MillraceError {
  return new MillraceError('CONFIG_INVALID', faults.map(formatFault).join('\n'))
}

function readWorker({ file, set = [], env = process.env }: ConfigInputs): {
  worker: Partial<WorkerConfig>
  faults: Fault[]
} {
  const named = file ?? env['MILLRACE_CONFIG']
  const source = named ?? DEFAULT_CONFIG_FILE
  const found = named !== undefined || existsSync(source)
  const { values, faults } = found ? readConfigFile(source) : { values: new Map<string, RawValue>(), faults: [] }
  for (const key of Object.keys(workerOptions)) {
    const variable = `MILLRACE_${key.toUpperCase().replaceAll('.', '_')}`
    const text = env[variable]
    if (text !== undefined) values.set(key, { text, source: `environment ${variable}` })
  }
  for (const assignment of set) {
    const at = assignment.indexOf('=')
    if (at < 1) faults.push({ source: '--set', key: assignment, rule: 'must be key=value' })
    else values.set(assignment.slice(0, at), { text: assignment.slice(at + 1), source: '--set' })
  }
  const parsed = parseOptions(workerOptions, values, source)
  return { worker: parsed.values, faults: [...faults, ...parsed.faults] }
}

function connectorFiles(directory: string, faults: Fault[]): string[] {
  try {
    return readdirSync(directory)
      .filter(name => CONFIG_EXTENSIONS.includes(path.extname(name)))
      .sort()
      .map(name => path.join(directory, name))
  } catch {
    faults.push({ source: directory, key: 'connectors.dir', rule: 'must be a folder that can be read', got: directory })
    return []
  }
}

function readConnector(file: string, connectors: readonly Connector[], faults: Fault[]): Configured | null {
  const read = readConfigFile(file)
  faults.push(...read.faults)
  const given = read.values.get('connector.class')
  const connector = connectors.find(({ name, aliases }) => name === given?.text || aliases.includes(given?.text ?? ''))
  if (connector === undefined) {
    faults.push({ source: file, key: 'connector.class', rule: `must be one of ${names(connectors)}`, got: given?.text })
    return null
  }
  const parsed = parseOptions({ ...connectorOptions, ...(connector.options as Options) }, read.values, file)
  faults.push(...parsed.faults)
  return { name: String((parsed.values as Record<string, unknown>)['name']), connector, values: parsed.values }
}

function names(connectors: readonly Connector[], type?: Connector['type']): string {
  return connectors
    .filter(connector => type === undefined || connector.type === type)
    .map(({ name }) => name)
    .join(', ')
}
