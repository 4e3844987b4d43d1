// Where brokers check rights, Millrace needs few, and says which of them it lacks.
import kafkajs from 'kafkajs'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { archivedLog, logDifference, logWithoutEpochs } from '../support/archived.ts'
import type { Authority } from '../support/certificates.ts'
import { makeAuthority } from '../support/certificates.ts'
import { listenerOf, saslSettings, securedKafka, USERNAME } from '../support/kafka-secured.ts'
import type { Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { describeWith, useOwnKafka } from '../support/servers.ts'
import { createTopic, send, withAdmin } from '../support/topics.ts'
import { archiveFolder } from '../support/workers.ts'

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs as unknown as {
  AclOperationTypes: Record<Right | 'ANY', number>
  AclPermissionTypes: Record<'ALLOW' | 'ANY', number>
  AclResourceTypes: Record<'TOPIC' | 'ANY', number>
  ResourcePatternTypes: Record<'LITERAL' | 'ANY', number>
}
type Right = 'DESCRIBE' | 'DESCRIBE_CONFIGS' | 'READ' | 'CREATE' | 'WRITE'

describeWith(['kafka-own', 'kafka-files'], 'a cluster that checks rights', () => {
  let authority: Authority
  const kafka = useOwnKafka(async () => {
    authority = await makeAuthority()
    const { settings, ...options } = await securedKafka(authority)
    const authorizer = 'org.apache.kafka.metadata.authorizer.StandardAuthorizer'
    return {
      ...options,
      settings: { ...settings, 'authorizer.class.name': authorizer, 'super.users': 'User:ANONYMOUS' }
    }
  })
  let worker: Worker
  beforeAll(async () => {
    worker = await startMillrace({
      bootstrap: listenerOf(kafka(), 'SASL'),
      worker: saslSettings(authority, 'PLAIN'),
      proxy: { backfill: 'earliest' },
      highestNode: 1
    })
  })
  // A right on one test's topic is enough for an answer that another test asks for.
  afterEach(async () => {
    const any = {
      resourceType: AclResourceTypes.ANY,
      resourcePatternType: ResourcePatternTypes.ANY,
      operation: AclOperationTypes.ANY,
      permissionType: AclPermissionTypes.ANY
    }
    await withAdmin(kafka().bootstrap, admin => admin.deleteAcls({ filters: [any] }))
  })
  afterAll(async () => {
    await worker?.dispose()
    await authority?.[Symbol.asyncDispose]()
  })

  /** A topic with records that Millrace's user has these rights on. */
  async function topicWith(...rights: Right[]): Promise<string> {
    const topic = await createTopic(kafka().bootstrap)
    await allow(topic, rights)
    await send(kafka().bootstrap, topic, [[{ value: 'a' }], [{ value: 'b' }]])
    return topic
  }

  /** Gives Millrace's user rights on a topic, which need not be there. */
  async function allow(topic: string, rights: readonly Right[]): Promise<void> {
    const acl = rights.map(right => ({
      resourceType: AclResourceTypes.TOPIC,
      resourceName: topic,
      resourcePatternType: ResourcePatternTypes.LITERAL,
      principal: `User:${USERNAME}`,
      host: '*',
      operation: AclOperationTypes[right],
      permissionType: AclPermissionTypes.ALLOW
    }))
    await withAdmin(kafka().bootstrap, admin => admin.createAcls({ acl }))
  }

  test('Describe, DescribeConfigs and Read are enough to archive a topic', async () => {
    const topic = await topicWith('DESCRIBE', 'DESCRIBE_CONFIGS', 'READ')
    const { code, stderr } = await worker.command(['flush', '--topic', topic])
    expect(code, stderr).toBe(0)
    const [file] = await kafka().segmentFiles(topic, 0)
    const archived = await archivedLog(archiveFolder(worker), topic, 0)
    expect(logDifference(archived, await logWithoutEpochs(file!))).toBeNull()
  })

  test.for<[string, Right[], RegExp]>([
    ['Read', ['DESCRIBE', 'DESCRIBE_CONFIGS'], /Fetch of .*TOPIC_AUTHORIZATION_FAILED/],
    ['DescribeConfigs', ['DESCRIBE', 'READ'], /DescribeConfigs of .*TOPIC_AUTHORIZATION_FAILED/]
  ])('without %s nothing is archived, and what lacks is said', async ([, rights, what]) => {
    const topic = await topicWith(...rights)
    const { code, stderr } = await worker.command(['flush', '--topic', topic, '--timeout', '2s'])
    expect(code).toBe(1)
    expect(stderr).toMatch(what)
    expect(stderr).toContain('Millrace needs the rights Describe, DescribeConfigs and Read')
  })

  const toArchive: Right[] = ['DESCRIBE', 'DESCRIBE_CONFIGS', 'READ']

  /** Replays a topic of two records into one that is not there, on which Millrace's user has these rights. */
  async function replayWith(...rights: Right[]) {
    const topic = await topicWith(...toArchive)
    expect(await worker.command(['flush', '--topic', topic])).toMatchObject({ code: 0 })
    const target = `${topic}-restored`
    await allow(target, rights)
    const ended = await worker.command(['replay', '--topic', topic, '--to-topic', target])
    return { ...ended, target }
  }

  test('with Create and Write on its target a topic is replayed', async () => {
    const { code, stderr, target } = await replayWith(...toArchive, 'CREATE', 'WRITE')
    expect(code, stderr).toBe(0)
    const offsets = await withAdmin(kafka().bootstrap, admin => admin.fetchTopicOffsets(target))
    expect(offsets).toMatchObject([{ low: '0', high: '2' }])
  })

  test.for<[string, Right, Right | null, RegExp]>([
    ['Create', 'WRITE', null, /CreateTopics at .*AUTHORIZATION_FAILED[\s\S]*\bCreate\b/],
    ['Write anywhere', 'CREATE', null, /InitProducerId: CLUSTER_AUTHORIZATION_FAILED[\s\S]*\bWrite\b/],
    ['Write there', 'CREATE', 'WRITE', /Produce of .*TOPIC_AUTHORIZATION_FAILED[\s\S]*\bwrite\b/]
  ])('without %s it is not, and the command says where it failed', async ([, onTarget, elsewhere, what]) => {
    if (elsewhere !== null) await allow('elsewhere', [elsewhere])
    const { code, stderr } = await replayWith(...toArchive, onTarget)
    expect(code).toBe(1)
    expect(stderr).toMatch(what)
  })
})
