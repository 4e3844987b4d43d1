// Requests that real clients sent to a real broker, sent to our server: it must answer as that broker did.
import { expect, test } from 'vitest'
import { advertisedVersions, apiVersionsHandler } from '../../src/broker/api-versions.ts'
import { fetchHandler } from '../../src/broker/fetch.ts'
import { findCoordinatorHandler } from '../../src/broker/find-coordinator.ts'
import { listOffsetsHandler } from '../../src/broker/list-offsets.ts'
import { describeClusterHandler, metadataHandler } from '../../src/broker/metadata.ts'
import type { Api, ResponseOf } from '../../src/kafka/api.ts'
import { Connection } from '../../src/kafka/connection.ts'
import { responseBodyStart } from '../../src/kafka/headers.ts'
import { apiVersions, fetch, metadata } from '../../src/kafka/messages.ts'
import type { FrameFixture } from '../fixtures/load.ts'
import { frameFixture, frameFixtures } from '../fixtures/load.ts'
import { MemoryLog, MemoryStore } from './memory-store.ts'
import { rawClient, startReader } from './start.ts'

/** Where the recorded broker was. */
const recordedMetadata = answerIn(metadata, 'java-Metadata-v13-response')
const { host, port } = recordedMetadata.brokers[0]!
const advertised = { host, port }

const asked = ['Metadata', 'DescribeCluster', 'FindCoordinator', 'ListOffsets', 'Fetch']
/** One asks for all topics of the recorded broker, the other for a transaction coordinator that was not up yet. */
const others = ['kafkajs-Metadata-v6-request', 'kafkajs-FindCoordinator-v2-request']
/** `elsewhere-…`: a node answered that did not lead the partition. Ours leads them all. */
const requests = frameFixtures().filter(
  ({ name, side, api }) =>
    side === 'request' && asked.includes(api.name) && !name.startsWith('elsewhere-') && !others.includes(name)
)

test.each(requests)('$name', async ({ name, frame }) => {
  const { address } = await startReader(recordedStore(), { advertised })
  const client = await rawClient(address)
  client.send(frame)
  const [answer] = await client.received(1)
  const real = frameFixture(name.replace('-request', '-response'))
  // The recording does not keep the pairs' correlation ids together.
  answer!.writeInt32BE(real.frame.readInt32BE(4), 4)
  expect(decoded(real, answer!)).toEqual(decoded(real, real.frame))
  if (/^millrace-(Fetch|ListOffsets)/.test(name)) expect(answer).toEqual(real.frame)
})

test('each API is offered from the version on that the broker offers it from', async () => {
  const { address } = await startReader(recordedStore())
  using connection = await Connection.open(address, 'test')
  const offered = (await connection.request(apiVersions, { clientSoftwareName: 'test', clientSoftwareVersion: '0' }))
    .apiKeys
  const real = frameFixture('java-ApiVersions-v4-response')
  const answer = real.api.response.decode(real.frame, 4, 8) as ResponseOf<typeof apiVersions>
  expect(offered.map(({ apiKey }) => apiKey)).toEqual([1, 2, 3, 10, 18, 60])
  for (const one of offered) {
    expect(one).toEqual(answer.apiKeys.find(({ apiKey }) => apiKey === one.apiKey))
  }
})

test('advertised versions are those of the handlers', () => {
  const store = new MemoryStore()
  const onError = () => undefined
  const all = [
    describeClusterHandler(store),
    fetchHandler(store, { onError }),
    apiVersionsHandler([]),
    listOffsetsHandler(store, { onError }),
    findCoordinatorHandler({ groups: false }),
    metadataHandler(store)
  ]
  expect(advertisedVersions(all)).toEqual([
    { apiKey: 1, minVersion: 4, maxVersion: 18 },
    { apiKey: 2, minVersion: 1, maxVersion: 11 },
    { apiKey: 3, minVersion: 0, maxVersion: 13 },
    { apiKey: 10, minVersion: 0, maxVersion: 6 },
    { apiKey: 18, minVersion: 0, maxVersion: 4 },
    { apiKey: 60, minVersion: 0, maxVersion: 2 }
  ])
})

/** The topics of the recorded requests, with the logs that were fetched from them. */
function recordedStore(): MemoryStore {
  const store = new MemoryStore()
  store.clusterId = recordedMetadata.clusterId!
  const javaId = fetched('java-Fetch-v18-response').topicId!
  store.add('java-none', javaId, [logOf('java-Fetch-v18-response')])
  store.add('kafkajs-none', 'AAAAAAAAAAAAAAAAAAAAAQ', [logOf('kafkajs-Fetch-v11-response')])
  store.add('librdkafka-none', 'AAAAAAAAAAAAAAAAAAAAAg', [logOf('librdkafka-Fetch-v11-response')])
  // Producers asked about other topics: librdkafka in a version that has no ids yet.
  const [java] = recordedMetadata.topics
  const [librdkafka] = answerIn(metadata, 'librdkafka-Metadata-v4-response').topics
  store.add(java!.name!, java!.topicId!)
  store.add(librdkafka!.name!, 'AAAAAAAAAAAAAAAAAAAAAw')
  return store
}

function logOf(name: string): MemoryLog {
  return new MemoryLog().take(fetched(name).partitions[0]!.records!)
}

function fetched(name: string): ResponseOf<typeof fetch>['responses'][number] {
  return answerIn(fetch, name).responses[0]!
}

function answerIn<A extends Api>(api: A, name: string): ResponseOf<A> {
  const { frame, version } = frameFixture(name)
  return api.response.decode(frame, version, responseBodyStart(frame, api, version)) as ResponseOf<A>
}

/** An answer without what we answer otherwise on purpose: no rack, no message where there is no error, no fetch session. */
function decoded({ api, version }: FrameFixture, frame: Buffer): unknown {
  const answer = api.response.decode(frame, version, responseBodyStart(frame, api, version))
  const others: Record<string, unknown> = { rack: null, errorMessage: null, sessionId: 0 }
  return JSON.parse(JSON.stringify(answer, (key, value) => (key in others ? others[key] : value)))
}
