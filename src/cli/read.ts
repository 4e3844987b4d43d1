// `millrace read`: prints the records of a partition from an offset on, wherever they are.
import type { CommandModule } from 'yargs'
import { MillraceError } from '../errors.ts'
import { selectPartitions } from '../search/partitions.ts'
import type { Step } from '../search/read.ts'
import { endOf, readPartition } from '../search/read.ts'
import type { FoundRecord } from '../search/record-json.ts'
import { recordHex, recordJson, recordLine } from '../search/record-json.ts'
import { parseSelection } from '../search/selection.ts'
import { WalReader } from '../wal/reader.ts'
import type { ArchiveFlags } from './common.ts'
import { archiveFlags, openReading, printLine, say, wholeNumberFlag } from './common.ts'

const outputs = ['line', 'json', 'raw', 'hex'] as const

interface ReadFlags extends ArchiveFlags {
  readonly topic: string
  readonly partition: string
  readonly offset: string
  readonly count: string
  readonly output: (typeof outputs)[number]
  readonly isolation: 'read_uncommitted' | 'read_committed'
  readonly topicId?: string | undefined
}

export const readCommand: CommandModule<object, ReadFlags> = {
  command: 'read',
  describe: 'Print the records of a partition from an offset on',
  builder: yargs =>
    archiveFlags(yargs)
      .option('topic', { type: 'string', demandOption: true, requiresArg: true, describe: 'The topic' })
      .option('partition', { type: 'string', requiresArg: true, default: '0', describe: 'The partition' })
      .option('offset', {
        type: 'string',
        requiresArg: true,
        default: '0',
        describe: 'From this offset on, or from so many before the end: -10'
      })
      .option('count', {
        type: 'string',
        requiresArg: true,
        default: '10',
        describe: 'Print this many records at most'
      })
      .option('output', {
        type: 'string',
        choices: outputs,
        default: 'line' as const,
        describe: 'A line for people, a JSON line, the bytes of the value and a line feed, or all bytes in hex'
      })
      .option('isolation', {
        type: 'string',
        choices: ['read_uncommitted', 'read_committed'] as const,
        default: 'read_uncommitted' as const,
        describe: 'read_committed: nothing of transactions that were aborted or are still open'
      })
      .option('topic-id', {
        type: 'string',
        requiresArg: true,
        describe: 'The topic with this id, which may be deleted'
      })
      .example('$0 read --topic orders --partition 2 --offset 4711 --count 1 --output hex', 'Look at one record')
      .example('$0 read --topic orders --offset -5', 'The newest five offsets of partition 0'),
  async handler(flags) {
    const { topic, topicId, isolation } = flags
    const partition = wholeNumberFlag('partition', flags.partition, 0)
    const count = wholeNumberFlag('count', flags.count, 1)
    const selection = parseSelection({ topic: [topic], partition, topicId })
    const offset = parseOffset(flags.offset)
    if (flags.json && ['raw', 'hex'].includes(flags.output)) {
      throw new MillraceError('USAGE', `--json: cannot be used with --output ${flags.output}`)
    }
    await using reading = await openReading(flags)
    using wal = reading.walDirectory === null ? null : WalReader.open(reading.walDirectory)
    const { archive, warm, configuration } = reading
    const places = { archive, warm, wal, maxDecompressedBytes: configuration?.worker['max.decompressed.bytes'] }
    const { partitions } = await selectPartitions(places, selection)
    const [found] = partitions
    if (found === undefined) {
      say(`there is nothing of ${topic}-${partition}${topicId === undefined ? '' : ` with the id ${topicId}`}`)
      process.exitCode = 1
      return
    }
    const from = offset < 0 ? Math.max(0, endOf(found) + offset) : offset
    const print = printer(flags)
    let printed = 0
    for await (const step of readPartition(places, found, { from, isolation })) {
      if (!('record' in step)) sayMissing(step)
      else if (printed === count)
        return say(`there are more: --offset ${step.record.offset} goes on, --count prints more`)
      else {
        print(step.record)
        printed++
      }
    }
    if (printed === 0) say(`there is no record from offset ${from} on: ${topic}-${partition} ends at ${endOf(found)}`)
  }
}

/** Negative: so many before the end. */
function parseOffset(text: string): number {
  const offset = Number(text)
  if (/^-?\d+$/.test(text) && Number.isSafeInteger(offset)) return offset
  throw new MillraceError('USAGE', `--offset: must be an offset, or -n for the last n (got ${text})`)
}

function printer({ output, json }: ReadFlags): (record: FoundRecord) => void {
  if (json || output === 'json') return record => printLine(JSON.stringify(recordJson(record)))
  if (output === 'hex') return record => printLine(recordHex(record))
  const width = process.stdout.isTTY ? process.stdout.columns : undefined
  if (output === 'line') return record => printLine(recordLine(record, width))
  return ({ value }) => void process.stdout.write(Buffer.concat([value ?? Buffer.alloc(0), Buffer.from('\n')]))
}

function sayMissing(step: Exclude<Step, { record: FoundRecord }>): void {
  if ('gap' in step) {
    const { from, to, reason, foundAt } = step.gap
    say(`offsets ${from} to ${to - 1} are not there: ${reason}${foundAt === undefined ? '' : `, found ${foundAt}`}`)
  } else {
    const { from, to, reason } = step.unreadable
    say(`offsets ${from} to ${to - 1} are archived as they came, and cannot be read: ${reason}`)
  }
}
