#!/usr/bin/env -S node --disable-warning=TimeoutNegativeWarning
// The `millrace` command: finds the subcommand, prints what it throws, sets the exit code.
import yargs from 'yargs'
import { hideBin } from 'yargs/helpers'
import { flushCommand } from './cli/flush.ts'
import { replayCommand } from './cli/replay.ts'
import { runCommand } from './cli/run.ts'
import { searchCommand } from './cli/search.ts'
import { verifyCommand } from './cli/verify.ts'
import { isMillraceError, MillraceError } from './errors.ts'

const parser = yargs(hideBin(process.argv))
  .scriptName('millrace')
  .usage('$0 <command>\n\nArchives what producers send to Kafka, byte for byte; searches it and replays it.')
  .command(runCommand)
  .command(flushCommand)
  .command(searchCommand)
  .command(replayCommand)
  .command(verifyCommand)
  .demandCommand(1, 'Name a command.')
  .strict()
  .version(false)
  .help()
  .epilogue(
    'Exit codes: 0 done, 1 found something wrong, 2 wrong usage or config, 3 a server could not be reached, 130 interrupted.'
  )
  .fail((message, error) => {
    throw error ?? new MillraceError('USAGE', message, { hint: 'See millrace --help.' })
  })

// `millrace search … | head` closes our output before we are done: that is no error.
process.stdout.on('error', error => {
  if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error
  process.exit()
})

try {
  await parser.parseAsync()
} catch (error) {
  // What was not raised on purpose is a bug: then the stack helps.
  process.stderr.write(`${isMillraceError(error) ? error.message : String((error as Error).stack ?? error)}\n`)
  if (isMillraceError(error) && error.hint) process.stderr.write(`${error.hint}\n`)
  process.exitCode = isMillraceError(error) ? error.exitCode : 1
}
