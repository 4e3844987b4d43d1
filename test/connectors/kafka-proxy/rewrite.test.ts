// The addresses in answers of a real broker, in every version, become the proxy's; all else stays as it is.
import { describe, expect, test } from 'vitest'
import type { RewriteContext } from '../../../connectors/kafka-proxy/rewrite.ts'
import { isRewritten, rewrite } from '../../../connectors/kafka-proxy/rewrite.ts'
import { offeredVersions } from '../../../connectors/kafka-proxy/versions.ts'
import type { Address } from '../../../src/kafka/address.ts'
import type { Api } from '../../../src/kafka/api.ts'
import { responseFrame } from '../../../src/kafka/headers.ts'
import { apiVersions, describeCluster, findCoordinator, metadata } from '../../../src/kafka/messages.ts'
import { frameFixtures } from '../../fixtures/load.ts'
import { read } from './frames.ts'

const responses = frameFixtures().filter(({ side }) => side === 'response')
const of = (api: Api) => responses.filter(fixture => fixture.api === api)

/** Node n is offered at proxy.test:20000 + n, of one cluster; what was asked for is noted. */
function context(clusterId?: string | null) {
  const reconciled = new Map<number, Address>()
  const learned: unknown[] = []
  const value: RewriteContext = {
    nodes: {
      async reconcile(brokers) {
        for (const [id, address] of brokers) reconciled.set(id, address)
        return new Set(brokers.keys())
      },
      addressOf(nodeId) {
        expect(reconciled.has(nodeId), `node ${nodeId} is named before it has a listener`).toBe(true)
        return { host: 'proxy.test', port: 20_000 + nodeId }
      }
    },
    clusterId: clusterId ?? 'ours',
    broker: { host: '192.0.2.1', port: 9092 },
    onTopics: async topics => void learned.push(...topics)
  }
  return { value, reconciled, learned }
}

async function rewritten<A extends Api>(api: A, version: number, frame: Buffer, { value }: ReturnType<typeof context>) {
  const after = await rewrite(api.key, version, frame, value)
  expect(after.readInt32BE(0)).toBe(after.length - 4)
  expect(after.readInt32BE(4)).toBe(frame.readInt32BE(4))
  return read(api, version, after)
}

const ourPlace = { host: 'proxy.test', port: 20_001 }

test.each(of(metadata))('$name', async ({ version, frame }) => {
  const before = read(metadata, version, frame)
  const seen = context(before.clusterId)
  expect(before.brokers).toMatchObject([{ nodeId: 1, host: '127.0.0.1' }])
  const brokers = [{ ...before.brokers[0], ...ourPlace }]
  expect(await rewritten(metadata, version, frame, seen)).toEqual({ ...before, brokers })
  expect(seen.reconciled).toEqual(new Map([[1, { host: '127.0.0.1', port: before.brokers[0]!.port }]]))
  expect(seen.learned).toEqual(before.topics)
})

test.each(of(describeCluster))('$name', async ({ version, frame }) => {
  const before = read(describeCluster, version, frame)
  const seen = context(before.clusterId)
  const brokers = [{ ...before.brokers[0], ...ourPlace }]
  expect(await rewritten(describeCluster, version, frame, seen)).toEqual({ ...before, brokers })
  expect(seen.reconciled.size).toBe(1)
})

test.each([...of(metadata).filter(({ version }) => version >= 2), ...of(describeCluster)])(
  '$name of another cluster is not believed',
  async ({ api, version, frame }) => {
    const [key, named] =
      api === metadata
        ? [metadata.key, read(metadata, version, frame).clusterId]
        : [describeCluster.key, read(describeCluster, version, frame).clusterId]
    const seen = context()
    await expect(rewrite(key, version, frame, seen.value)).rejects.toMatchObject({
      code: 'BROKER_ERROR',
      message: `192.0.2.1:9092 is of the cluster ${named}, not of ours`
    })
    expect([seen.reconciled.size, seen.learned]).toEqual([0, []])
  }
)

test('an answer that names no cluster passes', async () => {
  for (const version of [0, 1, 2]) {
    const refused = { throttleTimeMs: 0, errorCode: 31, errorMessage: null, clusterId: '', brokers: [] }
    const frame = responseFrame(describeCluster, version, 1, describeCluster.response.encode(refused, version))
    expect(await rewritten(describeCluster, version, frame, context())).toMatchObject({ errorCode: 31, clusterId: '' })
  }
  const body = metadata.response.encode({ brokers: [], clusterId: null, topics: [] }, 12)
  const frame = responseFrame(metadata, 12, 1, body)
  expect(await rewritten(metadata, 12, frame, context())).toMatchObject({ clusterId: null })
})

describe.each(of(findCoordinator))('$name', ({ version, frame }) => {
  const before = read(findCoordinator, version, frame)

  test('names the proxy where there is a coordinator', async () => {
    const place = before.nodeId === -1 ? {} : ourPlace
    const places = version < 4 ? place : { coordinators: before.coordinators!.map(one => ({ ...one, ...ourPlace })) }
    expect(await rewritten(findCoordinator, version, frame, context())).toEqual({ ...before, ...places })
  })

  test('stays as it is where there is no coordinator', async () => {
    const nowhere = { nodeId: -1, host: '', port: -1, errorCode: 15 }
    const list = version < 4 ? nowhere : { coordinators: [{ ...before.coordinators![0]!, ...nowhere }] }
    const body = findCoordinator.response.encode({ ...before, ...list }, version)
    const error = responseFrame(findCoordinator, version, 9, body)
    expect(await rewrite(findCoordinator.key, version, error, context().value)).toEqual(error)
  })
})

test.each(of(apiVersions))('$name', async ({ version, frame }) => {
  const before = read(apiVersions, version, frame)
  expect(await rewritten(apiVersions, version, frame, context())).toEqual(offeredVersions(before))
})

test('the answer of a broker that does not know the version of ApiVersions passes as it is, in version 0', async () => {
  const body = apiVersions.response.encode(
    { errorCode: 35, apiKeys: [{ apiKey: 18, minVersion: 0, maxVersion: 2 }] },
    0
  )
  const frame = responseFrame(apiVersions, 0, 4, body)
  expect(await rewrite(apiVersions.key, 4, frame, context().value)).toEqual(frame)
})

test('a broker without an address keeps none', async () => {
  const value = { throttleTimeMs: 0, brokers: [{ nodeId: 3, host: '', port: -1, rack: null }], topics: [] }
  const frame = responseFrame(metadata, 8, 1, metadata.response.encode(value, 8))
  const seen = context()
  expect((await rewritten(metadata, 8, frame, seen)).brokers).toEqual(value.brokers)
})

test('nothing else is rewritten', () => {
  const keys = Array.from({ length: 100 }, (_, key) => key)
  expect(keys.filter(isRewritten)).toEqual([3, 10, 18, 60])
})
