// `millrace flush`: asks the running worker to seal and ship what it has.
import type { CommandModule } from 'yargs'
import { duration, LONGEST_TIMER_MS } from '../connect/options.ts'
import type { ErrorCode } from '../errors.ts'
import { errorKinds, MillraceError, messageOf } from '../errors.ts'
import { formatAddress } from '../kafka/address.ts'
import type { FlushReport } from '../pipeline/flush.ts'
import type { CommonFlags } from './common.ts'
import { commonFlags, printLine, workerConfig } from './common.ts'

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
    const { listeners, 'rest.auth': auth } = workerConfig(flags)
    const report = await post(
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

/** What the worker answers when something is wrong. */
interface Refusal {
  readonly message?: string
  readonly code?: string
  readonly hint?: string
}

async function post(url: string, body: object, auth: string | undefined, timeoutMs: number): Promise<FlushReport> {
  let response: Response
  let text: string
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
    text = await response.text()
  } catch (cause) {
    const reason = messageOf((cause as Error).cause ?? cause)
    throw new MillraceError('WORKER_UNREACHABLE', `no worker answers at ${url}: ${reason}`, {
      cause,
      hint: 'Start one with `millrace run`, or name its worker file with --config.'
    })
  }
  const answer = parsed(text)
  if (response.ok && Array.isArray(answer?.partitions)) return answer as FlushReport
  if (response.ok || answer === null) {
    const what = `what answers at ${url} is no Millrace worker (HTTP ${response.status})`
    throw new MillraceError('WORKER_UNREACHABLE', what, { hint: 'Set listeners to the address of the worker.' })
  }
  const code =
    answer.code !== undefined && answer.code in errorKinds ? (answer.code as ErrorCode) : 'WORKER_UNREACHABLE'
  throw new MillraceError(code, answer.message ?? `the worker answered ${response.status}`, { hint: answer.hint })
}

/** Null where it is no object, as of another server. */
function parsed(text: string): (Refusal & Partial<FlushReport>) | null {
  try {
    const answer: unknown = JSON.parse(text)
    return typeof answer === 'object' ? answer : null
  } catch {
    return null
  }
}
