// `millrace run`: the worker in the foreground, until it is told to stop.
import { setFlagsFromString } from 'node:v8'
import type { CommandModule } from 'yargs'
import { watchHeap } from '../heap-watch.ts'
import { startWorker } from '../worker.ts'
import { configFlags, configuration } from './common.ts'
import { inForeground, openLog } from './foreground.ts'
import type { QuickStartFlags } from './quick-start.ts'
import { quickStart } from './quick-start.ts'

interface RunFlags extends QuickStartFlags {
  readonly 'quick-start': boolean
}

export const runCommand: CommandModule<object, RunFlags> = {
  command: 'run',
  describe: 'Run the worker: capture, seal, ship',
  builder: yargs =>
    configFlags(yargs)
      .option('quick-start', {
        type: 'boolean',
        default: false,
        describe: 'As npm start: say what to try next, and write sample orders on the first run of the embedded broker'
      })
      .option('samples', { type: 'boolean', default: true, describe: 'With --quick-start: --no-samples writes none' })
      .example('$0 run', 'Run with config/worker.yaml')
      .example('$0 run --set bootstrap.servers=kafka:9092', 'Stand in front of a cluster'),
  async handler(flags) {
    // What passes through lies outside V8's heap, and each 64 MB of it makes V8 mark the heap. Done in steps, with helper
    // threads, that cost 45 % of the process's CPU at full rate; at once it takes 15 ms, and happens a third as often.
    setFlagsFromString('--no-incremental-marking')
    watchHeap()
    // For the threads that are started from here on: what they allocate dies at once.
    setFlagsFromString('--max-semi-space-size=1')
    const loaded = configuration(flags, { writesData: true })
    const logger = openLog(loaded.worker['log.level'])
    for (const warning of loaded.warnings) logger.warn(warning)
    await inForeground(logger, async () => {
      const worker = await startWorker(loaded, logger)
      return flags['quick-start'] ? await quickStart(worker, loaded, flags, logger) : worker
    })
  }
}
