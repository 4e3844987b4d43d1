// `millrace broker`: the embedded broker alone.
import type { CommandModule } from 'yargs'
import { EmbeddedBroker } from '../broker/embedded-broker.ts'
import { dataFolders } from '../data-folders.ts'
import { formatAddress } from '../kafka/address.ts'
import { logRecovery } from '../wal/recovery-report.ts'
import type { ConfigFlags } from './common.ts'
import { addressFlag, configFlags, workerConfig } from './common.ts'
import { inForeground, openLog } from './foreground.ts'

interface BrokerFlags extends ConfigFlags {
  readonly listen?: string | undefined
  readonly advertised?: string | undefined
}

export const brokerCommand: CommandModule<object, BrokerFlags> = {
  command: 'broker',
  describe: 'Run the embedded Kafka broker alone, for trying things out',
  builder: yargs =>
    configFlags(yargs)
      .option('listen', {
        type: 'string',
        requiresArg: true,
        describe: 'host:port (default: broker.listen of the worker file, 127.0.0.1:9092)'
      })
      .option('advertised', {
        type: 'string',
        requiresArg: true,
        describe: 'host:port that clients are told (default: where it listens, or came in by)'
      })
      .example('$0 broker', 'A broker at 127.0.0.1:9092, with its data in ./data/broker')
      .example('$0 broker --listen 0.0.0.0:9092 --advertised laptop.local:9092', 'For clients on other machines')
      .epilogue('One node, no replication, no transactions: for tests and demonstrations, not in the place of Kafka.'),
  async handler(flags) {
    const worker = workerConfig(flags, { writesData: true })
    const logger = openLog(worker['log.level'])
    await inForeground(logger, async () => {
      const broker = await EmbeddedBroker.open({
        directory: dataFolders(worker['data.dir']).broker,
        maxBytes: worker['broker.max.bytes'],
        maxDecompressedBytes: worker['max.decompressed.bytes'],
        listen: addressFlag('listen', flags.listen) ?? worker['broker.listen'],
        advertised: addressFlag('advertised', flags.advertised),
        what: '--listen',
        hint: 'Stop what listens there, or give another port, e.g. --listen 127.0.0.1:9093.',
        onError: (err, where) => logger.warn({ err, where }, 'a client was let down')
      })
      logRecovery(broker.recovery, logger, 'its records are lost, and readers go on behind them')
      return { addresses: { broker: formatAddress(broker.address) }, stop: () => broker[Symbol.asyncDispose]() }
    })
  }
}
