// `millrace run --quick-start`, which is `npm start`: says what runs where and what to try next, and on the first run of the
// embedded broker writes sample orders.
import type { Logger } from 'pino'
import type { Configuration } from '../config.ts'
import { messageOf } from '../errors.ts'
import { formatAddress } from '../kafka/address.ts'
import { formatSteps, nextSteps } from '../quick-start/next-steps.ts'
import { SAMPLE_TOPIC, SampleOrders } from '../quick-start/sample-orders.ts'
import type { RunningWorker } from '../worker.ts'
import type { ConfigFlags } from './common.ts'
import { printLine } from './common.ts'
import type { Running } from './foreground.ts'

export interface QuickStartFlags extends ConfigFlags {
  readonly samples: boolean
}

/** Adds to a worker what `npm start` is beyond it. Throws BROKER_ERROR, with the worker stopped, when no samples can be written. */
export async function quickStart(
  worker: RunningWorker,
  { worker: config, sources, archive }: Configuration,
  flags: QuickStartFlags,
  logger: Logger
): Promise<Running> {
  await using opened = new AsyncDisposableStack()
  opened.defer(() => worker.stop())
  const proxy = sources.find(({ connector }) => connector.name === 'kafka-proxy')
  const bootstrap = proxy && worker.addresses[`${proxy.name} bootstrap`]
  const cluster = config['bootstrap.servers']
  const { embeddedBroker } = worker
  const withSamples = flags.samples && embeddedBroker?.isNew === true && bootstrap !== undefined
  if (withSamples) {
    const onError = (error: unknown): void =>
      logger.warn({ reason: messageOf(error) }, 'a sample order was not written')
    opened.use(await SampleOrders.start(bootstrap, onError))
  }

  printLine('')
  if (cluster === undefined) {
    printLine('Millrace runs with its embedded broker: one node without replication, for trying things out.')
    printLine('In front of a cluster of yours: MILLRACE_BOOTSTRAP_SERVERS=host:9092 npm start')
  } else {
    printLine(`Millrace stands in front of ${cluster.map(formatAddress).join(', ')}.`)
  }
  printLine(`Data is in ${config['data.dir']}, the archive at ${archive.values['archive.url']}.`)
  if (withSamples) {
    printLine(`Sample orders go to the topic ${SAMPLE_TOPIC}, two a second while this first run lasts.`)
    printLine('To start without them: npm start -- --no-samples')
  }
  if (bootstrap !== undefined) {
    const hasSamples = (await embeddedBroker?.logs.topic(SAMPLE_TOPIC)) !== undefined
    const steps = nextSteps({
      bootstrap,
      archiveUrl: String(archive.values['archive.url']),
      topic: hasSamples ? SAMPLE_TOPIC : 'greetings',
      flags: [
        ...(flags.config === undefined ? [] : ['--config', flags.config]),
        ...(flags.set ?? []).flatMap(assignment => ['--set', assignment])
      ]
    })
    printLine(`Producers reach it at ${bootstrap}.`)
    printLine(`\n${formatSteps(steps)}`)
  }
  const parts = opened.move()
  return { addresses: worker.addresses, stop: () => parts.disposeAsync() }
}
