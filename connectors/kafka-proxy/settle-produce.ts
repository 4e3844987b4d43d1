// What a producer is answered: the broker's answer, once all that it accepted is durable, or an error that makes the
// producer send again.

import type { SourceContext } from 'millrace/connect'
import { MillraceError, messageOf } from 'millrace/connect'
import type { ProduceRequest } from 'millrace/kafka'
import { messages, responseBodyStart, responseFrame, scanProduceAnswer } from 'millrace/kafka'
import type { Accepted, ProduceAnswer } from './capture.ts'
import { acceptedBatches, acceptedTopics, wantsCapture, withdrawn, withdrawnUnnamed } from './capture.ts'
import type { ProxyFigures } from './metrics.ts'
import type { Exchange } from './outbox.ts'
import type { NodeMap } from './rewrite.ts'
import { relocate } from './rewrite.ts'
import type { TopicIds, TopicSelection } from './topics.ts'

export interface SettleContext {
  readonly source: SourceContext
  readonly nodes: NodeMap
  readonly ids: TopicIds
  readonly selection: TopicSelection
  readonly figures: ProxyFigures
  /** The broker's; -1 for one that was reached by the bootstrap listener. */
  readonly nodeId: number
  /** Topics, by name or id, of which something was let through without being captured. */
  readonly passed: Set<string>
}

/** An answer is given up so long after its request that the producer hears an error rather than times out. */
const HOLD_SHARE_OF_TIMEOUT = 2 / 3
/** But not sooner than this after it came: no producer waits for less, though its request may say 0, which brokers do not heed. */
const LEAST_HOLD_MS = 1_000
/** With `capture.on.failure: pass` a disk that hangs holds up producers no longer than this. A choice, not a measurement. */
const PASS_AFTER_MS = 1_000

/**
 * Takes the broker's answer frame and gives the one for the client, untouched where nothing has to be changed. Calls `onCopied`
 * when the request's bytes are not used any more. Throws WIRE_CORRUPT for an answer that cannot be read.
 */
export async function settleProduce(
  { produce: request, version, sentAt }: Exchange & { produce: ProduceRequest },
  frame: Buffer,
  { source, ids, selection, nodes, figures, nodeId, passed }: SettleContext,
  onCopied: () => void
): Promise<Buffer> {
  const outcome = scanProduceAnswer(frame, version)
  if (!outcome.namesBrokers && !wantsCapture(request, ids, selection)) {
    onCopied()
    figures.produced.answered += 1
    return frame
  }
  let changed: ProduceAnswer | null = null
  const began = performance.now()
  figures.holding += 1
  const passes = source.onCaptureFailure === 'pass'
  const leftMs = sentAt + request.timeoutMs * HOLD_SHARE_OF_TIMEOUT - began
  const holdMs = passes ? PASS_AFTER_MS : Math.max(leftMs, LEAST_HOLD_MS)
  try {
    const capture = async () => {
      const { batches, unnamed } = await acceptedBatches(request, outcome, source.clusterId, ids, selection, {
        at: sentAt,
        to: nodeId
      })
      const captured = batches.length > 0 && source.capture(batches)
      onCopied()
      await captured
      return unnamed
    }
    const unnamed = await within(capture(), holdMs)
    if (unnamed.size === 0) figures.produced.answered += 1
    else if (passes) {
      letPass([...unnamed.keys()], [...unnamed.values()][0], { source, passed })
      figures.produced.passed += 1
    } else {
      changed = refuseUnnamed(decoded(frame, version), unnamed, source)
      figures.produced.withdrawn += 1
    }
  } catch (error) {
    if (passes) {
      letPass(acceptedTopics(outcome, ids, selection), error, { source, passed })
      figures.produced.passed += 1
    } else {
      source.logger.error(
        { err: error },
        'batches were accepted by the broker but not captured; the producer is told to retry'
      )
      figures.produced.withdrawn += 1
      changed = withdrawn(decoded(frame, version), `millrace: ${messageOf(error)}`, ids, selection)
    }
  }
  figures.holding -= 1
  figures.held((performance.now() - began) / 1000)
  if (outcome.namesBrokers) {
    changed ??= decoded(frame, version)
    changed = { ...changed, nodeEndpoints: await relocate(changed.nodeEndpoints ?? [], node => node.nodeId, nodes) }
  }
  return changed === null ? frame : produceFrame(version, frame.readInt32BE(4), changed)
}

/** Remembers the topics of a request with acks=0; none that nobody knows, of which there is no end. */
export function notePassed({ batches }: ProduceRequest, { ids, passed }: Pick<SettleContext, 'ids' | 'passed'>): void {
  for (const { topic, topicId } of batches) if (ids.knows(topic ?? topicId!)) passed.add(topic ?? topicId!)
}

/** Remembers topics of which the broker accepted something, so that they exist; the log tells of each once, requests are many. */
function letPass(
  topics: readonly string[],
  err: unknown,
  { source: { logger }, passed }: Pick<SettleContext, 'source' | 'passed'>
): void {
  const level = topics.every(topic => passed.has(topic)) ? 'debug' : 'warn'
  logger[level]({ err, topics }, 'batches were accepted by the broker but not captured; they are fetched later')
  for (const topic of topics) passed.add(topic)
}

/** What a producer is told of topics that the broker took batches for, and that cannot be captured. */
function refuseUnnamed(answer: ProduceAnswer, unnamed: Accepted['unnamed'], { logger }: SourceContext): ProduceAnswer {
  const [[topic, err]] = [...unnamed] as [[string, unknown]]
  logger.error(
    { err, topics: [...unnamed.keys()] },
    'batches were accepted by the broker and cannot be captured; the producer is told to retry'
  )
  return withdrawnUnnamed(answer, `millrace: ${topic}: ${messageOf(err)}`, unnamed)
}

function decoded(frame: Buffer, version: number): ProduceAnswer {
  const { produce } = messages
  return produce.response.decode(frame, version, responseBodyStart(frame, produce, version))
}

/** The frame of a Produce answer. */
export function produceFrame(version: number, correlationId: number, answer: ProduceAnswer): Buffer {
  const { produce } = messages
  return responseFrame(produce, version, correlationId, produce.response.encode(answer, version))
}

/** Waits for `work`, but no longer than `ms`. */
function within<T>(work: Promise<T>, ms: number): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const timer = setTimeout(() => reject(new MillraceError('TIMEOUT', `not durable after ${Math.round(ms)} ms`)), ms)
  work.then(resolve, reject).then(() => clearTimeout(timer))
  return promise
}
