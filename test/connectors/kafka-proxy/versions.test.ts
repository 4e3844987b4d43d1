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

  test('Fetch ends before the answers that name addresses', () => {
    expect(theirs.get(1)).toEqual([4, 18])
    expect(ours.get(1)).toEqual([4, 15])
  })

  test('what would lead round the proxy is not there', () => {
    expect(theirs.has(55) && theirs.has(78)).toBe(true)
    const gone = [...theirs.keys()].filter(key => !ours.has(key))
    expect(gone.sort((a, b) => a - b)).toEqual(
      [55, 71, 72, 78, 79, 80, 81, 83, 84, 85, 86, 87].filter(key => theirs.has(key))
    )
  })

  test('everything else is as the broker has it, with its features', () => {
    for (const [key, range] of ours) if (key !== 1) expect(range, `api ${key}`).toEqual(theirs.get(key))
    const { apiKeys: _, ...rest } = offeredVersions(broker)
    const { apiKeys: __, ...theirRest } = broker
    expect(rest).toEqual(theirRest)
    expect(rest.supportedFeatures!.length).toBeGreaterThan(0)
  })

  test('a request in any offered version goes on', () => {
    for (const [key, [min, max]] of ours) {
      for (let version = Math.max(min!, key === 0 ? 3 : 0); version <= max!; version++) {
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
    ['an older one: Fetch', 1, [0, 11], [[0, 11]]],
    ['one that has nothing in common with our table', 3, [14, 15], []],
    ['one that has nothing in common with our Fetch', 1, [16, 18], []],
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
  [1, 16, false],
  [3, 14, false],
  [18, 5, false],
  [55, 0, false],
  [78, 1, false],
  [250, 77, true]
])('api %d version %d: %s', (key, version, expected) => {
  expect(isOffered(key, version)).toBe(expected)
})
