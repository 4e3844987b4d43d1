// `millrace flush`: asks the running worker to seal and ship what it has.
import type { CommandModule } from 'yargs'
import { loadWorkerConfig } from '../config.ts'
import { duration, LONGEST_TIMER_MS } from '../connect/options.ts'
import type { ErrorCode } from '../errors.ts'
import { errorKinds, MillraceError, messageOf } from '../errors.ts'
import { formatAddress } from '../kafka/address.ts'
import type { FlushReport } from '../pipeline/flush.ts'
import type { CommonFlags } from './common.ts'
import { commonFlags, configInputs, printLine } from './common.ts'

interface FlushFlags extends CommonFlags {
  readonly topic?: string | undefined
  readonly timeout: string
}

/** The worker keeps its own deadline; ours only notices that it is gone. */
const GRACE_MS = 10_000

export const flushCommand: CommandModule<object, FlushFlags> = {
  command: 'flush',
  describe: 'Seal and ship what there is; returns when the archive holds it',
  builder: yargs =>
    commonFlags(yargs)
      .option('topic', { type: 'string', requiresArg: true, describe: 'Only this topic' })
      .option('timeout', { type: 'string', requiresArg: true, default: '60s', describe: 'How long it may take' })
      .example('$0 flush --topic orders', 'Archive what was captured of one topic'),
  async handler(flags) {
    const timeout = duration(1, LONGEST_TIMER_MS - GRACE_MS).safeParse(flags.timeout)
    if (!timeout.success) throw new MillraceError('USAGE', `--timeout: ${timeout.error.issues[0]!.message}`)
    const { listeners, 'rest.auth': auth } = loadWorkerConfig(configInputs(flags))
    const report = await post<FlushReport>(
      `http://${formatAddress(listeners)}/v1/flush`,
      { topic: flags.topic, timeoutMs: timeout.data },
      auth,
      timeout.data + GRACE_MS
    )
    if (flags.json) return printLine(JSON.stringify(report))
    if (report.partitions.length === 0) {
      const what = flags.topic === undefined ? '' : ` of ${flags.topic}`
      return printLine(`nothing to flush: the archive holds all that there is${what}`)
    }
    for (const { topic, partition, archivedThrough } of report.partitions) {
      printLine(`${topic}-${partition}: archived through offset ${archivedThrough}`)
    }
  }
}

async function post<T>(url: string, body: object, auth: string | undefined, timeoutMs: number): Promise<T> {
  let response: Response
  try {
    response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(auth !== undefined && { authorization: `Basic ${Buffer.from(auth).toString('base64')}` })
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs)
    })
  } catch (cause) {
    throw new MillraceError(
      'WORKER_UNREACHABLE',
      `no worker answers at ${url}: ${messageOf((cause as Error).cause ?? cause)}`,
      {
        cause,
        hint: 'Start one with `millrace run`, or name its worker file with --config.'
      }
    )
  }
  const answer = (await response.json()) as T & { message?: string; code?: string; hint?: string }
  if (response.ok) return answer
  const code =
    answer.code !== undefined && answer.code in errorKinds ? (answer.code as ErrorCode) : 'WORKER_UNREACHABLE'
  throw new MillraceError(code, answer.message ?? `the worker answered ${response.status}`, { hint: answer.hint })
}
