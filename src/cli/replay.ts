// `millrace replay`: produces an archived topic back into a cluster.
import type { CommandModule } from 'yargs'
import { upstreamOf } from '../config.ts'
import { addresses } from '../connect/options.ts'
import { isMillraceError, MillraceError } from '../errors.ts'
import type { Address } from '../kafka/address.ts'
import { formatAddress } from '../kafka/address.ts'
import { Admin } from '../kafka/admin.ts'
import { Cluster } from '../kafka/cluster.ts'
import type { Security } from '../kafka/security.ts'
import { PLAINTEXT } from '../kafka/security.ts'
import type { ReplayPlan } from '../replay/plan.ts'
import { planReplay } from '../replay/plan.ts'
import { ReplayProducer } from '../replay/producer.ts'
import type { ReplayOutcome, SendBatch } from '../replay/replay.ts'
import { replay } from '../replay/replay.ts'
import { findSource } from '../replay/source.ts'
import { checkTarget, createTarget, inspectTopic, restoredTopicSettings } from '../replay/target.ts'
import { parseSelection } from '../search/selection.ts'
import { SegmentReader } from '../segment/reader.ts'
import { readCommandConfig } from './command-config.ts'
import type { ArchiveFlags, Reading } from './common.ts'
import { archiveFlags, INTERRUPTED, openReading, printLine, say, wholeNumberFlag } from './common.ts'
import { showProgress } from './progress.ts'
import { partitionLines, replayJson } from './replay-report.ts'

interface ReplayFlags extends ArchiveFlags {
  readonly topic: string
  readonly 'topic-id'?: string | undefined
  readonly 'to-topic'?: string | undefined
  readonly bootstrap?: string | undefined
  readonly 'command-config'?: string | undefined
  readonly partition?: readonly string[] | undefined
  readonly offsets?: string | undefined
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly append: boolean
  readonly 'accept-new-timestamps': boolean
  readonly 'dry-run': boolean
}

/** Partitions replayed at a time: each waits for the broker most of the time, and holds a chunk of a segment in memory. */
const CONCURRENCY = 8

export const replayCommand: CommandModule<object, ReplayFlags> = {
  command: 'replay',
  describe: 'Produce archived batches back into a cluster, in order',
  builder: yargs =>
    archiveFlags(yargs)
      .option('topic', { type: 'string', requiresArg: true, demandOption: true, describe: 'The archived topic' })
      .option('topic-id', {
        type: 'string',
        requiresArg: true,
        describe: 'Which of several topics of that name (default: the newest)'
      })
      .option('to-topic', {
        type: 'string',
        requiresArg: true,
        describe: 'Where to (default: the same name); made if absent, with retention off'
      })
      .option('bootstrap', {
        type: 'string',
        requiresArg: true,
        describe: 'host:port of the target cluster (default: the one behind the worker)'
      })
      .option('command-config', {
        type: 'string',
        requiresArg: true,
        describe: "Of --bootstrap: a .properties file with security.protocol, ssl.…, sasl.…, as for Kafka's tools"
      })
      .option('partition', { type: 'string', array: true, requiresArg: true, describe: 'Only these partitions' })
      .option('offsets', { type: 'string', requiresArg: true, describe: 'Only offsets a..b, b exclusive' })
      .option('from', { type: 'string', requiresArg: true, describe: 'Only from this time on: ISO time or -2h' })
      .option('to', { type: 'string', requiresArg: true, describe: 'Only before this time: ISO time or -2h' })
      .option('append', {
        type: 'boolean',
        default: false,
        describe: 'Replay into a topic that holds records already'
      })
      .option('accept-new-timestamps', {
        type: 'boolean',
        default: false,
        describe: 'Replay into a LogAppendTime topic, which gives records new timestamps'
      })
      .option('dry-run', {
        type: 'boolean',
        default: false,
        describe: 'Check the target, read and count everything, make and send nothing'
      })
      .example('$0 replay --topic orders --to-topic orders-restored', 'Restore a topic under another name')
      .example('$0 replay --topic orders --bootstrap other:9092 --dry-run', 'See what a restore elsewhere would do')
      .example('$0 replay --topic orders --to-topic last-hours --from=-2h', 'Restore what is not older than two hours')
      .epilogue(
        'Keys, values, headers, timestamps and the order within a partition are kept; offsets are new. Records of aborted ' +
          'transactions are left out, and of transactions without an outcome where the archive ends. What was captured ' +
          'but not archived yet is not replayed: run millrace flush first.\n\n' +
          'Within one run nothing is written twice, whatever is retried. A run that was stopped or killed is not resumed: ' +
          'a second one begins anew, and asks for an empty topic (or for --append, with --offsets).'
      ),
  handler: runReplay
}

async function runReplay(flags: ReplayFlags): Promise<void> {
  const selection = parseSelection({ from: flags.from, to: flags.to, offsets: flags.offsets })
  const partitions = flags.partition?.map(text => wholeNumberFlag('partition', text, 0))
  await using reading = await openReading(flags)
  const { bootstrap, security } = targetCluster(flags, reading)
  const chains = await findSource(reading.archive, { topic: flags.topic, topicId: flags['topic-id'] })
  const plan = planReplay(chains, { ...selection, partitions })

  using cluster = new Cluster(bootstrap, security)
  const admin = new Admin(bootstrap, security)
  const topic = flags['to-topic'] ?? flags.topic
  const existing = await inspectTopic(cluster, topic).catch(error => {
    throw flags.bootstrap === undefined ? error : ofBootstrap(error)
  })
  if (existing !== null) {
    checkTarget(plan, topic, existing, { append: flags.append, acceptNewTimestamps: flags['accept-new-timestamps'] })
  }
  const dryRun = flags['dry-run']
  const where = `${topic} at ${bootstrap.map(formatAddress).join(',')}`
  say(`${flags.topic} (${plan.topicId}) → ${where}${existing === null ? `, ${making(plan, dryRun)}` : ''}`)
  if (existing === null && !dryRun) await createTarget(cluster, admin, topic, plan.partitionCount)

  const producer = dryRun ? null : await ReplayProducer.open(cluster)
  const started = performance.now()
  const { outcome, interrupted } = await execute(plan, reading, partition =>
    producer === null ? async () => {} : producer.sender({ topic, partition })
  )
  const ms = performance.now() - started
  const whole = !interrupted && outcome.failure === undefined
  if (flags.json) printLine(JSON.stringify(replayJson(plan, outcome, { topic, dryRun, ms, complete: whole })))
  else for (const line of partitionLines(outcome, { dryRun, ms })) printLine(line)
  if (outcome.failure !== undefined) throw outcome.failure
  if (interrupted) {
    say('interrupted: not everything was replayed')
    process.exitCode = INTERRUPTED
  }
}

interface TargetCluster {
  readonly bootstrap: readonly Address[]
  readonly security: Security
}

/** What the worker knows of its own cluster is not told to another one. */
function targetCluster(flags: ReplayFlags, { configuration }: Reading): TargetCluster {
  const { bootstrap, 'command-config': file } = flags
  if (bootstrap === undefined) {
    if (file !== undefined) throw new MillraceError('USAGE', '--command-config: goes with --bootstrap')
    if (configuration !== null) {
      return { bootstrap: upstreamOf(configuration.worker), security: configuration.security }
    }
    throw new MillraceError('USAGE', '--bootstrap: is required with --archive: host:port of the target cluster')
  }
  const parsed = addresses.safeParse(bootstrap)
  if (parsed.success) {
    return { bootstrap: parsed.data, security: file === undefined ? PLAINTEXT : readCommandConfig(file) }
  }
  throw new MillraceError('USAGE', `--bootstrap: ${parsed.error.issues[0]!.message} (got ${JSON.stringify(bootstrap)})`)
}

/** What the hint says of keys is not meant for the worker file. */
function ofBootstrap(error: unknown): unknown {
  if (!isMillraceError(error) || !['BROKER_UNREACHABLE', 'AUTHENTICATION_FAILED'].includes(error.code)) return error
  const where = 'For --bootstrap, keys such as security.protocol stand in the file of --command-config.'
  const hint = error.hint === undefined ? where : `${error.hint} ${where}`
  return new MillraceError(error.code, error.message, { hint, retriable: error.retriable, cause: error })
}

function making({ partitionCount }: ReplayPlan, dryRun: boolean): string {
  const settings = Object.entries(restoredTopicSettings).map(([name, value]) => `${name}=${value}`)
  return `${dryRun ? 'to be made' : 'made'} with ${partitionCount} partitions, ${settings.join(', ')}`
}

/** Replays with a bar; the first SIGINT or SIGTERM ends it between two batches, a second one at once. */
async function execute(
  plan: ReplayPlan,
  { archive, warm }: Reading,
  sendTo: (partition: number) => SendBatch
): Promise<{ outcome: ReplayOutcome; interrupted: boolean }> {
  const stopping = new AbortController()
  const stop = () => stopping.abort()
  process.once('SIGINT', stop).once('SIGTERM', stop)
  const total = plan.partitions.reduce((sum, { offsets }) => sum + offsets, 0)
  using progress = showProgress('replaying', total, amount => `${amount} offsets`)
  try {
    const outcome = await replay(plan, {
      open: ({ key, size }) => SegmentReader.open(warm?.find(key, size) ?? archive.source(key)),
      sendTo,
      concurrency: CONCURRENCY,
      signal: stopping.signal,
      onOffsets: offsets => progress.add(offsets)
    })
    return { outcome, interrupted: stopping.signal.aborted }
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop)
  }
}
