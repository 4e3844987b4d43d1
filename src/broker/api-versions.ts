// ApiVersions: what a server offers, derived from its handlers.
import { responseChunks } from '../kafka/headers.ts'
import { KafkaError } from '../kafka/kafka-errors.ts'
import { apiVersions } from '../kafka/messages.ts'
import type { Handler } from './handler.ts'
import { handler } from './handler.ts'

export interface AdvertisedVersions {
  readonly apiKey: number
  readonly minVersion: number
  readonly maxVersion: number
}

/** What is said of each handler's API, by key. */
export function advertisedVersions(handlers: readonly Handler[]): AdvertisedVersions[] {
  return handlers
    .map(({ api, advertisedMin }) => ({ apiKey: api.key, minVersion: advertisedMin, maxVersion: api.versions[1] }))
    .sort((a, b) => a.apiKey - b.apiKey)
}

/** Says that these handlers are offered, and itself. */
export function apiVersionsHandler(others: readonly Handler[]): Handler {
  const self: Handler = handler(apiVersions, async () => ({ errorCode: KafkaError.NONE, apiKeys }))
  const apiKeys = advertisedVersions([...others, self])
  return self
}

/**
 * The answer to an ApiVersions request of a version that is not known: in version 0, which everybody reads, and with the range
 * that the client should try again with (KIP-511).
 */
export function unknownApiVersionsAnswer(correlationId: number): Buffer[] {
  const [minVersion, maxVersion] = apiVersions.versions
  const apiKeys = [{ apiKey: apiVersions.key, minVersion, maxVersion }]
  return responseChunks(apiVersions, 0, correlationId, { errorCode: KafkaError.UNSUPPORTED_VERSION, apiKeys })
}
