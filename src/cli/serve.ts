// `millrace serve`: the archive as a Kafka broker from which any client can read.
import type { CommandModule } from 'yargs'
import { ArchiveServer } from '../broker/archive-server.ts'
import * as option from '../connect/options.ts'
import { dataFolders } from '../data-folders.ts'
import { MillraceError } from '../errors.ts'
import { formatAddress } from '../kafka/address.ts'
import type { ConfigFlags } from './common.ts'
import { addressFlag, archiveFlag, configFlags, openReading, workerConfig } from './common.ts'
import { inForeground, openLog } from './foreground.ts'

interface ServeFlags extends ConfigFlags {
  readonly archive?: string | undefined
  readonly listen: string
  readonly advertised?: string | undefined
  readonly groups: boolean
  readonly cache: string
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
    const worker = workerConfig(flags, { writesData: flags.groups })
    const logger = openLog(worker['log.level'])
    const serving = {
      listen: addressFlag('listen', flags.listen)!,
      advertised: addressFlag('advertised', flags.advertised),
      cacheBytes: bytesFlag('cache', flags.cache),
      offsetsFile: flags.groups ? dataFolders(worker['data.dir']).serve : null,
      what: '--listen',
      hint: 'Stop what listens there, or give another port, e.g. --listen 127.0.0.1:9095.',
      onError: (err: unknown, where: string) => logger.warn({ err, where }, 'a client was let down')
    }
    await inForeground(logger, async () => {
      await using opened = new AsyncDisposableStack()
      const reading = opened.use(await openReading(flags, { warn: line => logger.warn(line) }))
      const server = opened.use(await ArchiveServer.open({ ...reading, ...serving }))
      const parts = opened.move()
      return { addresses: { serve: formatAddress(server.address) }, stop: () => parts.disposeAsync() }
    })
  }
}

/** Throws USAGE. */
function bytesFlag(flag: string, text: string): number {
  const bytes = option.bytes(MiB).safeParse(text)
  if (!bytes.success) throw new MillraceError('USAGE', `--${flag}: ${bytes.error.issues[0]!.message} (got ${text})`)
  return bytes.data
}
