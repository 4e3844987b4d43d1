import { expect, test } from 'vitest'
import { readOnlyHandlers } from '../../src/broker/archive/read-only.ts'
import type { RequestContext } from '../../src/broker/handler.ts'
import { batchAt } from '../archive/small-archive.ts'
import { archiveWorld } from './archive-world.ts'

const orders = { clusterId: 'cluster', topic: 'orders', topicId: 'b3JkZXJzLW9yZGVycy1vcg', partition: 0 }
const { topic: name, topicId } = orders
const TOPIC_AUTHORIZATION_FAILED = 29
const reason = 'This is an archive: it can only be read.'

/** What each API is asked; fields that a version does not have are not written. */
const requests: Record<string, (version: number) => any> = {
  Produce: () => ({
    transactionalId: null,
    acks: -1,
    timeoutMs: 1_000,
    topicData: [{ name, topicId, partitionData: [{ index: 3, records: batchAt(0).toWire() }] }]
  }),
  CreateTopics: () => ({
    topics: [{ name, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
    validateOnly: false
  }),
  DeleteTopics: version => ({ topics: [{ name, topicId }], topicNames: version < 6 ? [name] : [], timeoutMs: 1_000 }),
  CreatePartitions: () => ({ topics: [{ name, count: 9, assignments: null }], timeoutMs: 1_000, validateOnly: false })
}

/** Asks as a client of this version does, through the bytes of both messages. */
async function askEach(api: string, request: (version: number) => any) {
  await using world = await archiveWorld()
  await world.small.append(orders, { batches: [batchAt(0)], nextOffset: 1 })
  const handler = readOnlyHandlers(await world.open()).find(one => one.api.name === api)!
  const [min, max] = handler.api.versions
  const answers: object[] = []
  for (let version = min; version <= max; version++) {
    const asked = handler.api.request.decode(handler.api.request.encode(request(version), version), version)
    const answer = await handler.handle(asked, { version } as RequestContext)
    answers.push(handler.api.response.decode(handler.api.response.encode(answer, version), version))
  }
  return answers
}

test.each(Object.keys(requests))('%s is refused in every version, with the reason where there is room', async api => {
  const answers = await askEach(api, requests[api]!)
  for (const answer of answers) {
    const codes = [...JSON.stringify(answer).matchAll(/"errorCode":(-?\d+)/g)].map(([, code]) => Number(code))
    expect(codes).toEqual([TOPIC_AUTHORIZATION_FAILED])
  }
  expect(JSON.stringify(answers.at(-1))).toContain(reason)
})

test('a producer gets an id, so that it hears why it may not produce; one with transactions does not', async () => {
  const ask = (transactionalId: string | null) =>
    askEach('InitProducerId', () => ({ transactionalId, transactionTimeoutMs: 1, producerId: -1, producerEpoch: -1 }))
  for (const answer of await ask(null)) expect(answer).toMatchObject({ errorCode: 0, producerId: 0, producerEpoch: 0 })
  for (const answer of await ask('some')) expect(answer).toMatchObject({ errorCode: 42, producerId: -1 })
})

test('topics are said to be kept', async () => {
  const ask = (resourceType: number, resourceName: string, configurationKeys: string[] | null) =>
    askEach('DescribeConfigs', () => ({
      resources: [{ resourceType, resourceName, configurationKeys }],
      includeSynonyms: false,
      includeDocumentation: false
    }))
  const valuesOf = (answer: any) => answer.results[0].configs.map((one: any) => `${one.name}=${one.value}`)
  for (const answer of await ask(2, 'orders', null)) {
    expect(valuesOf(answer)).toEqual(['cleanup.policy=delete', 'retention.bytes=-1', 'retention.ms=-1'])
  }
  for (const answer of await ask(2, 'orders', ['retention.ms'])) expect(valuesOf(answer)).toEqual(['retention.ms=-1'])
  for (const answer of await ask(2, 'nowhere', null)) expect(answer).toMatchObject({ results: [{ errorCode: 3 }] })
  for (const answer of await ask(4, '1', null))
    expect(answer).toMatchObject({ results: [{ errorCode: 0, configs: [] }] })
  for (const answer of await ask(16, 'x', null)) expect(answer).toMatchObject({ results: [{ errorCode: 42 }] })
})
