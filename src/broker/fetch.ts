// Fetch: record batches from given offsets on, at once or as soon as there are enough. Fetch sessions (KIP-227) are not kept:
// every answer says so, and then clients ask in full each time.
import type { RequestOf, ResponseOf } from '../kafka/api.ts'
import { KafkaError } from '../kafka/kafka-errors.ts'
import { fetch } from '../kafka/messages.ts'
import type { PartitionRead } from './fetch-partition.ts'
import { fetchFailure, readPartition } from './fetch-partition.ts'
import type { Handler, ReportError } from './handler.ts'
import { handler } from './handler.ts'
import type { LogStore, PartitionLog } from './log-store.ts'

type FetchRequest = RequestOf<typeof fetch>

/** As Kafka's fetch.max.bytes. */
const MAX_BYTES = 55 * 1024 * 1024

/** What one look at everything that was asked for gave. */
interface Pass {
  readonly topics: { topic: string; topicId: string; partitions: PartitionRead[] }[]
  readonly watched: { log: PartitionLog; highWatermark: number }[]
  bytes: number
  failed: boolean
}

/**
 * Reads from the logs of a store. What reading throws is reported, and answered as a storage error. librdkafka fetches only
 * from servers that offer Produce 3 too (its feature MsgVer2), even where all they do with it is to refuse.
 */
export function fetchHandler(store: LogStore, { onError }: { onError: ReportError }): Handler {
  return handler(fetch, async (request, { version, signal }) => {
    if ((request.sessionEpoch ?? 0) > 0) return { errorCode: KafkaError.FETCH_SESSION_ID_NOT_FOUND, responses: [] }
    const maxBytes = Math.min(request.maxBytes ?? MAX_BYTES, MAX_BYTES)
    const minBytes = Math.min(request.minBytes, maxBytes)
    const deadline = performance.now() + request.maxWaitMs
    while (!signal.aborted) {
      const pass = await look(request, version, maxBytes)
      const left = deadline - performance.now()
      if (pass.failed || pass.bytes >= minBytes || pass.watched.length === 0 || left <= 0) return answer(pass)
      await firstChange(pass.watched, left, signal)
    }
    return { responses: [] }
  })

  async function look({ topics, isolationLevel = 0 }: FetchRequest, version: number, maxBytes: number): Promise<Pass> {
    const pass: Pass = { topics: [], watched: [], bytes: 0, failed: false }
    for (const { topic: name = '', topicId = '', partitions } of topics) {
      const topic = version < 13 ? await store.topic(name) : await store.topicById(topicId)
      const missing = version < 13 || topic ? KafkaError.UNKNOWN_TOPIC_OR_PARTITION : KafkaError.UNKNOWN_TOPIC_ID
      const reads: PartitionRead[] = []
      for (const asked of partitions) {
        const log = topic?.partitions[asked.partition]
        const limits = { maxBytes: maxBytes - pass.bytes, atLeastOne: pass.bytes === 0 }
        const report = (error: unknown) => onError(error, `Fetch of ${topic?.name}-${asked.partition}`)
        const read = log
          ? await readPartition(log, asked, isolationLevel, limits, report)
          : fetchFailure(asked.partition, missing)
        // As it was before reading, so that nothing that came meanwhile is slept over.
        if (log !== undefined) pass.watched.push({ log, highWatermark: read.answer.highWatermark })
        reads.push(read)
        pass.bytes += read.bytes
        pass.failed ||= read.answer.errorCode !== KafkaError.NONE
      }
      pass.topics.push({ topic: name, topicId, partitions: reads })
    }
    return pass
  }
}

function answer({ topics }: Pass): ResponseOf<typeof fetch> {
  return {
    responses: topics.map(({ topic, topicId, partitions }) => ({
      topic,
      topicId,
      partitions: partitions.map(({ answer, batches }) => ({
        ...answer,
        records: batches.length === 1 ? batches[0]! : Buffer.concat(batches)
      }))
    }))
  }
}

/** Resolves when one of the logs has changed, the time is over, or nobody waits any more. */
async function firstChange(watched: Pass['watched'], timeoutMs: number, signal: AbortSignal): Promise<void> {
  const done = new AbortController()
  const stop = () => done.abort()
  const timer = setTimeout(stop, timeoutMs)
  signal.addEventListener('abort', stop)
  try {
    await Promise.race(watched.map(({ log, highWatermark }) => log.changed(highWatermark, done.signal)))
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
    stop()
  }
}
