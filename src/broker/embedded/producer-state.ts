// What a partition remembers of idempotent producers, so that a batch that is sent again is not appended again.
// Source: ProducerStateEntry and ProducerAppendInfo in apache/kafka (storage/internals/log).
import type { BatchHeader } from '../../kafka/batch.ts'
import { KafkaError } from '../../kafka/kafka-errors.ts'
import type { Refusal } from './refusal.ts'
import { refusal } from './refusal.ts'

/** As many batches of a producer are known again (ProducerStateEntry.NUM_BATCHES_TO_RETAIN); a client has no more in flight. */
const REMEMBERED_BATCHES = 5
const MAX_SEQUENCE = 0x7fffffff

export interface RememberedBatch {
  readonly baseSequence: number
  readonly lastSequence: number
  readonly baseOffset: number
  readonly lastOffset: number
  readonly maxTimestamp: number
}

/** Never changed, so that an undo can put it back. */
interface Producer {
  readonly epoch: number
  /** Of this epoch, oldest first; one or more. */
  readonly batches: readonly RememberedBatch[]
}

type Sequenced = Pick<
  BatchHeader,
  'producerId' | 'producerEpoch' | 'baseSequence' | 'baseOffset' | 'lastOffset' | 'maxTimestamp'
>

export class ProducerStates {
  readonly #producers = new Map<number, Producer>()

  /** Null when the batch is to be appended; the original when it is a repeat of one of the last five; else why it is refused. */
  judge(batch: Sequenced): RememberedBatch | Refusal | null {
    const { producerId, producerEpoch, baseSequence } = batch
    const producer = this.#producers.get(producerId)
    // Of an unknown producer all may have been deleted: it goes on with any sequence number.
    if (producerId < 0 || producer === undefined) return null
    const { epoch, batches } = producer
    if (producerEpoch < epoch) {
      return refusal(
        KafkaError.INVALID_PRODUCER_EPOCH,
        `producer ${producerId} comes with epoch ${producerEpoch}, after epoch ${epoch}`
      )
    }
    if (producerEpoch > epoch)
      return baseSequence === 0 ? null : outOfOrder(batch, `first of epoch ${producerEpoch}`, 0)
    const lastSequence = lastSequenceOf(batch)
    const original = batches.find(known => known.baseSequence === baseSequence && known.lastSequence === lastSequence)
    if (original !== undefined) return original
    const next = sequenceAfter(batches.at(-1)!.lastSequence, 1)
    return baseSequence === next ? null : outOfOrder(batch, 'next', next)
  }

  /** Takes note of an appended batch, by the offsets that it got. Returns what takes the note back; the latest first. */
  add(batch: Sequenced): () => void {
    const { producerId, producerEpoch, baseSequence, baseOffset, lastOffset, maxTimestamp } = batch
    if (producerId < 0) return () => undefined
    const before = this.#producers.get(producerId)
    const earlier = before?.epoch === producerEpoch ? before.batches.slice(1 - REMEMBERED_BATCHES) : []
    const lastSequence = lastSequenceOf(batch)
    const added = { baseSequence, lastSequence, baseOffset, lastOffset, maxTimestamp }
    this.#producers.set(producerId, { epoch: producerEpoch, batches: [...earlier, added] })
    return () => {
      if (before === undefined) this.#producers.delete(producerId)
      else this.#producers.set(producerId, before)
    }
  }

  /** Forgets the producers of which nothing lies at or above the offset, as a restart would. */
  forgetBelow(offset: number): void {
    for (const [producerId, { batches }] of this.#producers) {
      if (batches.at(-1)!.lastOffset < offset) this.#producers.delete(producerId)
    }
  }
}

function lastSequenceOf({ baseSequence, baseOffset, lastOffset }: Sequenced): number {
  return sequenceAfter(baseSequence, lastOffset - baseOffset)
}

/** Sequence numbers begin again at 0 behind 2^31-1. */
function sequenceAfter(sequence: number, count: number): number {
  return (sequence + count) % (MAX_SEQUENCE + 1)
}

function outOfOrder({ producerId, baseSequence }: Sequenced, what: string, expected: number): Refusal {
  return refusal(
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    `producer ${producerId} sent sequence number ${baseSequence}, ${what} is ${expected}`
  )
}
