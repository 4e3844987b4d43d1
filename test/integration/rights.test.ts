// Where brokers check rights, Millrace needs few, and says which of them it lacks.
import kafkajs from 'kafkajs'
import { afterAll, beforeAll, expect, test } from 'vitest'
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
  AclOperationTypes: Record<'DESCRIBE' | 'DESCRIBE_CONFIGS' | 'READ' | 'CREATE' | 'WRITE', number>
  AclPermissionTypes: Record<'ALLOW', number>
  AclResourceTypes: Record<'TOPIC', number>
  ResourcePatternTypes: Record<'LITERAL', number>
}
type Right = keyof typeof AclOperationTypes

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

  test.for<[Right, Right, RegExp]>([
    ['CREATE', 'WRITE', /CreateTopics at .*AUTHORIZATION_FAILED[\s\S]*\bCreate\b/],
    ['WRITE', 'CREATE', /AUTHORIZATION_FAILED[\s\S]*\b[Ww]rite\b/]
  ])('without %s it is not, and the command says where it failed', async ([, other, what]) => {
    const { code, stderr } = await replayWith(...toArchive, other)
    expect(code).toBe(1)
    expect(stderr).toMatch(what)
  })
})
