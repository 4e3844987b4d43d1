// InitProducerId: an id for each idempotent producer, never given twice.
import { KafkaError } from '../../kafka/kafka-errors.ts'
import { initProducerId } from '../../kafka/messages.ts'
import type { Handler } from '../handler.ts'
import { handler } from '../handler.ts'
import type { EmbeddedLogs } from './embedded-logs.ts'

/**
 * Gives a new id with epoch 0, also to a producer that had one: as TransactionCoordinator.handleInitProducerId in apache/kafka
 * does without a transactional id. Those with one are refused, by a code that ends a client; the answer has no room for words.
 */
export function initProducerIdHandler(logs: EmbeddedLogs): Handler {
  return handler(initProducerId, async ({ transactionalId }) => {
    const refused = { errorCode: KafkaError.INVALID_REQUEST, producerId: -1, producerEpoch: -1, throttleTimeMs: 0 }
    if (transactionalId !== null) return refused
    return { errorCode: KafkaError.NONE, producerId: logs.nextProducerId(), producerEpoch: 0, throttleTimeMs: 0 }
  })
}
