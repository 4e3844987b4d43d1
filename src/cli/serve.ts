// `millrace serve`: the archive as a Kafka broker from which any client can read.
import type { Logger } from 'pino'
import type { CommandModule } from 'yargs'
import { ArchiveLogs } from '../broker/archive/archive-logs.ts'
import { readOnlyHandlers } from '../broker/archive/read-only.ts'
import { fetchHandler } from '../broker/fetch.ts'
import { findCoordinatorHandler } from '../broker/find-coordinator.ts'
import { groupHandlers } from '../broker/groups/handlers.ts'
import { OffsetStore } from '../broker/groups/offset-store.ts'
import type { Handler, ReportError } from '../broker/handler.ts'
import { listOffsetsHandler } from '../broker/list-offsets.ts'
import { describeClusterHandler, metadataHandler } from '../broker/metadata.ts'
import { KafkaServer } from '../broker/server.ts'
import { loadWorkerConfig } from '../config.ts'
import * as option from '../connect/options.ts'
import { dataFolders } from '../data-folders.ts'
import { MillraceError } from '../errors.ts'
import type { Address } from '../kafka/address.ts'
import { formatAddress } from '../kafka/address.ts'
import type { ConfigFlags } from './common.ts'
import { addressFlag, archiveFlag, configFlags, configInputs, openReading } from './common.ts'
import type { Running } from './foreground.ts'
import { inForeground, openLog } from './foreground.ts'

interface ServeFlags extends ConfigFlags {
  readonly archive?: string | undefined
  readonly listen: string
  readonly advertised?: string | undefined
  readonly groups: boolean
  readonly cache: string
}

/** What the flags say, checked. */
interface ServeOptions {
  readonly listen: Address
  readonly advertised: Address | undefined
  readonly cacheBytes: number
  /** Where committed offsets are kept; null where groups are off. */
  readonly offsetsFile: string | null
}

const MiB = 1024 * 1024

export const serveCommand: CommandModule<object, ServeFlags> = {
  command: 'serve',
  describe: 'Let Kafka clients read the archive, as from a broker',
  builder: yargs =>
    archiveFlag(configFlags(yargs))
      .option('listen', {
        type: 'string',
        requiresArg: true,
        default: '127.0.0.1:9094',
        describe: 'Where clients connect'
      })
      .option('advertised', {
        type: 'string',
        requiresArg: true,
        describe: 'The address that clients are told to come to, where it is another one: host:port'
      })
      .option('groups', {
        type: 'boolean',
        default: true,
        describe: 'Keep offsets that consumer groups commit, in data.dir; --no-groups refuses groups'
      })
      .option('cache', {
        type: 'string',
        requiresArg: true,
        default: '64MiB',
        describe: 'What is kept in memory of what was read'
      })
      .example('$0 serve', 'Serve what the worker file names, with what is not archived yet')
      .example('$0 serve --archive s3://logs/a', 'Serve an archive from anywhere')
      .example('kcat -b 127.0.0.1:9094 -t orders -e', 'Then read a topic, whole'),
  async handler(flags) {
    const worker = loadWorkerConfig(configInputs(flags))
    const options: ServeOptions = {
      listen: addressFlag('listen', flags.listen)!,
      advertised: addressFlag('advertised', flags.advertised),
      cacheBytes: bytesFlag('cache', flags.cache),
      offsetsFile: flags.groups ? dataFolders(worker['data.dir']).serve : null
    }
    const logger = openLog(worker['log.level'])
    await inForeground(logger, () => serve(flags, options, logger))
  }
}

async function serve(flags: ServeFlags, options: ServeOptions, logger: Logger): Promise<Running> {
  await using opened = new AsyncDisposableStack()
  const { archive, warm, walDirectory } = opened.use(await openReading(flags))
  const { listen, advertised, cacheBytes, offsetsFile } = options
  const logs = opened.use(await ArchiveLogs.open({ archive, warm, walDirectory, cacheBytes }))
  const onError: ReportError = (err, where) => logger.warn({ err, where }, 'a client was let down')
  const groups: Handler[] = []
  if (offsetsFile !== null) {
    const offsets = opened.use(OffsetStore.open(offsetsFile))
    const ofGroups = groupHandlers({ store: logs, offsets, scope: archive.store.url })
    opened.defer(() => ofGroups.dispose())
    groups.push(...ofGroups.handlers)
  }
  const server = opened.use(
    await KafkaServer.listen({
      listen,
      advertised,
      handlers: [
        metadataHandler(logs),
        describeClusterHandler(logs),
        findCoordinatorHandler({ groups: offsetsFile !== null }),
        fetchHandler(logs, { onError }),
        listOffsetsHandler(logs, { onError }),
        ...readOnlyHandlers(logs),
        ...groups
      ],
      what: '--listen',
      hint: 'Stop what listens there, or give another port, e.g. --listen 127.0.0.1:9095.',
      onError
    })
  )
  const parts = opened.move()
  return {
    addresses: { serve: formatAddress(server.address) },
    stop: () => parts.disposeAsync()
  }
}

/** Throws USAGE. */
function bytesFlag(flag: string, text: string): number {
  const bytes = option.bytes(MiB).safeParse(text)
  if (!bytes.success) throw new MillraceError('USAGE', `--${flag}: ${bytes.error.issues[0]!.message} (got ${text})`)
  return bytes.data
}
