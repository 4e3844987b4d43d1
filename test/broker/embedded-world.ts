// What the tests of the embedded logs share: batches as producers send them, and calls that go through the wire format.
import { setTimeout as delay } from 'node:timers/promises'
import type { EmbeddedLogs } from '../../src/broker/embedded/embedded-logs.ts'
import { embeddedHandlers } from '../../src/broker/embedded/handlers.ts'
import type { Appended, EmbeddedPartition } from '../../src/broker/embedded/partition.ts'
import { isRefusal } from '../../src/broker/embedded/refusal.ts'
import type { RequestContext } from '../../src/broker/handler.ts'
import type { Api, RequestOf, ResponseOf } from '../../src/kafka/api.ts'
import type { EncodeOptions } from '../../src/kafka/batch.ts'
import { CanonicalBatch, encodeBatch } from '../../src/kafka/batch.ts'

export interface ProducedOptions extends EncodeOptions {
  /** Of the first record; the others follow a millisecond apart. */
  readonly timestamp?: number
}

/** A batch with these values, base offset 0, as a producer sends it. */
export function produced(values: readonly string[], { timestamp = 1_000, ...options }: ProducedOptions = {}) {
  const records = values.map((value, offset) => ({
    offset,
    timestamp: timestamp + offset,
    key: null,
    value: Buffer.from(value),
    headers: []
  }))
  return encodeBatch(records, options)
}

/** One of an idempotent producer. */
export function sequenced(producerId: number, baseSequence: number, values: readonly string[], producerEpoch = 0) {
  return produced(values, { producerId, producerEpoch, baseSequence })
}

/** Appends what is not refused. */
export async function appended(partition: EmbeddedPartition, batch: CanonicalBatch): Promise<Appended> {
  const outcome = partition.append(batch)
  if (isRefusal(outcome)) throw new Error(outcome.errorMessage)
  return outcome
}

/** All batches of a log, by many reads of some bytes. */
export async function wholeLog(partition: EmbeddedPartition, maxBytes = 1_000_000): Promise<CanonicalBatch[]> {
  const batches: CanonicalBatch[] = []
  for (let offset = partition.startOffset; offset < partition.highWatermark; ) {
    const read = await partition.read(offset, { upTo: Number.MAX_SAFE_INTEGER, maxBytes })
    if (read.length === 0) throw new Error(`nothing at ${offset}, below ${partition.highWatermark}`)
    batches.push(...read.map(wire => CanonicalBatch.fromWire(wire).batch))
    offset = batches.at(-1)!.header.lastOffset + 1
    await delay(0) // a log of many reads would hold up everything else
  }
  return batches
}

/** The values of all records, by offset. */
export function valuesOf(batches: readonly CanonicalBatch[]): Map<number, string> {
  return new Map(batches.flatMap(batch => [...batch.records()].map(({ offset, value }) => [offset, String(value)])))
}

/** Calls the handler of an API; request and answer go through the wire format of that version. */
export function caller(logs: EmbeddedLogs, maxDecompressedBytes?: number) {
  const handlers = new Map(embeddedHandlers(logs, maxDecompressedBytes).map(handler => [handler.api.key, handler]))
  return async <A extends Api>(
    api: A,
    request: RequestOf<A>,
    version = api.versions[1]
  ): Promise<ResponseOf<A> | null> => {
    const { signal } = new AbortController()
    const context: RequestContext = {
      version,
      clientId: 'test',
      clientHost: '/127.0.0.1',
      advertised: { host: '127.0.0.1', port: 9092 },
      signal
    }
    const sent = api.request.decode(api.request.encode(request, version), version)
    const answer = await handlers.get(api.key)!.handle(sent, context)
    return answer === null
      ? null
      : (api.response.decode(api.response.encode(answer, version), version) as ResponseOf<A>)
  }
}
