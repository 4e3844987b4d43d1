import { afterAll, beforeAll, expect, test } from 'vitest'
import { EmbeddedLogs } from '../../src/broker/embedded/embedded-logs.ts'
import { embeddedHandlers } from '../../src/broker/embedded/handlers.ts'
import { topicConfigs } from '../../src/broker/embedded/topic-configs.ts'
import type { RequestOf } from '../../src/kafka/api.ts'
import { KafkaError } from '../../src/kafka/kafka-errors.ts'
import { apiVersions } from '../../src/kafka/messages.ts'
import { createPartitions, createTopics, deleteTopics, describeConfigs } from '../../src/kafka/messages-admin.ts'
import { restoredTopicSettings } from '../../src/replay/target.ts'
import { frameFixture } from '../fixtures/load.ts'
import { tempFolder } from '../support/temp.ts'
import { caller } from './embedded-world.ts'

let folder: Awaited<ReturnType<typeof tempFolder>>
let logs: EmbeddedLogs
let call: ReturnType<typeof caller>
beforeAll(async () => {
  folder = await tempFolder('broker')
  logs = await EmbeddedLogs.open({ directory: folder.path, maxBytes: 1024 ** 3 })
  call = caller(logs)
  logs.createTopic('taken', 2, {})
})
afterAll(async () => {
  await logs[Symbol.asyncDispose]()
  await folder.dispose()
})

type NewTopic = RequestOf<typeof createTopics>['topics'][number]

let names = 0
const newTopic = (given: Partial<NewTopic> = {}): NewTopic => ({
  name: `topic-${names++}`,
  numPartitions: 3,
  replicationFactor: 1,
  assignments: [],
  configs: [],
  ...given
})

async function create(topics: readonly NewTopic[], { version = 7, validateOnly = false } = {}) {
  const answer = await call(createTopics, { topics: [...topics], timeoutMs: 1000, validateOnly }, version)
  return answer!.topics
}

const configs = (settings: Readonly<Record<string, string>>) =>
  Object.entries(settings).map(([name, value]) => ({ name, value }))

test('what is offered has the lowest and highest versions of a real broker', () => {
  const { frame } = frameFixture('millrace-ApiVersions-v4-response')
  const brokers = apiVersions.response.decode(frame, 4, 8).apiKeys
  for (const { api, advertisedMin } of embeddedHandlers(logs)) {
    const theirs = brokers.find(({ apiKey }) => apiKey === api.key)
    expect({ apiKey: api.key, minVersion: advertisedMin, maxVersion: api.versions[1] }).toEqual(theirs)
  }
})

test.each([2, 4, 5, 7])('CreateTopics %i makes a topic', async version => {
  const topic = newTopic({ configs: configs({ 'message.timestamp.type': 'LogAppendTime' }) })
  const [made] = await create([topic], { version })
  expect(made).toMatchObject({ name: topic.name, errorCode: 0, errorMessage: null })
  const stored = logs.find(topic.name)!
  expect(stored.partitions).toHaveLength(3)
  expect(stored.settings).toEqual({ 'message.timestamp.type': 'LogAppendTime' })
  if (version >= 5) expect(made).toMatchObject({ numPartitions: 3, replicationFactor: 1 })
  if (version >= 7) expect(made!.topicId).toBe(stored.topicId)
  if (version >= 5) {
    expect(made!.configs).toContainEqual(
      expect.objectContaining({ name: 'message.timestamp.type', value: 'LogAppendTime', configSource: 1 })
    )
  }
})

test('the defaults are one partition and one replica', async () => {
  const topic = newTopic({ numPartitions: -1, replicationFactor: -1 })
  expect(await create([topic])).toMatchObject([{ errorCode: 0, numPartitions: 1, replicationFactor: 1 }])
})

test('the settings of a topic that a replay makes are taken', async () => {
  expect(await create([newTopic({ configs: configs(restoredTopicSettings) })])).toMatchObject([{ errorCode: 0 }])
})

test('validateOnly makes nothing', async () => {
  const topic = newTopic()
  expect(await create([topic], { validateOnly: true })).toMatchObject([{ errorCode: 0, numPartitions: 3 }])
  expect(logs.find(topic.name)).toBeUndefined()
})

test.each<{ given: Partial<NewTopic>; error: keyof typeof KafkaError; message: RegExp }>([
  { given: { name: 'taken' }, error: 'TOPIC_ALREADY_EXISTS', message: /'taken' already exists/ },
  { given: { name: '' }, error: 'INVALID_TOPIC_EXCEPTION', message: /empty/ },
  { given: { name: '..' }, error: 'INVALID_TOPIC_EXCEPTION', message: /not allowed/ },
  { given: { name: 'a b' }, error: 'INVALID_TOPIC_EXCEPTION', message: /other characters/ },
  { given: { name: 'x'.repeat(250) }, error: 'INVALID_TOPIC_EXCEPTION', message: /longer than 249/ },
  { given: { numPartitions: 0 }, error: 'INVALID_PARTITIONS', message: /got 0/ },
  { given: { numPartitions: 1001 }, error: 'INVALID_PARTITIONS', message: /1 to 1000/ },
  { given: { replicationFactor: 3 }, error: 'INVALID_REPLICATION_FACTOR', message: /only be 1/ },
  {
    given: { assignments: [{ partitionIndex: 0, brokerIds: [1] }] },
    error: 'INVALID_REPLICA_ASSIGNMENT',
    message: /one node/
  },
  {
    given: { configs: configs({ 'segment.bytes': '1' }) },
    error: 'INVALID_CONFIG',
    message: /segment\.bytes.*max\.message\.bytes/
  },
  { given: { configs: configs({ toString: '1' }) }, error: 'INVALID_CONFIG', message: /toString/ },
  {
    given: { configs: configs({ 'cleanup.policy': 'compact' }) },
    error: 'INVALID_CONFIG',
    message: /cleanup\.policy.*delete.*compact/
  },
  {
    given: { configs: configs({ 'max.message.bytes': '2147483648' }) },
    error: 'INVALID_CONFIG',
    message: /2147483648/
  },
  { given: { configs: [{ name: 'retention.ms', value: null }] }, error: 'INVALID_CONFIG', message: /retention\.ms.*-1/ }
])('CreateTopics refuses $given with $error', async ({ given, error, message }) => {
  const topic = newTopic(given)
  const there = logs.find(topic.name)
  const [refused] = await create([topic])
  expect(refused).toMatchObject({ errorCode: KafkaError[error], errorMessage: expect.stringMatching(message) })
  expect(logs.find(topic.name)).toBe(there)
})

test('a topic that is named twice is not made', async () => {
  const topic = newTopic()
  const [first, second] = await create([topic, topic])
  for (const answer of [first, second]) expect(answer).toMatchObject({ errorCode: KafkaError.INVALID_REQUEST })
  expect(logs.find(topic.name)).toBeUndefined()
})

test('CreatePartitions only grows', async () => {
  const { name } = logs.createTopic('growing', 2, {})
  const grow = async (count: number, { validateOnly = false, version = 3, topic = name } = {}) => {
    const topics = [{ name: topic, count, assignments: null }]
    return (await call(createPartitions, { topics, timeoutMs: 1000, validateOnly }, version))!.results[0]!
  }
  expect(await grow(2)).toMatchObject({ errorCode: KafkaError.INVALID_PARTITIONS, errorMessage: /has 2 partitions/ })
  expect(await grow(1001)).toMatchObject({ errorCode: KafkaError.INVALID_PARTITIONS })
  expect(await grow(9, { topic: 'nowhere' })).toMatchObject({ errorCode: KafkaError.UNKNOWN_TOPIC_OR_PARTITION })
  expect(await grow(5, { validateOnly: true })).toMatchObject({ errorCode: 0 })
  expect(logs.find(name)!.partitions).toHaveLength(2)
  expect(await grow(5, { version: 0 })).toMatchObject({ errorCode: 0, errorMessage: null })
  expect(logs.find(name)!.partitions.map(({ stream }) => stream.partition)).toEqual([0, 1, 2, 3, 4])
})

test('DeleteTopics takes names, and ids from version 6 on', async () => {
  const zero = 'AAAAAAAAAAAAAAAAAAAAAA'
  const [one, two, three] = ['one', 'two', 'three'].map(name => logs.createTopic(name, 1, {}))
  expect((await call(deleteTopics, { topicNames: ['one', 'one'], timeoutMs: 1 }, 1))!.responses).toMatchObject([
    { name: 'one', errorCode: 0 },
    { name: 'one', errorCode: KafkaError.UNKNOWN_TOPIC_OR_PARTITION }
  ])
  const topics = [
    { name: 'two', topicId: zero },
    { name: null, topicId: three!.topicId },
    { name: null, topicId: one!.topicId }
  ]
  expect((await call(deleteTopics, { topics, timeoutMs: 1 }))!.responses).toMatchObject([
    { name: 'two', topicId: two!.topicId, errorCode: 0 },
    { name: 'three', topicId: three!.topicId, errorCode: 0 },
    { name: null, topicId: one!.topicId, errorCode: KafkaError.UNKNOWN_TOPIC_ID }
  ])
  for (const name of ['one', 'two', 'three']) expect(logs.find(name)).toBeUndefined()
})

test('DescribeConfigs tells what a topic was given and what it has by default', async () => {
  logs.createTopic('described', 1, { 'message.timestamp.type': 'LogAppendTime' })
  const describe = async (
    resource: { resourceType?: number; resourceName?: string; configurationKeys?: string[] | null },
    { synonyms = false, documentation = false, version = 4 } = {}
  ) => {
    const asked = { resourceType: 2, resourceName: 'described', configurationKeys: null, ...resource }
    const options = { includeSynonyms: synonyms, includeDocumentation: documentation }
    return (await call(describeConfigs, { resources: [asked], ...options }, version))!.results[0]!
  }
  const all = await describe({})
  expect(all.configs.map(({ name }) => name)).toEqual(Object.keys(topicConfigs))
  const [type, size] = (
    await describe({ configurationKeys: ['max.message.bytes', 'message.timestamp.type'] })
  ).configs.reverse()
  const told = { readOnly: true, isSensitive: false, synonyms: [], documentation: null }
  expect(type).toEqual({
    name: 'message.timestamp.type',
    value: 'LogAppendTime',
    configSource: 1,
    configType: 2,
    ...told
  })
  expect(size).toEqual({ name: 'max.message.bytes', value: '1048588', configSource: 5, configType: 3, ...told })
  const [full] = (
    await describe({ configurationKeys: ['message.timestamp.type'] }, { synonyms: true, documentation: true })
  ).configs
  expect(full!.synonyms!.map(({ value, source }) => [value, source])).toEqual([
    ['LogAppendTime', 1],
    ['CreateTime', 5]
  ])
  expect(full!.documentation).toMatch(/arrival/)
  expect((await describe({}, { version: 1 })).configs).toHaveLength(all.configs.length)

  expect(await describe({ resourceName: 'nowhere' })).toMatchObject({
    errorCode: KafkaError.UNKNOWN_TOPIC_OR_PARTITION
  })
  expect(await describe({ resourceType: 4, resourceName: '1' })).toMatchObject({ errorCode: 0, configs: [] })
  expect(await describe({ resourceType: 4, resourceName: '2' })).toMatchObject({
    errorCode: KafkaError.INVALID_REQUEST
  })
  expect(await describe({ resourceType: 8, resourceName: '1' })).toMatchObject({
    errorCode: KafkaError.INVALID_REQUEST
  })
})
