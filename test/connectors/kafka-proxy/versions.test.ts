// Which APIs the proxy offers, from what a real 4.3 broker says of itself.
import { describe, expect, test } from 'vitest'
import { isOffered, offeredVersions } from '../../../connectors/kafka-proxy/versions.ts'
import { apiVersions } from '../../../src/kafka/messages.ts'
import { frameFixture } from '../../fixtures/load.ts'

const { frame, version } = frameFixture('java-ApiVersions-v4-response')
const broker = apiVersions.response.decode(frame, version, 8)
const rangesOf = ({ apiKeys }: typeof broker) =>
  new Map(apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, [minVersion, maxVersion]]))
const theirs = rangesOf(broker)
const ours = rangesOf(offeredVersions(broker))

describe('of a real broker', () => {
  test('Produce keeps the 0 by which librdkafka knows the codecs', () => {
    expect(theirs.get(0)).toEqual([0, 13])
    expect(ours.get(0)).toEqual([0, 13])
  })

  test('what names brokers at its end is there', () => {
    expect([1, 78, 79].map(key => theirs.get(key))).toEqual([[4, 18], [1, 2], [1, 2]]) // biome-ignore format: one line
    for (const key of [1, 78, 79]) expect(ours.get(key)).toEqual(theirs.get(key))
  })

  test('what would lead round the proxy is not there', () => {
    expect(theirs.has(55)).toBe(true)
    const gone = [...theirs.keys()].filter(key => !ours.has(key))
    expect(gone.sort((a, b) => a - b)).toEqual([55, 71, 72, 80, 81, 83, 84, 85, 86, 87].filter(key => theirs.has(key)))
  })

  test('SaslHandshake keeps the 0 by which librdkafka knows that there is SASL', () => {
    expect(ours.get(17)).toEqual([0, 1])
    expect([isOffered(17, 0), isOffered(17, 1)]).toEqual([false, true])
  })

  test('everything else is as the broker has it, with its features', () => {
    for (const [key, range] of ours) expect(range, `api ${key}`).toEqual(theirs.get(key))
    const { apiKeys: _, ...rest } = offeredVersions(broker)
    const { apiKeys: __, ...theirRest } = broker
    expect(rest).toEqual(theirRest)
    expect(rest.supportedFeatures!.length).toBeGreaterThan(0)
  })

  test('a request in any offered version goes on', () => {
    for (const [key, [min, max]] of ours) {
      for (let version = Math.max(min!, key === 0 ? 3 : key === 17 ? 1 : 0); version <= max!; version++) {
        expect(isOffered(key, version), `${key} version ${version}`).toBe(true)
      }
    }
  })
})

describe('of other brokers', () => {
  const offered = (apiKey: number, minVersion: number, maxVersion: number) =>
    offeredVersions({ errorCode: 0, apiKeys: [{ apiKey, minVersion, maxVersion }] }).apiKeys

  test.each([
    ['a newer one: what is decoded ends where our table does', 3, [0, 14], [[0, 13]]],
    ['a newer one: Produce', 0, [0, 14], [[0, 13]]],
    ['an older one: Produce', 0, [0, 9], [[0, 9]]],
    ['one that does not offer the versions that it refuses: Produce', 0, [3, 13], [[0, 13]]],
    ['one that no longer speaks our lowest: Produce', 0, [4, 13], [[4, 13]]],
    ['one that has forgotten old versions: Metadata', 3, [5, 12], [[5, 12]]],
    ['an older one: Fetch', 1, [0, 11], [[0, 11]]],
    ['one that has nothing in common with our table', 3, [14, 15], []],
    ['a newer one: Fetch, whose end could lie elsewhere', 1, [4, 19], [[4, 18]]],
    ['one that has nothing in common with our Fetch', 1, [19, 20], []],
    ['a newer one: ShareFetch', 78, [1, 3], [[1, 2]]],
    ['an early one: ShareFetch, whose answers were others', 78, [0, 0], []],
    ['a newer one: an API that nobody knows yet', 250, [0, 3], [[0, 3]]],
    ['a newer one: a version of what passes undecoded', 9, [1, 99], [[1, 99]]]
  ])('%s', (_, key, [min, max], expected) => {
    expect(offered(key, min!, max!).map(({ minVersion, maxVersion }) => [minVersion, maxVersion])).toEqual(expected)
  })
})

test.each([
  [0, 2, false],
  [0, 13, true],
  [0, 14, false],
  [1, 0, true],
  [1, 18, true],
  [1, 19, false],
  [3, 14, false],
  [18, 5, false],
  [55, 0, false],
  [71, 0, false],
  [78, 0, false],
  [78, 1, true],
  [79, 3, false],
  [80, 0, false],
  [250, 77, true]
])('api %d version %d: %s', (key, version, expected) => {
  expect(isOffered(key, version)).toBe(expected)
})
