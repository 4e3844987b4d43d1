// What commands have in common that run in the foreground until they are told to stop: their log and their signals.
import { once } from 'node:events'
import type { Logger } from 'pino'
import { pino } from 'pino'
import { INTERRUPTED } from './common.ts'

export interface Running {
  /** Where it can be reached, by what it is for. */
  readonly addresses: Readonly<Record<string, string>>
  /** Finishes what is owed to clients, and closes everything. */
  stop(): Promise<void>
}

/** The log of such a command: JSON lines on stderr. */
export function openLog(level: string): Logger {
  return pino({ level }, pino.destination({ dest: 2, sync: false }))
}

/** Starts something, says that it is ready, stops it at SIGTERM or SIGINT, and ends the process with 0 or 130. */
export async function inForeground(logger: Logger, start: () => Promise<Running>): Promise<void> {
  const stopping = new AbortController()
  const stopped = Promise.race(
    (['SIGTERM', 'SIGINT'] as const).map(async signal => {
      await once(process, signal, { signal: stopping.signal })
      return signal
    })
  )
  const running = await start()
  logger.info({ addresses: running.addresses }, 'ready')
  const signal = await stopped
  logger.info({ signal }, 'draining')
  // A second signal ends the process as if none were handled.
  stopping.abort()
  await running.stop()
  logger.info('stopped')
  // All is closed; a request to a store that does not answer must not keep us.
  logger.flush(() => process.exit(signal === 'SIGINT' ? INTERRUPTED : 0))
}
