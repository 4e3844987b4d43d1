#!/usr/bin/env -S node --disable-warning=TimeoutNegativeWarning --max-semi-space-size=4
// The `millrace` command: finds the subcommand, prints what it throws, sets the exit code.
import type { CommandModule } from 'yargs'
import yargs from 'yargs'
import { hideBin } from 'yargs/helpers'
import { isMillraceError, MillraceError } from './errors.ts'

/** What older ones cannot even parse is written freely in all files but this one; package.json names the same. */
const OLDEST_NODE = 24

/** Each is loaded only when it is called, so that a command starts quickly and a worker holds no more than it needs. */
const commands: Record<string, () => Promise<CommandModule<object, any>>> = {
  run: async () => (await import('./cli/run.ts')).runCommand,
  flush: async () => (await import('./cli/flush.ts')).flushCommand,
  search: async () => (await import('./cli/search.ts')).searchCommand,
  read: async () => (await import('./cli/read.ts')).readCommand,
  replay: async () => (await import('./cli/replay.ts')).replayCommand,
  verify: async () => (await import('./cli/verify.ts')).verifyCommand,
  broker: async () => (await import('./cli/broker.ts')).brokerCommand,
  serve: async () => (await import('./cli/serve.ts')).serveCommand
}

// `millrace search … | head` closes our output before we are done: that is no error.
process.stdout.on('error', error => {
  if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error
  process.exit()
})

try {
  if (Number.parseInt(process.versions.node, 10) < OLDEST_NODE) {
    throw new MillraceError('USAGE', `Millrace needs Node ${OLDEST_NODE} or newer (this is ${process.versions.node})`)
  }
  const { packageVersion } = await import('./package-version.ts')
  const args = hideBin(process.argv)
  const called = args.find(arg => !arg.startsWith('-'))
  const needed = called !== undefined && called in commands ? [called] : Object.keys(commands)
  const parser = yargs(args)
    .scriptName('millrace')
    .usage('$0 <command>\n\nArchives what producers send to Kafka, byte for byte; searches it and replays it.')
    .demandCommand(1, 'Name a command.')
    .strict()
    .version(packageVersion)
    .help()
    .epilogue(
      'Exit codes: 0 done, 1 found something wrong, 2 wrong usage or config, 3 a server could not be reached, 130 interrupted.'
    )
    .fail((message, error: Error | undefined) => {
      // Its own are about what was written: a flag without its value, or one that is not known.
      if (error !== undefined && error.name !== 'YError') throw error
      throw new MillraceError('USAGE', message, { hint: 'See millrace --help.' })
    })
  for (const name of needed) parser.command(await commands[name]!())
  await parser.parseAsync()
} catch (error) {
  // What was not raised on purpose is a bug: then the stack helps.
  process.stderr.write(`${isMillraceError(error) ? error.message : String((error as Error).stack ?? error)}\n`)
  if (isMillraceError(error) && error.hint) process.stderr.write(`${error.hint}\n`)
  process.exitCode = isMillraceError(error) ? error.exitCode : 1
}
