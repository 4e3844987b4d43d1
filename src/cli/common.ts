// What the commands have in common: their flags, how they open an archive for reading, and how they print.
import { existsSync } from 'node:fs'
import type { Argv } from 'yargs'
import { Archive } from '../archive/archive.ts'
import { Catalog } from '../archive/catalog.ts'
import { IndexCache } from '../archive/index-cache.ts'
import { openObjectStore } from '../archive/object-store.ts'
import { WarmSegments } from '../archive/warm-segments.ts'
import { bundledConnectors } from '../bundled-connectors.ts'
import type { ConfigInputs, Configuration, WorkerConfig } from '../config.ts'
import { DEFAULT_CONFIG_FILE, loadConfiguration, loadWorkerConfig } from '../config.ts'
import { address } from '../connect/options.ts'
import { dataFolders } from '../data-folders.ts'
import { MillraceError } from '../errors.ts'
import type { Address } from '../kafka/address.ts'
import { HotIndexes } from '../search/hot-index.ts'

/** The exit code of a command that was stopped by Ctrl-C. */
export const INTERRUPTED = 130

/** Flags of every command. */
export interface ConfigFlags {
  readonly config?: string | undefined
  readonly set?: readonly string[] | undefined
}

/** Flags of every command that ends by itself. */
export interface CommonFlags extends ConfigFlags {
  readonly json: boolean
}

export function configFlags<T>(yargs: Argv<T>): Argv<T & ConfigFlags> {
  return yargs
    .option('config', {
      type: 'string',
      requiresArg: true,
      describe: `Worker file (default: $MILLRACE_CONFIG, else ${DEFAULT_CONFIG_FILE})`
    })
    .option('set', { type: 'string', array: true, nargs: 1, describe: 'Override a key: --set key=value' })
    .check((flags, declared) => givenOnce(flags, declared as unknown as DeclaredFlags))
}

export function commonFlags<T>(yargs: Argv<T>): Argv<T & CommonFlags> {
  return configFlags(yargs).option('json', { type: 'boolean', default: false, describe: 'Print JSON' })
}

/** What yargs gives a check beside the flags; its types say something else. */
interface DeclaredFlags {
  readonly key: Readonly<Record<string, unknown>>
  readonly array: readonly string[]
}

/** yargs makes a list of what is given twice, whether the flag takes one or not. Throws USAGE. */
function givenOnce(flags: Readonly<Record<string, unknown>>, { key, array }: DeclaredFlags): true {
  for (const flag of Object.keys(key)) {
    const value = flags[flag]
    if (Array.isArray(value) && !array.includes(flag))
      throw new MillraceError('USAGE', `--${flag}: must be given once (got ${value.join(', ')})`)
  }
  return true
}

/** Flags of commands that read an archive. */
export interface ArchiveFlags extends CommonFlags {
  readonly archive?: string | undefined
}

export function archiveFlags<T>(yargs: Argv<T>): Argv<T & ArchiveFlags> {
  return archiveFlag(commonFlags(yargs))
}

export function archiveFlag<T>(yargs: Argv<T>): Argv<T & { readonly archive?: string | undefined }> {
  return yargs.option('archive', {
    type: 'string',
    requiresArg: true,
    describe: 'Read this archive (file:PATH or s3://BUCKET/PREFIX) without a worker file'
  })
}

/** The value of a flag that takes one host:port. Throws USAGE. */
export function addressFlag(flag: string, text: string | undefined): Address | undefined {
  if (text === undefined) return undefined
  const parsed = address.safeParse(text)
  if (parsed.success) return parsed.data
  throw new MillraceError('USAGE', `--${flag}: ${parsed.error.issues[0]!.message} (got ${JSON.stringify(text)})`)
}

/** The value of a flag that takes a whole number, which is left to us to read: yargs forgets what was written. Throws USAGE. */
export function wholeNumberFlag(flag: string, text: string, least: number): number {
  const number = Number(text)
  if (/^-?\d+$/.test(text) && Number.isSafeInteger(number) && number >= least) return number
  throw new MillraceError('USAGE', `--${flag}: must be a whole number of ${least} or more (got ${text})`)
}

function configInputs({ config, set }: ConfigFlags): ConfigInputs {
  return { file: config, set: set ?? [] }
}

export function configuration(flags: ConfigFlags, more: Pick<ConfigInputs, 'writesData'> = {}): Configuration {
  return loadConfiguration({ ...configInputs(flags), ...more }, bundledConnectors)
}

/** The worker's own options alone. */
export function workerConfig(flags: ConfigFlags, more: Pick<ConfigInputs, 'writesData'> = {}): WorkerConfig {
  return loadWorkerConfig({ ...configInputs(flags), ...more }, bundledConnectors)
}

/** All that a reading command can reach: an archive, and beside it what one worker has locally. */
export interface Reading extends AsyncDisposable {
  readonly archive: Archive
  /** Null where only an archive was named. */
  readonly warm: WarmSegments | null
  /** Search indexes, kept for the next command where there is a folder for it. */
  readonly indexes: IndexCache
  readonly walDirectory: string | null
  /** Search indexes of the WAL, as far as a worker keeps them; null where only an archive was named. */
  readonly hotIndexes: HotIndexes | null
  /** The configuration, where there is one. */
  readonly configuration: Configuration | null
}

/**
 * Opens what the flags name, and makes nothing. A worker's archive that is not there yet holds nothing, unless `mayBeAbsent` is
 * false; one that `--archive` names has to be there. Throws CONFIG_INVALID, STORE_FAILED.
 */
export async function openReading(
  flags: ConfigFlags & { readonly archive?: string | undefined },
  { mayBeAbsent = true, warn = say }: { readonly mayBeAbsent?: boolean; readonly warn?: (line: string) => void } = {}
): Promise<Reading> {
  if (flags.archive !== undefined) {
    const store = await openObjectStore(flags.archive, { create: false })
    const archive = new Archive(store, Catalog.open(null, flags.archive))
    const indexes = new IndexCache(null, 0)
    const local = { warm: null, indexes, walDirectory: null, hotIndexes: null, configuration: null }
    return { archive, ...local, ...disposing(archive, indexes) }
  }
  const loaded = configuration(flags)
  loaded.warnings.forEach(line => void warn(line))
  const folders = dataFolders(loaded.worker['data.dir'])
  const store = await loaded.archive.connector.open(loaded.archive.values, { create: false, mayBeAbsent })
  const archive = new Archive(store, Catalog.open(existsSync(folders.catalog) ? folders.catalog : null, store.url))
  const indexes = new IndexCache(folders.searchIndexes, loaded.worker['cache.max.bytes'])
  return {
    archive,
    indexes,
    warm: new WarmSegments(folders.warm, loaded.worker['warm.max.bytes']),
    walDirectory: existsSync(folders.wal) ? folders.wal : null,
    hotIndexes: new HotIndexes(folders.hotIndex),
    configuration: loaded,
    ...disposing(archive, indexes)
  }
}

function disposing(archive: Archive, indexes: IndexCache): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      indexes[Symbol.dispose]()
      await archive[Symbol.asyncDispose]()
    }
  }
}

/** Writes one line of data to stdout. */
export function printLine(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** Writes one line for people to stderr. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
