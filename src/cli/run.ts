// `millrace run`: the worker in the foreground, until it is told to stop.
import { once } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { pino } from 'pino'
import type { CommandModule } from 'yargs'
import { startWorker } from '../worker.ts'
import type { CommonFlags } from './common.ts'
import { commonFlags, configuration, INTERRUPTED } from './common.ts'

export const runCommand: CommandModule<object, CommonFlags> = {
  command: 'run',
  describe: 'Run the worker: capture, seal, ship',
  builder: yargs =>
    commonFlags(yargs)
      .example('$0 run', 'Run with config/worker.yaml')
      .example('$0 run --set bootstrap.servers=kafka:9092', 'Stand in front of another cluster'),
  async handler(flags) {
    // What passes through lies outside V8's heap, and each 64 MB of it makes V8 mark the heap. Done in steps, with helper
    // threads, that cost 45 % of the process's CPU at full rate; at once it takes 15 ms, and happens a third as often.
    setFlagsFromString('--no-incremental-marking')
    const loaded = configuration(flags)
    const logger = pino({ level: loaded.worker['log.level'] }, pino.destination({ dest: 2, sync: false }))
    const stopping = new AbortController()
    const stopped = Promise.race(
      (['SIGTERM', 'SIGINT'] as const).map(async signal => {
        await once(process, signal, { signal: stopping.signal })
        return signal
      })
    )
    const worker = await startWorker(loaded, logger)
    logger.info({ addresses: worker.addresses }, 'ready')
    const signal = await stopped
    logger.info({ signal }, 'draining')
    // A second signal ends the process as if none were handled.
    stopping.abort()
    await worker.stop()
    logger.info('stopped')
    // All is closed; a request to a store that does not answer must not keep us.
    logger.flush(() => process.exit(signal === 'SIGINT' ? INTERRUPTED : 0))
  }
}
