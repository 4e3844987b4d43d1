import { expect, test } from 'vitest'
import { ProducerStates } from '../../src/broker/embedded/producer-state.ts'
import { KafkaError } from '../../src/kafka/kafka-errors.ts'

const MAX = 2 ** 31 - 1

/** Producer epoch, base sequence and number of records of each batch. */
type Sent = readonly [epoch: number, sequence: number, count: number]

/** The states after some batches of producer 7, appended from offset 100 on. */
function after(...sent: readonly Sent[]): ProducerStates {
  const states = new ProducerStates()
  let next = 100
  for (const batch of sent) {
    expect(states.judge(sequenced(batch)), `the batch ${batch}`).toBeNull()
    states.add(sequenced(batch, next))
    next += batch[2]
  }
  return states
}

function sequenced([producerEpoch, baseSequence, count]: Sent, baseOffset = 0) {
  const lastOffset = baseOffset + count - 1
  return { producerId: 7, producerEpoch, baseSequence, baseOffset, lastOffset, maxTimestamp: 1_000 + baseOffset }
}

/** Null for a new batch, an offset for a repeat, the error code of a refusal. */
function verdict(states: ProducerStates, sent: Sent): null | { offset: number } | { error: number } {
  const judged = states.judge(sequenced(sent))
  if (judged === null) return null
  return 'errorCode' in judged ? { error: judged.errorCode } : { offset: judged.baseOffset }
}

const outOfOrder = { error: KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER }
const five: readonly Sent[] = [0, 1, 2, 3, 4].map((sequence): Sent => [0, sequence, 1])

// The rules of ProducerAppendInfo and ProducerStateEntry in apache/kafka.
test.each<{ what: string; before: readonly Sent[]; sent: Sent; expected: ReturnType<typeof verdict> }>([
  { what: 'an unknown producer begins at 0', before: [], sent: [0, 0, 3], expected: null },
  { what: 'an unknown producer may begin anywhere', before: [], sent: [4, 17, 3], expected: null },
  { what: 'the next sequence number', before: [[0, 0, 3]], sent: [0, 3, 1], expected: null },
  { what: 'a gap', before: [[0, 0, 3]], sent: [0, 4, 1], expected: outOfOrder },
  { what: 'the last batch again', before: [[0, 0, 3]], sent: [0, 0, 3], expected: { offset: 100 } },
  { what: 'the fifth last again', before: five, sent: [0, 0, 1], expected: { offset: 100 } },
  { what: 'the sixth last again', before: [...five, [0, 5, 1]], sent: [0, 0, 1], expected: outOfOrder },
  { what: 'a repeat of another length', before: [[0, 0, 3]], sent: [0, 0, 2], expected: outOfOrder },
  {
    what: 'an older epoch',
    before: [[2, 0, 1]],
    sent: [1, 1, 1],
    expected: { error: KafkaError.INVALID_PRODUCER_EPOCH }
  },
  { what: 'a new epoch from 0 on', before: [[0, 0, 3]], sent: [1, 0, 1], expected: null },
  { what: 'a new epoch that goes on', before: [[0, 0, 3]], sent: [1, 3, 1], expected: outOfOrder },
  {
    what: 'the first of the epoch before',
    before: [
      [0, 0, 1],
      [1, 0, 1]
    ],
    sent: [1, 0, 1],
    expected: { offset: 101 }
  },
  { what: 'the last number, then 0', before: [[0, MAX, 1]], sent: [0, 0, 1], expected: null },
  { what: 'a batch across the last number', before: [[0, MAX - 1, 4]], sent: [0, 2, 1], expected: null },
  { what: 'one across it again', before: [[0, MAX - 1, 4]], sent: [0, MAX - 1, 4], expected: { offset: 100 } },
  { what: '1 after the last number', before: [[0, MAX, 1]], sent: [0, 1, 1], expected: outOfOrder }
])('$what', ({ before, sent, expected }) => {
  expect(verdict(after(...before), sent)).toEqual(expected)
})

test('producers without an id are not remembered', () => {
  const states = new ProducerStates()
  const batch = { ...sequenced([-1, -1, 1]), producerId: -1 }
  states.add(batch)
  expect(states.judge(batch)).toBeNull()
})

test('what is taken back leaves no trace', () => {
  const states = after([0, 0, 1])
  const undos = [states.add(sequenced([0, 1, 1], 101)), states.add(sequenced([1, 0, 1], 102))]
  for (const undo of undos.reverse()) undo()
  expect(verdict(states, [0, 0, 1])).toEqual({ offset: 100 })
  expect(verdict(states, [0, 1, 1])).toBeNull()

  const unknown = new ProducerStates()
  unknown.add(sequenced([0, 5, 1]))()
  expect(verdict(unknown, [0, 9, 1])).toBeNull()
})

test('a producer is forgotten with the last of its batches', () => {
  const states = after([0, 0, 1], [0, 1, 1])
  states.forgetBelow(101)
  expect(verdict(states, [0, 5, 1])).toEqual(outOfOrder)
  states.forgetBelow(102)
  expect(verdict(states, [0, 5, 1])).toBeNull()
})
