// Requests and answers for the proxy's tests, made by the message tables, which test/kafka/messages.test.ts holds against
// recorded ones.

import type { Api, RequestOf, ResponseOf } from '../../../src/kafka/api.ts'
import { encodeBatch } from '../../../src/kafka/batch.ts'
import { requestFrame, responseBodyStart, responseFrame } from '../../../src/kafka/headers.ts'
import { produce } from '../../../src/kafka/messages.ts'

export interface ProduceOptions {
  readonly version?: number
  readonly correlationId?: number
  readonly acks?: number
  readonly timeoutMs?: number
  readonly transactionalId?: string | null
  /** Partitions by topic; a batch of two records goes to each. */
  readonly topics?: Readonly<Record<string, readonly number[]>>
  /** Topic ids by name, for version 13. */
  readonly ids?: Readonly<Record<string, string>>
  /** Bytes of the one value that is not small. */
  readonly size?: number
}

/** A Produce request, by default with acks=all for partition 0 of `orders`. */
export function produceFrame(options: ProduceOptions = {}): Buffer {
  const {
    version = 12,
    correlationId = 1,
    acks = -1,
    timeoutMs = 30_000,
    transactionalId = null,
    topics = { orders: [0] },
    ids = {},
    size = 10
  } = options
  const topicData = Object.entries(topics).map(([name, partitions]) => ({
    name,
    ...(name in ids && { topicId: ids[name]! }),
    partitionData: partitions.map(index => ({ index, records: twoRecords(`${name}/${index}`, size) }))
  }))
  const body = produce.request.encode({ transactionalId, acks, timeoutMs, topicData }, version)
  return requestFrame(produce, version, correlationId, 'test', body)
}

function twoRecords(name: string, size: number): Buffer {
  const values = [Buffer.from(name), Buffer.alloc(size, name)]
  return encodeBatch(values.map((value, offset) => ({ offset, timestamp: 1, key: null, value, headers: [] }))).toWire()
}

export function request<A extends Api>(api: A, version: number, correlationId: number, body: RequestOf<A>): Buffer {
  return requestFrame(api, version, correlationId, 'test', api.request.encode(body, version))
}

/** An answer to a request frame, in its version unless told. */
export function answerTo<A extends Api>(
  api: A,
  frame: Buffer,
  body: ResponseOf<A>,
  version = versionOf(frame)
): Buffer {
  return responseFrame(api, version, frame.readInt32BE(8), api.response.encode(body, version))
}

export interface Outcome {
  readonly topic: string
  readonly errorCode?: number
  readonly baseOffset?: number
}

/** The broker's answer to a Produce request for partition 0 of each topic. */
export const answerProduce = (frame: Buffer, outcomes: readonly Outcome[] = [{ topic: 'orders' }]): Buffer =>
  answerTo(produce, frame, {
    responses: outcomes.map(({ topic, errorCode = 0, baseOffset = 5 }) => ({
      name: topic,
      partitionResponses: [{ index: 0, errorCode, baseOffset }]
    }))
  })

/** Decodes an answer's body. */
export function read<A extends Api>(api: A, version: number, frame: Buffer): ResponseOf<A> {
  return api.response.decode(frame, version, responseBodyStart(frame, api, version)) as ResponseOf<A>
}

function versionOf(frame: Buffer): number {
  return frame.readInt16BE(6)
}
