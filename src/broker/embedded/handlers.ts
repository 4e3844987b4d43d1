// The APIs by which the embedded broker's logs are written and its topics made.
import type { Handler } from '../handler.ts'
import { createPartitionsHandler, createTopicsHandler } from './create-topics.ts'
import { deleteTopicsHandler } from './delete-topics.ts'
import { describeConfigsHandler } from './describe-configs.ts'
import type { EmbeddedLogs } from './embedded-logs.ts'
import { initProducerIdHandler } from './init-producer-id.ts'
import { produceHandler } from './produce.ts'

/** All that changes the logs, and what describes their settings. */
export function embeddedHandlers(logs: EmbeddedLogs, maxDecompressedBytes?: number): Handler[] {
  return [
    produceHandler(logs, maxDecompressedBytes),
    initProducerIdHandler(logs),
    createTopicsHandler(logs),
    deleteTopicsHandler(logs),
    createPartitionsHandler(logs),
    describeConfigsHandler(logs)
  ]
}
