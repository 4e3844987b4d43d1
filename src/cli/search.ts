// `millrace search`: finds records wherever they are, and prints them.
import type { CommandModule } from 'yargs'
import { recordJson, recordLine } from '../search/record-json.ts'
import type { SearchResult } from '../search/search.ts'
import { search } from '../search/search.ts'
import type { SelectionFlags } from '../search/selection.ts'
import { parseSelection } from '../search/selection.ts'
import { WalReader } from '../wal/reader.ts'
import type { ArchiveFlags } from './common.ts'
import { archiveFlags, openReading, printLine, say } from './common.ts'
import { counted } from './text.ts'

interface SearchFlags extends ArchiveFlags, SelectionFlags {
  readonly query: string
  readonly count: boolean
}

export const searchCommand: CommandModule<object, SearchFlags> = {
  command: 'search <query>',
  describe: 'Find records in the WAL, local segments and the archive',
  builder: yargs =>
    archiveFlags(yargs)
      .positional('query', {
        type: 'string',
        demandOption: true,
        describe: 'Words, "phrases", prefix*, AND, OR, NOT, ( ); key:word, value:word, header:word'
      })
      .option('topic', { type: 'string', array: true, nargs: 1, describe: 'Only this topic; may be repeated' })
      .option('partition', { type: 'number', requiresArg: true, describe: 'Only this partition' })
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
        choices: ['newest', 'oldest'] as const,
        default: 'newest' as const,
        describe: 'Which timestamps come first'
      })
      .option('limit', { type: 'number', requiresArg: true, default: 100, describe: 'Print this many records at most' })
      .option('cursor', {
        type: 'string',
        requiresArg: true,
        describe: 'Go on behind the records that an earlier search printed'
      })
      .option('count', { type: 'boolean', default: false, describe: 'Print only how many records match' })
      .option('topic-id', { type: 'string', requiresArg: true, describe: 'Only the topic with this id' })
      .option('all-incarnations', {
        type: 'boolean',
        default: false,
        describe: 'Also deleted topics of the same name (default: the newest topic of a name)'
      })
      .example(`$0 search 'refund NOT key:test*' --from -2h`, 'Search the last two hours')
      .example('$0 search refund --archive s3://logs/a', 'Search an archive from anywhere'),
  async handler(flags) {
    const selection = parseSelection(flags)
    await using reading = await openReading(flags)
    using wal = reading.walDirectory === null ? null : WalReader.open(reading.walDirectory)
    const { archive, warm, configuration } = reading
    const maxDecompressedBytes = configuration?.worker['max.decompressed.bytes']
    const result = await search({ archive, warm, wal, maxDecompressedBytes }, selection, flags.query)
    for (const topic of result.unknownTopics) say(`nothing was captured of a topic ${topic}`)
    sayNotSearched(result)
    if (flags.count) return printCount(result, flags.json)
    await printRecords(result, flags.json)
    if (result.next !== null) say(`${result.shown} of ${result.total} shown; --cursor ${result.next} goes on`)
  }
}

function sayNotSearched({ notSearched }: SearchResult): void {
  if (notSearched === 0) return
  const batches = counted(notSearched, 'batch', 'batches')
  say(
    `${batches} could not be searched: their records cannot be read (millrace verify names those that are archived or damaged)`
  )
}

function printCount({ total, notSearched }: SearchResult, json: boolean): void {
  printLine(json ? JSON.stringify({ count: total, ...(notSearched > 0 && { notSearched }) }) : String(total))
}

async function printRecords({ records, notSearched, next }: SearchResult, json: boolean): Promise<void> {
  const width = process.stdout.isTTY ? process.stdout.columns : undefined
  for await (const record of records) printLine(json ? JSON.stringify(recordJson(record)) : recordLine(record, width))
  if (json && notSearched > 0) printLine(JSON.stringify({ notSearched }))
  if (json && next !== null) printLine(JSON.stringify({ cursor: next }))
}
