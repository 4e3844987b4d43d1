// Fetch as the archive needs it: a stretch of one partition's log at once, within the quota that its broker grants.
import { MillraceError } from '../errors.ts'
import type { ResponseOf } from './api.ts'
import type { Connection } from './connection.ts'
import { KafkaError } from './kafka-errors.ts'
import { fetch } from './messages.ts'

/** The quota for the client id `millrace` is used up. */
export class Throttled extends MillraceError {
  /** How long the broker answers nothing more, in milliseconds. */
  readonly forMs: number

  constructor(what: string, forMs: number) {
    const hint = 'Raise its consumer_byte_rate on the brokers to have what was not captured archived faster.'
    super('BROKER_ERROR', `${what}: the quota of client id millrace is used up`, { hint, retriable: true })
    this.forMs = forMs
  }
}

export interface FetchedLog {
  /** Whole batches as the broker's log has them, perhaps with an incomplete one at the end. */
  readonly records: Buffer
  readonly highWatermark: number
  readonly logStartOffset: number
}

type Answer = ResponseOf<typeof fetch>['responses'][number]['partitions'][number]

export interface Stretch {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly offset: number
  readonly maxBytes: number
}

export class LogFetches {
  /** By `performance.now()`. */
  readonly #mutedUntil = new WeakMap<Connection, number>()

  /**
   * What a broker answers, uncommitted transactions and control batches included, without waiting for more. A quota that is used up
   * has it answer with nothing, and mute the connection for a while (KIP-219), which is not waited for. Throws Throttled,
   * and BROKER_ERROR where the log has moved on since it was looked at: to ask the same again would not help, but to look again.
   */
  async ask(connection: Connection, stretch: Stretch): Promise<Pick<Answer, 'errorCode'> & Partial<Answer>> {
    const { topic, topicId, partition, offset, maxBytes } = stretch
    const what = `Fetch of ${topic}-${partition}`
    const muted = (this.#mutedUntil.get(connection) ?? 0) - performance.now()
    if (muted > 0) throw new Throttled(what, muted)
    const { errorCode, throttleTimeMs, responses } = await connection.request(fetch, {
      maxWaitMs: 0,
      minBytes: 0,
      maxBytes,
      isolationLevel: 0,
      sessionId: 0,
      sessionEpoch: -1,
      topics: [{ topic, topicId, partitions: [{ partition, fetchOffset: offset, partitionMaxBytes: maxBytes }] }]
    })
    if (throttleTimeMs) this.#mutedUntil.set(connection, performance.now() + throttleTimeMs)
    const answer = responses[0]?.partitions[0]
    if (answer === undefined && !errorCode && throttleTimeMs) throw new Throttled(what, throttleTimeMs)
    if (answer?.errorCode === KafkaError.OFFSET_OUT_OF_RANGE) {
      const moved = `${what}: OFFSET_OUT_OF_RANGE, the log does not reach from or to offset ${offset} any more`
      throw new MillraceError('BROKER_ERROR', moved, { retriable: true })
    }
    return answer ?? { errorCode: errorCode || -1 }
  }
}
