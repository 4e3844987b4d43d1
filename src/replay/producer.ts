// The idempotent producer of raw batches: one producer id for a run, and a row of sequence numbers for each partition, so
// that a batch that is sent twice is stored once.
import { isMillraceError, MillraceError } from '../errors.ts'
import type { CanonicalBatch } from '../kafka/batch.ts'
import type { Cluster, TopicPartition } from '../kafka/cluster.ts'
import type { SendBatch } from './replay.ts'

/** Sequence numbers are 31 bits wide and begin again at 0. */
const SEQUENCES = 2 ** 31

export class ReplayProducer {
  readonly #cluster: Cluster
  readonly #identity: { readonly producerId: number; readonly producerEpoch: number }

  private constructor(cluster: Cluster, identity: { producerId: number; producerEpoch: number }) {
    this.#cluster = cluster
    this.#identity = identity
  }

  /** Gets a producer id. Throws BROKER_ERROR, BROKER_UNREACHABLE. */
  static async open(cluster: Cluster): Promise<ReplayProducer> {
    return new ReplayProducer(cluster, await cluster.initProducerId())
  }

  /**
   * A sender for one partition, to be called for one batch after the other. It throws BROKER_ERROR or BROKER_UNREACHABLE
   * once the cluster has not taken a batch for half a minute; then it is not known whether that batch was stored.
   */
  sender(at: TopicPartition, firstSequence = 0): SendBatch {
    let baseSequence = firstSequence
    return async batch => {
      const { recordCount } = batch.header
      const wire = batch.withProducer({ ...this.#identity, baseSequence }).toWire()
      try {
        await this.#cluster.produceBatch(at, wire)
      } catch (cause) {
        throw explained(cause, batch)
      }
      baseSequence = nextSequence(baseSequence, recordCount)
    }
  }
}

/** As Kafka's DefaultRecordBatch.incrementSequence. */
export function nextSequence(sequence: number, records: number): number {
  return (sequence + records) % SEQUENCES
}

const hints: readonly [RegExp, string][] = [
  [/MESSAGE_TOO_LARGE/, "Raise the target topic's max.message.bytes, then replay what is left with --offsets."],
  [
    /INVALID_TIMESTAMP/,
    "The target topic's message.timestamp settings do not let these timestamps in: change them there."
  ],
  [/TOPIC_AUTHORIZATION_FAILED/, 'Replay needs the right to write to the target topic.']
]

function explained(cause: unknown, { header }: CanonicalBatch): unknown {
  if (!isMillraceError(cause, 'BROKER_ERROR')) return cause
  const hint = hints.find(([pattern]) => pattern.test(cause.message))?.[1]
  const message = `${cause.message}, for a batch of ${header.recordCount} records and ${header.sizeInBytes} bytes`
  return new MillraceError('BROKER_ERROR', message, { hint, cause, retriable: cause.retriable })
}
