// Which APIs and versions the proxy offers: for what it decodes, what both it and the broker know; else the broker's own.

import type { Api, ResponseOf } from 'millrace/kafka'
import { messages, saslHandshake } from 'millrace/kafka'

/** The APIs whose requests or responses are decoded here. */
const decoded: ReadonlyMap<number, Api> = new Map<number, Api>(
  [
    messages.produce,
    messages.metadata,
    messages.findCoordinator,
    messages.apiVersions,
    messages.describeCluster,
    messages.shareFetch,
    messages.shareAcknowledge
  ].map(api => [api.key, api])
)

/**
 * Fetch answers are walked through from version 16 on, where they may name brokers (KIP-951): a version that we do not know
 * could not be. Below, they pass, so that the table's lowest version does not matter.
 */
const FETCH = messages.fetch.key
const FETCH_MAX = messages.fetch.versions[1]

/**
 * Not offered: what would lead a client round the proxy (DescribeQuorum 55 names the controllers, which have no listener
 * here), what would report the proxy's connection as the client's (telemetry 71, 72), and what belongs between brokers and
 * controllers (80, 81, 83 to 87).
 */
const hidden = new Set([55, 71, 72, 80, 81, 83, 84, 85, 86, 87])

/**
 * Whether a request may go on to the broker. A client that read our ApiVersions answer and takes the highest version never gets
 * false. SaslHandshake 0 stays in that answer, since librdkafka uses SASL only where it is, but is followed by tokens outside of
 * Kafka's frames.
 */
export function isOffered(key: number, version: number): boolean {
  if (hidden.has(key) || (key === saslHandshake.key && version === 0)) return false
  if (key === FETCH) return version <= FETCH_MAX
  const api = decoded.get(key)
  return api === undefined || (version >= api.versions[0] && version <= api.versions[1])
}

/**
 * librdkafka up to 2.11 compresses only where Produce 0 is offered, so brokers offer it though they refuse it (KAFKA-18659);
 * for those that do not it is said here. No client picks a version that low.
 */
function lowestProduce({ minVersion }: { minVersion: number }): number {
  return minVersion <= messages.produce.versions[0] ? 0 : minVersion
}

/** Narrows the broker's answer to what is offered here; everything else in it stays. */
export function offeredVersions(
  answer: ResponseOf<typeof messages.apiVersions>
): ResponseOf<typeof messages.apiVersions> {
  const apiKeys = answer.apiKeys
    .filter(({ apiKey }) => !hidden.has(apiKey))
    .map(offered => {
      const api = decoded.get(offered.apiKey)
      const [min, max] = api?.versions ?? [0, offered.apiKey === FETCH ? FETCH_MAX : offered.maxVersion]
      return {
        ...offered,
        minVersion:
          offered.apiKey === messages.produce.key ? lowestProduce(offered) : Math.max(offered.minVersion, min),
        maxVersion: Math.min(offered.maxVersion, max)
      }
    })
    .filter(({ minVersion, maxVersion }) => minVersion <= maxVersion)
  return { ...answer, apiKeys }
}
