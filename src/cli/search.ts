// `millrace search`: finds records wherever they are, and prints them.
import type { CommandModule } from 'yargs'
import { MillraceError } from '../errors.ts'
import { orders } from '../search/order.ts'
import type { FoundRecord } from '../search/record-json.ts'
import { recordJson, recordLine } from '../search/record-json.ts'
import type { CountResult, SearchPlaces } from '../search/search.ts'
import { count, search } from '../search/search.ts'
import type { Selection, SelectionFlags } from '../search/selection.ts'
import { isolations, parseSelection } from '../search/selection.ts'
import { WalReader } from '../wal/reader.ts'
import type { ArchiveFlags } from './common.ts'
import { archiveFlags, openReading, printLine, say, wholeNumberFlag } from './common.ts'
import { didYouMean } from './did-you-mean.ts'
import { follow } from './follow.ts'
import { counted } from './text.ts'

interface SearchFlags extends ArchiveFlags, Omit<SelectionFlags, 'partition' | 'limit'> {
  readonly query: string
  readonly partition?: string | undefined
  readonly limit: string
  readonly count: boolean
  readonly follow: boolean
}

export const searchCommand: CommandModule<object, SearchFlags> = {
  command: 'search [query]',
  describe: 'Find records in the WAL, local segments and the archive',
  builder: yargs =>
    archiveFlags(yargs)
      .positional('query', {
        type: 'string',
        default: '*',
        describe:
          'Words, "phrases", prefix*, AND, OR, NOT, ( ); before a word key:, value:, header:, header.NAME:, ' +
          'value.FIELD:; key=KEY; * finds every record'
      })
      .option('topic', { type: 'string', array: true, nargs: 1, describe: 'Only this topic; may be repeated' })
      .option('partition', { type: 'string', requiresArg: true, describe: 'Only this partition' })
      .option('from', {
        type: 'string',
        requiresArg: true,
        describe: 'From this timestamp on: an ISO time (UTC unless it says otherwise), or how long ago, such as -2h'
      })
      .option('to', { type: 'string', requiresArg: true, describe: 'Before this timestamp' })
      .option('offsets', {
        type: 'string',
        requiresArg: true,
        describe: 'a..b: from offset a up to, not including, b; either may be left out'
      })
      .option('order', {
        type: 'string',
        choices: orders,
        describe: 'What comes first: the newest timestamp (which it is unless told), the oldest, or the best match'
      })
      .option('limit', {
        type: 'string',
        requiresArg: true,
        default: '100',
        describe: 'Print this many records at most'
      })
      .option('cursor', {
        type: 'string',
        requiresArg: true,
        describe: 'Go on behind the records that an earlier search printed'
      })
      .option('count', { type: 'boolean', default: false, describe: 'Print only how many records match' })
      .option('follow', {
        type: 'boolean',
        default: false,
        describe: 'Print the newest --limit matches, the oldest of them first, then new ones as they come, until Ctrl-C'
      })
      .option('isolation', {
        type: 'string',
        choices: isolations,
        default: 'read_uncommitted' as const,
        describe: 'read_committed: nothing of transactions that were aborted or are still open'
      })
      .option('topic-id', { type: 'string', requiresArg: true, describe: 'Only the topic with this id' })
      .option('all-incarnations', {
        type: 'boolean',
        default: false,
        describe: 'Also deleted topics of the same name (default: the newest topic of a name)'
      })
      .example(`$0 search 'refund NOT key:test*' --from -2h`, 'Search the last two hours')
      .example(`$0 search 'value.status:failed' --follow`, 'Watch for failures')
      .example('$0 search refund --archive s3://logs/a', 'Search an archive from anywhere'),
  async handler(flags) {
    const selection = parseSelection({
      ...flags,
      partition: flags.partition === undefined ? undefined : wholeNumberFlag('partition', flags.partition, 0),
      limit: wholeNumberFlag('limit', flags.limit, 1)
    })
    if (flags.follow) refuseWithFollow(flags)
    await using reading = await openReading(flags)
    using wal = reading.walDirectory === null ? null : WalReader.open(reading.walDirectory)
    const { archive, warm, indexes, hotIndexes, configuration } = reading
    const maxDecompressedBytes = configuration?.worker['max.decompressed.bytes']
    const places = { archive, warm, indexes, wal, hotIndexes, maxDecompressedBytes }
    const print = printer(flags.json)
    if (flags.follow) await follow(places, selection, flags.query, print)
    else if (flags.count) await printCount(places, selection, flags)
    else await printRecords(places, selection, flags, print)
  }
}

/** Throws USAGE for what makes no sense while records go on coming. */
function refuseWithFollow(flags: SearchFlags): void {
  for (const flag of ['order', 'cursor', 'to'] as const) {
    if (flags[flag] !== undefined) throw new MillraceError('USAGE', `--${flag}: cannot be used with --follow`)
  }
  if (flags.count) throw new MillraceError('USAGE', '--count: cannot be used with --follow')
}

async function printCount(places: SearchPlaces, selection: Selection, flags: SearchFlags): Promise<void> {
  const found = await count(places, selection, flags.query)
  sayUnknown(found)
  sayNotSearched(found.notSearched)
  const { count: records, notSearched } = found
  printLine(flags.json ? JSON.stringify({ count: records, ...(notSearched > 0 && { notSearched }) }) : String(records))
}

async function printRecords(
  places: SearchPlaces,
  selection: Selection,
  flags: SearchFlags,
  print: (record: FoundRecord) => void
): Promise<void> {
  const { query, json } = flags
  const result = await search(places, selection, query)
  sayUnknown(result)
  let shown = 0
  for await (const record of result.records) {
    print(record)
    shown++
  }
  const notSearched = result.notSearched()
  const next = result.next()
  sayNotSearched(notSearched)
  if (json && notSearched > 0) printLine(JSON.stringify({ notSearched }))
  if (json && next !== null) printLine(JSON.stringify({ cursor: next }))
  if (next !== null) say(`${counted(shown, 'record', 'records')} shown, and there are more: --cursor ${next} goes on`)
  if (shown === 0 && selection.after === undefined) await didYouMean(places, selection, flags, result)
}

function printer(json: boolean): (record: FoundRecord) => void {
  const width = process.stdout.isTTY ? process.stdout.columns : undefined
  return record => printLine(json ? JSON.stringify(recordJson(record)) : recordLine(record, width))
}

function sayUnknown({ unknownTopics }: Pick<CountResult, 'unknownTopics'>): void {
  for (const topic of unknownTopics) say(`nothing was captured of a topic ${topic}`)
}

function sayNotSearched(notSearched: number): void {
  if (notSearched === 0) return
  const batches = counted(notSearched, 'batch', 'batches')
  say(
    `${batches} could not be searched: their records cannot be read (millrace verify names those that are archived or damaged)`
  )
}
