// How long, and after which errors, a request to a cluster is made again.
import { setTimeout as delay } from 'node:timers/promises'
import { isMillraceError, MillraceError } from '../errors.ts'
import { Unanswering } from './broker-connections.ts'
import { isRetriableKafkaError, KafkaError, kafkaErrorName, rightsHint } from './kafka-errors.ts'

export const RETRY_FOR_MS = 30_000
const BACKOFF_MS = 100

/** What one try has brought: an error of Kafka's, or a value. */
export interface Attempt<T> {
  readonly errorCode: number
  readonly value?: T
}

/**
 * Repeats what Kafka calls retriable, and broken connections, for half a minute unless told, with a growing pause. `what` stands in
 * the error's message. Throws BROKER_ERROR, BROKER_UNREACHABLE.
 */
export async function retrying<T>(
  what: string,
  send: (attempt: number) => Promise<Attempt<T>>,
  forMs = RETRY_FOR_MS
): Promise<T> {
  const end = performance.now() + forMs
  for (let attempt = 0; ; attempt++) {
    let failure: MillraceError
    try {
      const { errorCode, value } = await send(attempt)
      if (errorCode === KafkaError.NONE && value !== undefined) return value
      failure = new MillraceError('BROKER_ERROR', `${what}: ${kafkaErrorName(errorCode)}`, {
        hint: rightsHint(errorCode),
        retriable: isRetriableKafkaError(errorCode)
      })
    } catch (error) {
      // Who does not answer has been waited for already; but in half a minute another may lead.
      const isInVain = error instanceof Unanswering && forMs < RETRY_FOR_MS
      if (!isMillraceError(error, 'BROKER_UNREACHABLE') || isInVain) throw error
      failure = error
    }
    if (!failure.retriable || performance.now() > end) throw failure
    await delay(Math.min(BACKOFF_MS * 2 ** attempt, 2_000))
  }
}
